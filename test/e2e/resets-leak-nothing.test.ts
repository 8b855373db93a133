import { once } from 'node:events';
import t, { type Test } from 'tap';
import { descriptorsOf, noUsage } from './process-usage.js';
import { connectRaw, type RawClient, requestText } from './raw-client.js';
import { resetConnection } from './reset-connection.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

/*
 * Clients that reset their connections, at any point of an exchange, leak no descriptor
 * and delay no other client.
 */

const CLIENTS = 50;
const BODY = 'x'.repeat(1000);
const HEAD = requestText('/', { method: 'POST', headers: { 'Content-Length': '2000' } });

/** What a client sends before it resets. The `whole` requests come first, so that their responses
 * show that what follows has been read too. */
interface Stage {
  readonly name: string;
  readonly before: (client: RawClient) => Promise<unknown>;
}

const askFirst = async (client: RawClient, rest: string): Promise<void> => {
  await client.send(requestText('/') + rest);
  await client.next();
};

const stages: readonly Stage[] = [
  { name: 'after connecting', before: async () => {} },
  { name: 'in a request line', before: (client) => askFirst(client, 'GET /ab') },
  { name: 'in the header', before: (client) => askFirst(client, 'GET / HTTP/1.1\r\nHost: a\r\nX') },
  { name: 'in the content', before: (client) => askFirst(client, HEAD + BODY) },
  { name: 'between requests', before: (client) => askFirst(client, '') },
  {
    name: 'with many requests unanswered',
    before: (client) => client.send(requestText('/').repeat(200)),
  },
  {
    name: 'in a large response',
    before: async (client) => {
      await client.send(requestText('/large'));
      await once(client.socket, 'data');
      client.socket.pause();
    },
  },
  {
    name: 'before a large response',
    before: async (client) => {
      client.socket.pause();
      await client.send(requestText('/large'));
    },
  },
  {
    name: 'after a refusal',
    before: async (client) => {
      await client.send('GET  / HTTP/1.1\r\n\r\n', 'more');
      await client.next();
    },
  },
];

async function resetAll(t: Test, server: Server, stage: Stage): Promise<void> {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connectRaw(t, server)));
  await Promise.all(clients.map((client) => stage.before(client)));
  await Promise.all(
    clients.map((client) => {
      const closed = once(client.socket, 'close');
      resetConnection(client.socket);
      return closed;
    }),
  );
}

for (const [dispatch, workers] of [
  ['inline', '0'],
  ['worker', '2'],
] as const) {
  t.test(`resets, handlers on ${dispatch}`, { skip: noUsage }, async (t) => {
    const args = ['--dispatch', dispatch, '--threads', workers];
    const server = await startServer(t, { app: 'large.lua', args });
    const [reactor = 0] = server.reactorPids();
    const witness = await connectRaw(t, server);
    t.equal((await witness.request(requestText('/'))).status, 200);
    const before = descriptorsOf(reactor);
    for (const stage of stages) {
      await resetAll(t, server, stage);
      t.equal((await witness.request(requestText('/'))).status, 200, `${stage.name}: it answers`);
      await until(
        `${stage.name}: as many descriptors as before`,
        () => descriptorsOf(reactor) === before,
      );
    }
    t.strictSame(server.reactorPids(), [reactor], 'by the same reactor');
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}
