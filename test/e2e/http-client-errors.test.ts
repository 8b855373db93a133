import type { Socket } from 'node:net';
import t, { type Test } from 'tap';
import { type Order, order, rawUpstream } from './fetching.js';
import { descriptorsOf, noUsage } from './process-usage.js';
import { connectRaw, requestText } from './raw-client.js';
import { resetConnection } from './reset-connection.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

/*
 * Servers that misbehave towards moonring.http: each time a named error, while other requests are
 * served, and no descriptor is leaked.
 */

interface Case {
  readonly name: string;
  /** Called for each piece received; `number` is the number of the piece on its connection. */
  readonly serve: (socket: Socket, number: number) => void;
  readonly error: string;
  readonly order?: Partial<Order>;
}

const HEAD = 'HTTP/1.1 200 OK\r\n';
/** One thread, and therefore one pool. */
const INLINE = ['--dispatch', 'inline', '--threads', '0'];
const WORKERS = 12;
const soon = { options: { read_timeout: 0.3 } };

const cases: readonly Case[] = [
  { name: 'no response', serve: () => {}, error: 'read timeout', order: soon },
  {
    name: 'no response in the total time',
    serve: () => {},
    error: 'timeout',
    order: { options: { timeout: 0.3 } },
  },
  {
    name: 'half a head',
    serve: (socket) => socket.write('HTTP/1.1 200 O'),
    error: 'read timeout',
    order: soon,
  },
  {
    name: 'half a head, then the end',
    serve: (socket) => socket.end('HTTP/1.1 200 O'),
    error: 'truncated response',
  },
  { name: 'the end before a response', serve: (socket) => socket.end(), error: 'closed' },
  {
    name: 'a reset before a response',
    serve: (socket) => resetConnection(socket),
    error: 'closed',
  },
  {
    name: 'half a content',
    serve: (socket) => socket.end(`${HEAD}Content-Length: 10\r\n\r\nhalf`),
    error: 'truncated response',
  },
  {
    name: 'half a content, then silence',
    serve: (socket) => socket.write(`${HEAD}Content-Length: 10\r\n\r\nhalf`),
    error: 'read timeout',
    order: soon,
  },
  {
    name: 'half a chunk',
    serve: (socket) => socket.end(`${HEAD}Transfer-Encoding: chunked\r\n\r\na\r\nhalf`),
    error: 'truncated response',
  },
  {
    name: 'a malformed chunk',
    serve: (socket) => socket.end(`${HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n`),
    error: 'malformed response',
  },
  {
    name: 'a reset in the content',
    serve: (socket) => {
      socket.write(`${HEAD}Content-Length: 10\r\n\r\nhalf`, () => resetConnection(socket));
    },
    error: 'truncated response',
  },
  {
    name: 'a reset in content without a length',
    serve: (socket) => {
      socket.write(`${HEAD}\r\nhalf`, () => resetConnection(socket));
    },
    error: 'truncated response',
  },
  {
    name: 'a slow content in the total time',
    serve: (socket) => {
      socket.write(`${HEAD}Content-Length: 100000\r\n\r\n`);
      const timer = setInterval(() => socket.write('x'), 20);
      socket.on('close', () => clearInterval(timer));
    },
    error: 'timeout',
    order: { options: { timeout: 0.5 } },
  },
  {
    name: 'endless informational responses',
    serve: (socket) => {
      const more = () => {
        while (socket.writable && socket.write('HTTP/1.1 100 Continue\r\n\r\n'));
        if (socket.writable) socket.once('drain', more);
      };
      more();
    },
    error: 'too many informational responses',
  },
  {
    name: 'an endless head',
    serve: (socket) => {
      socket.write(HEAD);
      const more = () => {
        while (socket.writable && socket.write(`X: ${'x'.repeat(1000)}\r\n`));
        if (socket.writable) socket.once('drain', more);
      };
      more();
    },
    error: 'response head too large',
  },
  {
    name: 'two lengths',
    serve: (socket) => socket.end(`${HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`),
    error: 'conflicting content length',
  },
  {
    name: 'a length beside chunks',
    serve: (socket) => {
      socket.end(`${HEAD}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`);
    },
    error: 'conflicting content length',
  },
  { name: 'HTTP/0.9', serve: (socket) => socket.end('<html>'), error: 'malformed response' },
  {
    name: 'a switch of protocols',
    serve: (socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
    },
    error: 'unexpected protocol switch',
  },
  {
    name: 'more content than asked for',
    serve: (socket) => socket.end(`${HEAD}\r\n${'x'.repeat(100_000)}`),
    error: 'response too large',
    order: { options: { max_body: 1000 } },
  },
];

