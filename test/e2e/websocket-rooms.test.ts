import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import t, { type Test } from 'tap';
import WebSocket, { type ClientOptions } from 'ws';
import { metricsOf } from './admin-client.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

interface Client {
  readonly socket: WebSocket;
  /** Everything received. */
  readonly bytes: () => number;
  /** Messages so far; binary ones as 'binary:<hex>'. */
  readonly messages: string[];
  /** The next message not read before. */
  readonly next: () => Promise<string>;
  readonly say: (message: string) => Promise<string>;
}

async function connect(t: Test, server: Server, path: string, options: ClientOptions = {}) {
  const url = `${server.url.replace('http', 'ws')}${path}`;
  const socket = new WebSocket(url, { perMessageDeflate: false, ...options });
  t.teardown(() => socket.terminate());
  const messages: string[] = [];
  socket.on('message', (data: Buffer, isBinary) => {
    messages.push(isBinary ? `binary:${data.toString('hex')}` : data.toString());
  });
  const [[response]] = await Promise.all([once(socket, 'upgrade'), once(socket, 'open')]);
  const tcp = (response as IncomingMessage).socket;
  let asked = 0;
  const next = () =>
    until('a message', () => {
      if (messages.length === asked) return undefined;
      asked += 1;
      return messages[asked - 1];
    });
  const say = (message: string) => {
    socket.send(message);
    return next();
  };
  return { socket, bytes: () => tcp.bytesRead, messages, next, say } satisfies Client;
}

async function publish(server: Server, topic: string, body: string | Buffer): Promise<void> {
  const { status } = await fetch(`${server.url}/topics/${topic}`, { method: 'POST', body });
  if (status !== 204) throw new Error(`publishing: ${status}`);
}

