import { appendFileSync, copyFileSync } from 'node:fs';
import { get, type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { EventSource } from 'eventsource';
import t, { type Test } from 'tap';
import { appPath, type Server, startServer } from './server.js';
import { until } from './until.js';

interface Stream {
  readonly response: IncomingMessage;
  readonly text: () => string;
  readonly closed: () => boolean;
}

/** A client that has read the head and reads bytes. */
async function open(t: Test, server: Server, path: string, headers = {}): Promise<Stream> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${server.url}${path}`, { agent: false, headers }, resolve).on('error', reject);
  });
  t.teardown(() => response.destroy());
  let text = '';
  let isClosed = false;
  response.setEncoding('utf8');
  response.on('data', (piece: string) => {
    text += piece;
  });
  response.on('close', () => {
    isClosed = true;
  });
  return { response, text: () => text, closed: () => isClosed };
}

const textOf = async (server: Server, path: string) => (await fetch(server.url + path)).text();

t.test('the first stream of a slow route goes to a worker, later ones do not', async (t) => {
  const server = await startServer(t, { app: 'events.lua' });
  t.equal(await textOf(server, '/slow?burn'), 'burnt');
  for (const where of ['a worker', 'the reactor', 'the reactor']) {
    const { text } = await open(t, server, '/slow');
    await until(`a stream on ${where}`, () => text().includes('data: on '));
    t.match(text(), where);
  }
});

t.test('event streams', async (t) => {
  const app = join(t.testdir(), 'app.lua');
  copyFileSync(appPath('events.lua'), app);
  // Inline: a handler that had to wait for the CPU would count as slow and move to a worker, whose Lua
  // state has its own variables.
  const args = ['--compress', 'gzip', '--drain-timeout', '50s', '--dispatch', 'inline'];
  const server = await startServer(t, { app, args });
  const ended = (what: string) =>
    until(what, async () => (await textOf(server, '/ended')) === what).catch(async (cause) => {
      throw new Error(`/ended: ${await textOf(server, '/ended')}`, { cause });
    });

  await t.test('an EventSource resumes after the last event it has received', async (t) => {
    const source = new EventSource(`${server.url}/counted`);
    t.teardown(() => source.close());
    const seen: { data: unknown; lastEventId: string }[] = [];
    source.addEventListener('count', ({ data, lastEventId }) => {
      seen.push({ data: JSON.parse(data), lastEventId });
    });
    await until('nine events of three connections', () => seen.length >= 9);
    const expected = Array.from({ length: 9 }, (_, i) => ({
      data: { id: i + 1, lines: 'a\nb' },
      lastEventId: String(i + 1),
    }));
    t.strictSame(seen.slice(0, 9), expected);
  });

  await t.test('data keeps its lines, comments are not events', async (t) => {
    const source = new EventSource(`${server.url}/texts`);
    const seen: string[] = [];
    source.addEventListener('message', ({ data }) => seen.push(data));
    await new Promise((resolve) => source.addEventListener('error', resolve));
    source.close();
    t.strictSame(seen, ['plain', 'two\nlines', ' kept']);
  });

  await t.test('the head of a stream, which is neither compressed nor cached', async (t) => {
    const { response, text, closed } = await open(t, server, '/texts', {
      'Accept-Encoding': 'gzip',
    });
    t.equal(response.headers['content-type'], 'text/event-stream');
    t.equal(response.headers['cache-control'], 'no-store');
    t.equal(response.headers['x-accel-buffering'], 'no');
    t.equal(response.headers['content-encoding'], undefined);
    await until('the end', closed);
    const events = [
      ':',
      'data: plain',
      'id: x\ndata: two\ndata: lines',
      ': data: not an event',
      'data:  kept',
    ];
    t.equal(text(), events.map((event) => `${event}\n\n`).join(''));
  });

  await t.test('a HEAD request gets only the head', async (t) => {
    const status = await new Promise((resolve, reject) => {
      const sent = request(`${server.url}/topic`, { method: 'HEAD', agent: false }, (response) => {
        response.resume().on('end', () => {
          resolve(`${response.statusCode} ${response.headers['content-type']}`);
        });
      });
      sent.on('error', reject).end();
    });
    t.equal(status, '200 text/event-stream');
  });

  await t.test('an idle stream sends heartbeats, and ends with its client', async (t) => {
    const { response, text } = await open(t, server, '/quiet');
    await until('three heartbeats', () => text().startsWith(':\n\n:\n\n:\n\n:\n\n'));
    response.destroy();
    await ended('/quiet: aborted');
  });

  await t.test('a client that does not read blocks its handler', async (t) => {
    const { response } = await open(t, server, '/flood');
    response.pause();
    let before = -1;
    const flooded = await until('the handler waits', async () => {
      const last = before;
      before = Number(await textOf(server, '/flooded'));
      return before > 0 && before === last ? before : undefined;
    });
    t.ok(flooded < 1024, `${flooded} events of 16 KiB were taken`);
    response.destroy();
    await ended('/quiet: aborted, /flood: aborted');
  });

  await t.test('invalid calls are rejected', async (t) => {
    const errors = (await textOf(server, '/misused')).split('\n');
    t.match(errors[0], /takes a table, got number/);
    t.match(errors[1], /has no member "heart"/);
    t.match(errors[2], /heartbeat takes seconds, 0.1 or more/);
    t.match(errors[3], /retry takes seconds/);
    t.match(errors[4], /the Content-Type "text\/html" was set before/);
  });

  await t.test(
    'a drain ends streams, also those of old code, and says when to return',
    async (t) => {
      const old = await open(t, server, '/topic');
      await until('the old one is ready', () => old.text().includes('event: ready'));
      appendFileSync(app, '\n-- another version\n');
      server.signal('SIGHUP');
      await server.logLine('the reload', (line) => line.msg === 'reloaded');
      const streams = [
        old,
        await open(t, server, '/topic'),
        await open(t, server, '/topic'),
        await open(t, server, '/topic/worker'),
      ];
      await until('all are ready', () => streams.every(({ text }) => text().includes('ready')));
      const posted = await fetch(`${server.url}/topic`, { method: 'POST', body: 'some\nnews' });
      t.equal(posted.status, 204);
      const news = 'id: 0\ndata: some\ndata: news\n\n';
      await until('the news', () => streams.every(({ text }) => text().endsWith(news)));
      const { code } = await server.stop();
      t.equal(code, 0, 'within the time to drain');
      for (const { response, text, closed } of streams) {
        await until('the end of the response', closed);
        t.ok(response.complete, 'the end of the content was sent');
        const [, hint] = /^retry: 4000\n\n.*retry: (\d+)\n\n$/s.exec(text()) ?? [];
        t.ok(Number(hint) >= 2000 && Number(hint) <= 6000, `after ${hint} ms`);
      }
      t.strictSame(
        server.logs.filter(({ level }) => level === 50),
        [],
      );
    },
  );
});
