import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, createServer as createTlsServer, TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { makeCertificate } from './certificate.js';
import { listenLocally, listensAt } from './listening.js';
import { startProgram } from './program.js';
import { startRedis } from './redis-server.js';
import { startServer } from './server.js';
import { socketDirectory } from './socket-directory.js';

async function startMemcached(t: Test): Promise<string> {
  const path = join(socketDirectory(t), 'memcached.sock');
  const args = ['-s', path, '-u', userInfo().username];
  const { child, ended } = await startProgram('memcached', args, () => listensAt(path));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return path;
}

/** Resolves www.example.test, NXDOMAIN for other names, no response for silent.test. */
async function startDns(t: Test): Promise<number> {
  const socket = createSocket('udp4', (query, peer) => {
    const name = query.subarray(12, query.indexOf(0, 12) + 1);
    const isKnown = name.includes('example');
    if (name.includes('silent')) return;
    const head = Buffer.from(query.subarray(0, 12));
    head.writeUInt16BE(isKnown ? 0x8180 : 0x8183, 2);
    head.writeUInt16BE(isKnown ? 1 : 0, 6);
    const question = query.subarray(12, 12 + name.length + 4);
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
    socket.send(Buffer.concat([head, question, ...(isKnown ? [record] : [])]), peer.port);
  });
  t.teardown(() => socket.close());
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return socket.address().port;
}

async function listen(t: Test, server: NetServer): Promise<number> {
  t.teardown(() => server.close());
  return listenLocally(server);
}

/** Echoes each frame of a client, a ping as a pong. */
function echoFrames(socket: Socket): void {
  let input = Buffer.alloc(0);
  let isOpen = false;
  const respond = () => {
    const key = /Sec-WebSocket-Key: (\S+)/.exec(input.toString('latin1'))?.[1];
    const end = input.indexOf('\r\n\r\n');
    if (end < 0 || key === undefined) return;
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
    const head = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: upgrade'];
    head.push(`Sec-WebSocket-Accept: ${accept.digest('base64')}`, 'Sec-WebSocket-Protocol: echo');
    socket.write(`${head.join('\r\n')}\r\n\r\n`);
    input = input.subarray(end + 4);
    isOpen = true;
  };
  /** The length of the frame's head and of its content; `null`: incomplete. */
  const sizes = (): readonly [number, number] | null => {
    if (input.length < 14) return input.length >= 6 ? [2, (input[1] ?? 0) & 127] : null;
    const short = (input[1] ?? 0) & 127;
    if (short === 127) return [10, Number(input.readBigUInt64BE(2))];
    return short === 126 ? [4, input.readUInt16BE(2)] : [2, short];
  };
  socket.on('error', () => {});
  socket.on('data', (data) => {
    input = Buffer.concat([input, data]);
    if (!isOpen) return respond();
    for (
      let size = sizes();
      size !== null && input.length >= size[0] + 4 + size[1];
      size = sizes()
    ) {
      const [head, length] = size;
      const out = Buffer.from(input.subarray(0, head));
      out[1] = (out[1] ?? 0) & 127;
      if (((out[0] ?? 0) & 15) === 9) out[0] = 0x8a;
      const mask = input.subarray(head, head + 4);
      const content = input.subarray(head + 4, head + 4 + length);
      socket.write(Buffer.concat([out, content.map((byte, i) => byte ^ (mask[i % 4] ?? 0))]));
      input = input.subarray(head + 4 + length);
    }
  });
}

t.test('the packages of Debian run unchanged', async (t) => {
  const [redis, memcached, dns] = await Promise.all([
    startRedis(t),
    startMemcached(t),
    startDns(t),
  ]);
  const { key, cert } = makeCertificate(t).options;
  const tls = await listen(
    t,
    createTlsServer({ key, cert }, (socket) => socket.pipe(socket)).on('tlsClientError', () => {}),
  );
  const upgrade = createServer((socket) => {
    socket.once('data', () => {
      socket.write('go\n');
      const secured = new TLSSocket(socket, {
        isServer: true,
        secureContext: createSecureContext({ key, cert }),
      });
      secured.pipe(secured);
    });
  });
  const lines = createServer((socket) => {
    socket.end('abcline\r\nxone two three--endinclusive!the rest');
    socket.on('error', () => {});
  });
  const env = {
    MOONRING_TEST_REDIS: redis.path,
    MOONRING_TEST_MEMCACHED: memcached,
    MOONRING_TEST_DNS: String(dns),
    MOONRING_TEST_WEBSOCKET: String(await listen(t, createServer(echoFrames))),
    MOONRING_TEST_TLS: String(tls),
    MOONRING_TEST_UPGRADE: String(await listen(t, upgrade)),
    MOONRING_TEST_LINES: String(await listen(t, lines)),
  };
  const server = await startServer(t, { app: 'ngx-libraries.lua', args: ['--compat', 'ngx'], env });
  const get = async (target: string) => (await fetch(`${server.url}${target}`)).text();

  t.equal(await get('/redis'), '12 1 OK 2 true ERR\n1\n', 'lua-nginx-redis');
  t.equal(await get('/subscribe'), 'message news hello\ntimeout\n', 'lua-nginx-redis, subscribed');
  t.equal(await get('/memcached'), '100000 0 42 nil NOT_STORED\n42 7\n', 'lua-nginx-memcached');
  t.equal(
    await get('/dns'),
    'www.example.test 192.0.2.7 60\nname error\nnil timeout\n',
    'lua-nginx-dns',
  );
  t.equal(
    await get('/websocket'),
    'hello text\n200000 binary\np pong\nclose bye\n',
    'lua-nginx-websocket',
  );
  t.equal(
    await get('/string'),
    '01ff61 42 2cf24dba secret 8 5d41402abc4b2a76b9719d911017c592\n',
    'lua-nginx-string',
  );
  t.equal(await get('/lrucache'), '1 nil 3\n', 'lua-resty-lrucache');

  const secure = (await get('/tls')).split('\n');
  t.strictSame(secure.slice(0, 2), ['one line2 0', 'one line2 1'], 'kept with its TLS');
  t.match(secure[2], /^certificate: /, 'verified when it is asked for');
  t.equal(secure[3], 'nilclosed', 'TLS that was not asked for is not used');
  t.equal(await get('/upgraded'), 'go secret\n', 'TLS begins later');
  t.equal(
    await get('/receive'),
    'abc|line|x\none |two |three|nil\ninclusive!|the rest\nnil closed\ntimeout connection refused\n',
  );
});