t.test('rooms', async (t) => {
  const args = ['--accept', 'boss', '--ws-max-unsent', '256k', '--ws-compress', 'on'];
  const server = await startServer(t, { app: 'rooms.lua', processes: 2, args });

  await t.test('a message reaches the sockets of a room on both reactors', async (t) => {
    const tea = await Promise.all([1, 2, 3, 4].map(() => connect(t, server, '/rooms?tea&all')));
    const coffee = await connect(t, server, '/rooms?coffee&all');
    const reactors = await Promise.all(tea.map(({ say }) => say('where')));
    t.strictSame([...reactors].sort(), ['0', '0', '1', '1']);
    await publish(server, 'tea', 'hot');
    await publish(server, 'coffee', 'black');
    await publish(server, 'all', 'closing time');
    const heard = await Promise.all(
      [...tea, coffee].map(async ({ next }) => [await next(), await next()]),
    );
    t.strictSame(heard.slice(0, 4), Array(4).fill(['hot', 'closing time']));
    t.strictSame(heard[4], ['black', 'closing time']);
  });

  await t.test(
    'a socket joins and leaves while it is open; joining twice is harmless',
    async (t) => {
      const { say, next } = await connect(t, server, '/rooms');
      t.equal(await say('join news'), 'joined true');
      t.equal(await say('join news'), 'joined true');
      await publish(server, 'news', 'once');
      t.equal(await next(), 'once');
      t.equal(await say('leave news'), 'left true');
      t.equal(await say('leave news'), 'left false');
      await publish(server, 'news', 'unheard');
      t.equal(await say('where'), String(await say('where')));
    },
  );

  await t.test(
    'text that is not UTF-8 is sent as binary, as are rooms joined as binary',
    async (t) => {
      const text = await connect(t, server, '/rooms?bytes');
      const binary = await connect(t, server, '/rooms');
      t.equal(await binary.say('join bytes binary'), 'joined true');
      await publish(server, 'bytes', 'é');
      await publish(server, 'bytes', Buffer.from([0xff, 0x00]));
      t.strictSame([await text.next(), await text.next()], ['é', 'binary:ff00']);
      t.strictSame([await binary.next(), await binary.next()], ['binary:c3a9', 'binary:ff00']);
    },
  );

  await t.test('a closed socket is in no room', async (t) => {
    const other = await connect(t, server, '/rooms?closed');
    const { socket } = await connect(t, server, '/rooms?tea&closed');
    socket.close();
    t.equal(await other.next(), 'nil false');
    await publish(server, 'tea', 'still there?');
    t.equal(await other.say('where'), String(await other.say('where')));
  });

  await t.test(
    'a long message is compressed once for all sockets with the same settings',
    async (t) => {
      const long = 'the same again, '.repeat(2000);
      const plain = await connect(t, server, '/rooms?long');
      const deflated = await Promise.all(
        [1, 2].map(() => connect(t, server, '/rooms?long', { perMessageDeflate: true })),
      );
      const narrow = await connect(t, server, '/rooms?long', {
        perMessageDeflate: { serverMaxWindowBits: 9 },
      });
      t.equal(plain.socket.extensions, '');
      t.equal(narrow.socket.extensions, 'permessage-deflate');
      await publish(server, 'long', long);
      await publish(server, 'long', 'short');
      for (const { next } of [plain, ...deflated, narrow]) {
        t.equal(await next(), long);
        t.equal(await next(), 'short');
      }
      t.ok(plain.bytes() > long.length);
      for (const { bytes } of deflated) t.ok(bytes() < long.length / 10);
      t.ok(narrow.bytes() > long.length, 'what the others take is not for its window');
    },
  );

  await t.test('a slow reader is closed, or misses messages', async (t) => {
    const closed = await connect(t, server, '/rooms?flood');
    const skipping = await connect(t, server, '/rooms');
    t.equal(await skipping.say('join flood skip'), 'joined true');
    const paused = [closed.socket, skipping.socket].map((socket) => {
      socket.pause();
      return once(socket, 'close');
    });
    const piece = 'x'.repeat(65536);
    let published = 400;
    for (let i = 0; i < published; i += 1) await publish(server, 'flood', piece);
    for (const { socket } of [closed, skipping]) socket.resume();
    const [code] = (await paused[0]) as [number];
    t.equal(code, 1006, 'without a closing handshake');
    t.ok(closed.messages.length < 400);
    t.equal(skipping.socket.readyState, WebSocket.OPEN);
    // What is published before it has taken what waits for it is skipped too.
    await until('it takes messages again', async () => {
      await publish(server, 'flood', 'news');
      published += 1;
      return skipping.messages.at(-1) === 'news';
    });
    t.ok(skipping.messages.length < 400, `${skipping.messages.length} messages`);
    await until('each message is received or counted as skipped', async () => {
      const metrics = await metricsOf(server);
      const skipped = metrics.get('moonring_websocket_skipped_messages_total') ?? 0;
      // One is the response to join.
      return skipped + skipping.messages.length - 1 === published;
    });
  });

  await t.test('a message reaches every socket of a large room', async (t) => {
    const sockets = await Promise.all(
      Array.from({ length: 300 }, () => connect(t, server, '/rooms?large')),
    );
    // Sockets that disappeared silently are noticed while others are sent to.
    for (const { socket } of sockets.slice(0, 30)) socket.terminate();
    for (const message of ['first', 'second']) await publish(server, 'large', message);
    for (const { next } of sockets.slice(30)) {
      t.strictSame([await next(), await next()], ['first', 'second']);
    }
  });

  await t.test('invalid joins are rejected', async (t) => {
    const { say, next } = await connect(t, server, '/rooms');
    t.match(await say('misuse'), /a topic is a string of 1 to 255 bytes, not 0 bytes/);
    const expected = [/not 256 bytes/, /not number/, /a table of options/, /did you mean "kind"/];
    for (const error of [...expected, /'text' or 'binary', not texts/, /'close' or 'skip'/]) {
      t.match(await next(), error);
    }
  });
});

for (const mode of ['on', 'takeover']) {
  t.test(`--ws-compress ${mode}`, async (t) => {
    const args = ['--ws-compress', mode, '--ws-max-message', '64k'];
    const server = await startServer(t, { app: 'rooms.lua', args });
    const { socket, say } = await connect(t, server, '/echo', {
      perMessageDeflate: { threshold: 0 },
    });
    for (const message of [
      'a',
      'long '.repeat(1000),
      'long '.repeat(1000),
      '',
      'ü'.repeat(30000),
    ]) {
      t.equal(await say(message), message);
    }
    // The inflated size counts, not the size on the wire.
    socket.send('x'.repeat(65537));
    const [code] = (await once(socket, 'close')) as [number];
    t.equal(code, 1009);
    const malformed = new WebSocket(`${server.url.replace('http', 'ws')}/echo`, {
      perMessageDeflate: false,
      headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate; =' },
    });
    const [, response] = await once(
      malformed.on('error', () => {}),
      'unexpected-response',
    );
    t.equal(response.statusCode, 400);
    response.destroy();
  });
}