/** Makes the server send ten requests at once while it serves others. */
async function provoke(
  t: Test,
  server: Server,
  { name, serve, error, order: more }: Case,
): Promise<void> {
  const numbers = new WeakMap<Socket, number>();
  const upstream = await rawUpstream(t, (socket) => {
    const number = (numbers.get(socket) ?? 0) + 1;
    numbers.set(socket, number);
    serve(socket, number);
  });
  const outcomes = Array.from({ length: 10 }, () => order(server, { url: upstream.url, ...more }));
  for (let i = 0; i < 10; i += 1) {
    const hello = await (await fetch(server.url)).text();
    if (hello !== 'hello') t.fail(`${name}: another request is responded to with ${hello}`);
  }
  const errors = (await Promise.all(outcomes)).map((outcome) => outcome.error);
  t.strictSame(new Set(errors), new Set([error]), name);
  await upstream.close();
}

for (const [where, args] of [
  ['a reactor', INLINE],
  ['workers', ['--dispatch', 'worker', '--threads', String(WORKERS)]],
] as const) {
  t.test(`errors have names, ${where}`, { skip: noUsage }, async (t) => {
    const server = await startServer(t, { app: 'fetching.lua', args });
    const [reactor = 0] = server.reactorPids();
    // Workers are started on demand, and each has descriptors: all of them have to wait at once.
    const held = new Set<Socket>();
    const warm = await rawUpstream(t, (socket) => {
      held.add(socket);
      if (held.size < WORKERS) return;
      for (const each of held) each.end(`${HEAD}\r\n`);
      held.clear();
    });
    await Promise.all(Array.from({ length: 2 * WORKERS }, () => order(server, { url: warm.url })));
    const used = async () => {
      await fetch(server.url);
      return descriptorsOf(reactor);
    };
    const before = await used();
    for (const each of cases) {
      await provoke(t, server, each);
      await until(
        `${each.name}: as many descriptors as before`,
        async () => (await used()) <= before,
      );
    }
    t.strictSame(server.reactorPids(), [reactor], 'by the same reactor');
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}

t.test('connections that died while idle are replaced', async (t) => {
  const server = await startServer(t, { app: 'fetching.lua', args: INLINE });
  const response = `${HEAD}Content-Length: 2\r\n\r\nok`;
  const garbage = await rawUpstream(t, (socket) => socket.write(`${response}HTTP/1.1 200 OK\r\n`));
  for (let i = 1; i <= 3; i += 1) {
    t.equal((await order(server, { url: garbage.url })).body, 'ok', 'bytes behind a response');
    t.equal(garbage.connections(), i);
  }
  // It closes when the second request arrives, like a server whose timeout expires just then.
  const numbers = new WeakMap<Socket, number>();
  const dying = await rawUpstream(t, (socket) => {
    const number = (numbers.get(socket) ?? 0) + 1;
    numbers.set(socket, number);
    if (number === 1) socket.write(response);
    else socket.end();
  });
  for (let i = 1; i <= 3; i += 1) {
    t.equal((await order(server, { url: dying.url })).body, 'ok');
    t.equal((await order(server, { url: dying.url })).body, 'ok', 'a GET is sent again');
  }
  t.equal((await order(server, { url: dying.url })).body, 'ok');
  const post = await order(server, { url: dying.url, options: { body: 'x' } });
  t.equal(post.error, 'closed', 'a POST is not');
});

t.test('unreachable servers', async (t) => {
  const server = await startServer(t, { app: 'fetching.lua', args: INLINE });
  // The port of a connection, at which no other process can listen meanwhile.
  const { socket } = await connectRaw(t, server);
  t.equal((await order(server, { url: `http://127.0.0.1:${socket.localPort}` })).error, 'refused');
  t.equal((await order(server, { url: 'http://nowhere.invalid/' })).error, 'host not found');
  t.match((await order(server, { url: 'http://a b/' })).error, /^bad URL: /);
});

t.test(
  'a client that leaves closes what its handler was waiting for',
  { skip: noUsage },
  async (t) => {
    const server = await startServer(t, { app: 'fetching.lua', args: INLINE });
    const silent = await rawUpstream(t, () => {});
    const [reactor = 0] = server.reactorPids();
    const before = descriptorsOf(reactor);
    const content = JSON.stringify({ url: silent.url });
    const head = requestText('/', {
      method: 'POST',
      headers: { 'Content-Length': String(content.length) },
    });
    const clients = await Promise.all(Array.from({ length: 10 }, () => connectRaw(t, server)));
    await Promise.all(clients.map((client) => client.send(head, content)));
    await until('all requests wait', () => silent.connections() === 10);
    for (const { socket } of clients) resetConnection(socket);
    await until('as many descriptors as before', () => descriptorsOf(reactor) <= before);
  },
);
