import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import t from 'tap';
import { makeCertificate } from './certificate.js';
import { memoryOf } from './process-usage.js';
import { startServer, tlsPortOf } from './server.js';
import { until } from './until.js';

/** Other descriptors that the server and the test need. */
const OTHERS = 500;
const CONNECTIONS = 10_000;
const AT_A_TIME = 200;
const KIB = 1024;

/** The first bytes of a client. */
async function clientHello(): Promise<Buffer> {
  const wire = new Duplex({
    read: () => {},
    write: (piece: Buffer, _encoding, done) => {
      wire.emit('hello', piece);
      done();
    },
  });
  const hello = once(wire, 'hello') as Promise<[Buffer]>;
  const socket = connectTls({ socket: wire, servername: 'localhost' }).on('error', () => {});
  const [bytes] = await hello;
  socket.destroy();
  return bytes;
}

t.test('connections that never finish their handshake', async (t) => {
  const { cert, key, options } = makeCertificate(t);
  const limit = ['--max-connections', String(CONNECTIONS + OTHERS)];
  const tls = ['--tls-port', '0', '--tls-cert', cert, '--tls-key', key];
  const server = await startServer(t, { app: 'tls.lua', args: [...tls, ...limit] });
  const port = await tlsPortOf(server);
  const [reactor = 0] = server.reactorPids();
  const hello = await clientHello();
  const ask = async () => {
    const socket = connectTls({
      host: '127.0.0.1',
      port,
      ca: options.cert,
      servername: 'localhost',
    });
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    const [first] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    return first.toString().split('\r\n')[0];
  };
  t.equal(await ask(), 'HTTP/1.1 200 OK');
  const before = memoryOf(reactor);
  // Nothing, part of a record, part of a message, and a complete message with nothing after it.
  const beginnings = [0, 3, 100, hello.length].map((length) => hello.subarray(0, length));
  const sockets: Socket[] = [];
  let closed = 0;
  let next = 0;
  await Promise.all(
    Array.from({ length: AT_A_TIME }, async () => {
      while (next < CONNECTIONS) {
        const beginning = beginnings[next++ % beginnings.length] ?? Buffer.of();
        const socket = connect(port, '127.0.0.1');
        sockets.push(socket);
        socket
          .on('error', () => {})
          .on('close', () => closed++)
          .resume();
        await once(socket, 'connect');
        socket.write(beginning);
      }
    }),
  );
  t.equal(await ask(), 'HTTP/1.1 200 OK', 'others are served meanwhile');
  const most = memoryOf(reactor) - before;
  t.ok(most < CONNECTIONS * 40 * KIB, `${most} bytes for ${CONNECTIONS - closed} connections`);
  await until('the deadline of a head has closed them', () => closed === CONNECTIONS);
  t.equal(await ask(), 'HTTP/1.1 200 OK');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
