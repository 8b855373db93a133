import { once } from 'node:events';
import { createServer } from 'node:http';
import { createConnection, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { limitSlowReaders } from '../../../src/master/slow-readers.js';
import { until } from '../../e2e/until.js';

const BODY = Buffer.alloc(1024 * 1024, 'x');
const LIMIT_MS = 50;
const FOREVER_MS = 1_000_000;

/** `/wait` is answered when `release` is called, anything else at once and at length. */
async function serve(t: Test, limitMs: number) {
  const readers = limitSlowReaders(limitMs);
  const sockets: Socket[] = [];
  let release: () => void = () => {};
  let answers = 0;
  const server = createServer((request, response) => {
    const { socket } = request;
    readers.asked(socket);
    const answer = () => {
      response.end(BODY);
      readers.answered(socket, response);
      answers++;
    };
    if (request.url === '/wait') release = answer;
    else answer();
  });
  server.on('connection', (socket) => sockets.push(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const connect = (...paths: string[]) => {
    const client = createConnection({ host: '127.0.0.1', port });
    client.on('error', () => {});
    for (const path of paths) client.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    t.teardown(() => client.destroy());
    return client;
  };
  return { readers, sockets, connect, release: () => release(), answers: () => answers };
}

const MANY = Array.from({ length: 20 }, () => '/');

t.test('who takes no answer is cut after the limit, who reads is not', async (t) => {
  const { sockets, connect } = await serve(t, LIMIT_MS);
  const stuck = connect(...MANY);
  await until('the one that does not read is cut', () => sockets[0]?.destroyed);
  stuck.destroy();
  const reader = connect('/');
  let length = 0;
  reader.on('data', (piece: Buffer) => (length += piece.length));
  await until('all is read', () => length > BODY.length);
  t.equal(sockets[1]?.destroyed, false);
});

t.test('who waits for an answer is not cut by the limit', async (t) => {
  const { sockets, connect, release, answers } = await serve(t, LIMIT_MS);
  connect('/wait', ...MANY);
  await until('answers queue behind it', () => answers() > 0);
  connect(...MANY);
  await until('a later one is cut', () => sockets[1]?.destroyed);
  t.equal(sockets[0]?.destroyed, false);
  release();
  await until('it is cut when nothing is left to make', () => sockets[0]?.destroyed);
});

t.test('the oldest one that is only sent to makes room', async (t) => {
  const { readers, sockets, connect, answers } = await serve(t, FOREVER_MS);
  connect('/wait', '/');
  await until('an answer queues', () => answers() === 1);
  connect(...MANY);
  await until('the second one is sent to', () => answers() > 1);
  const before = answers();
  connect(...MANY);
  await until('the third one is sent to', () => answers() > before);
  readers.dropOldest();
  t.strictSame(
    sockets.map(({ destroyed }) => destroyed),
    [false, true, false],
  );
});
