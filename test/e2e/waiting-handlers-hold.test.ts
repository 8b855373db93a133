import t, { type Test } from 'tap';
import { connectRaw, type RawClient, requestText } from './raw-client.js';
import { resetConnection } from './reset-connection.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

const SLEEPERS = 1000;
const TASKS = 20_000;
/** Lua memory per waiting request or task, in bytes. */
const MOST_BYTES = 1536;
/** Per WebSocket: LuaJIT has halved its stack, since few frames wait on it. */
const MOST_SOCKET_BYTES = 1200;
const UPGRADE = requestText('/socket', {
  headers: {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  },
});

async function serve(t: Test): Promise<{ server: Server; client: RawClient }> {
  const server = await startServer(t, {
    app: 'waiting.lua',
    args: ['--dispatch', 'inline', '--handler-timeout', '10m'],
  });
  return { server, client: await connectRaw(t, server) };
}

async function numberAt(client: RawClient, path: string): Promise<number> {
  return Number((await client.request(requestText(path))).body.toString());
}

function sleepers(t: Test, server: Server): Promise<RawClient[]> {
  return Promise.all(Array.from({ length: SLEEPERS }, () => connectRaw(t, server)));
}

t.test(
  '1000 handlers that sleep for five seconds finish in about five, and delay no others',
  async (t) => {
    const { server, client } = await serve(t);
    const clients = await sleepers(t, server);
    const begin = performance.now();
    const slept = Promise.all(clients.map((sleeper) => sleeper.request(requestText('/sleep?5'))));
    await until('all sleep', async () => (await numberAt(client, '/waiting')) === SLEEPERS);
    t.equal((await client.request(requestText('/'))).body.toString(), 'quick', 'while they sleep');
    for (const response of await slept) {
      if (response.body.toString() !== 'slept') t.fail(response.head);
    }
    // Sequentially they would take more than an hour.
    t.ok(performance.now() - begin >= 5000);
    t.ok(performance.now() - begin < 30_000);
    t.equal(await numberAt(client, '/waiting'), 0);
  },
);

/** Bytes of Lua's memory for each of many such requests while they wait. */
async function bytesOfEach(t: Test, request: string): Promise<number> {
  const { server, client } = await serve(t);
  const clients = await sleepers(t, server);
  const before = await numberAt(client, '/memory');
  await Promise.all(clients.map((each) => each.send(request)));
  await until('all wait', async () => (await numberAt(client, '/waiting')) === SLEEPERS);
  const bytes = ((await numberAt(client, '/memory')) - before) / SLEEPERS;
  for (const each of clients) resetConnection(each.socket);
  await until('none is left', async () => (await numberAt(client, '/waiting')) === 0);
  return bytes;
}

t.test('a waiting handler uses little memory', async (t) => {
  const bytes = await bytesOfEach(t, requestText('/sleep?600'));
  t.ok(bytes <= MOST_BYTES, `${bytes} bytes each`);
});

t.test('a WebSocket that waits for a message uses little memory', async (t) => {
  const bytes = await bytesOfEach(t, UPGRADE);
  t.ok(bytes <= MOST_SOCKET_BYTES, `${bytes} bytes each`);
});

t.test('tens of thousands of tasks wait at once, and use little memory', async (t) => {
  const { client } = await serve(t);
  const before = await numberAt(client, '/memory');
  t.equal((await client.request(requestText(`/tasks?${TASKS}`))).body.toString(), 'begun');
  await until('all wait', async () => (await numberAt(client, '/waiting')) === TASKS);
  const bytes = ((await numberAt(client, '/memory')) - before) / TASKS;
  t.ok(bytes <= MOST_BYTES, `${bytes} bytes each`);
  await client.request(requestText('/wake'));
  await until('all have ended', async () => (await numberAt(client, '/waiting')) === 0);
  const after = await numberAt(client, '/memory');
  t.ok(after < before + TASKS * 100, 'their memory is free again');
});
