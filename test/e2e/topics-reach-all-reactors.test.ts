import { get, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import t from 'tap';
import { createServer, type ServerOptions } from '../../dist/index.js';
import { until } from './until.js';

const APP = 'test/e2e/apps/topics.lua';
const OPTIONS = { port: 0, admin: 'off', logLevel: 'off', accept: 'boss', app: APP } as const;

interface Follower {
  /** The lines so far; the first one is the number of the reactor. */
  readonly lines: string[];
  readonly ended: Promise<void>;
}

/** A client of /follow that is subscribed. */
async function follow(address: string): Promise<Follower> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${address}/follow`, { agent: false }, resolve).on('error', reject);
  });
  const lines: string[] = [];
  const reader = createInterface({ input: response });
  reader.on('line', (line) => lines.push(line));
  const ended = new Promise<void>((resolve) => reader.on('close', resolve));
  await until('the subscription', () => lines.length > 0);
  return { lines, ended };
}

t.test('a message reaches subscribers in every reactor and in the program', async (t) => {
  const server = createServer({ ...OPTIONS, processes: 3 });
  const { address } = await server.start();
  t.teardown(() => server.stop());
  const followers = await Promise.all(Array.from({ length: 9 }, () => follow(address)));
  t.equal(new Set(followers.map(({ lines }) => lines[0])).size, 3, 'in all reactors');
  const subscribed = server.stats().topics.reduce((all, each) => all + each.subscribers, 0);
  t.equal(subscribed, 3, 'a Lua state counts once for a topic');
  const heard: string[] = [];
  const subscription = server.subscribe('news', (message, lost) => {
    heard.push(`${message} ${lost}`);
  });
  const other = server.subscribe('news', () => other.close());
  server.publish('news', 'from the program');
  server.publish('else', 'not for them');
  await until('the program heard itself', () => heard.length === 1);
  await fetch(address, { method: 'POST', body: 'from a handler' });
  await until('the program heard the handler', () => heard.length === 2);
  await fetch(`${address}/worker`);
  await until('the program heard the worker', () => heard.length === 3);
  server.publish('news', new TextEncoder().encode('end'));
  await Promise.all(followers.map(({ ended }) => ended));
  const all = ['from the program 0', 'from a handler 0', 'worker 0', 'end 0'];
  for (const { lines } of followers) t.strictSame(lines.slice(1), all);
  await until('the program heard the end', () => heard.length === 4);
  t.strictSame(heard, all);
  subscription.close();
  subscription.close();
  const reactors = ['reactor-0', 'reactor-1', 'reactor-2'];
  const topics = await until('the followers are counted as gone', () => {
    const now = server.stats().topics;
    return now.every(({ subscribers }) => subscribers === 0) && now;
  });
  t.match(topics, [
    { process: 'master', published: 3, delivered: 5, lost: 0 },
    ...reactors.map((process) => ({ process, lost: 0 })),
  ]);
  const total = (key: 'published' | 'delivered') =>
    topics.reduce((all, each) => all + each[key], 0);
  t.equal(total('published'), 5);
  t.equal(total('delivered'), 5 + 3 * 4);
});

t.test('wrong topics and messages throw', async (t) => {
  const server = createServer({ ...OPTIONS, processes: 1 });
  t.throws(() => server.publish('t', 'x'), { code: 'ERR_MOONRING_USAGE' });
  await server.start();
  t.teardown(() => server.stop());
  const wrong: [string, string][] = [
    ['', 'x'],
    ['t'.repeat(256), 'x'],
    ['t', 'x'.repeat(65_537)],
  ];
  for (const [topic, message] of wrong) {
    t.throws(() => server.publish(topic, message), {
      code: 'ERR_MOONRING_USAGE',
      message: /^publish: a (topic|message) has /,
    });
  }
  t.throws(() => server.subscribe('', () => {}), { code: 'ERR_MOONRING_USAGE' });
});

t.test('nothing is lost or reordered while reactors are replaced one by one', async (t) => {
  const options: ServerOptions & { maxHeaders: number } = {
    ...OPTIONS,
    processes: 2,
    maxHeaders: 50,
  };
  const server = createServer(options);
  const { address } = await server.start();
  t.teardown(() => server.stop());
  const last = new Map<string, number>();
  let heard = 0;
  let wrong = 0;
  server.subscribe('numbered', (message, lost) => {
    const [tag = '', number] = message.toString().split(' ');
    if (lost !== 0 || Number(number) !== (last.get(tag) ?? 0) + 1) wrong++;
    last.set(tag, Number(number));
    heard++;
  });
  let published = 0;
  let over = false;
  const clients = Array.from({ length: 4 }, async () => {
    while (!over) {
      const response = await fetch(`${address}/publish`);
      await response.text();
      if (response.status !== 200) wrong++;
      published++;
    }
  });
  for (let i = 0; i < 2; i++) {
    options.maxHeaders++; // not only Lua files: replaces processes
    t.match(await server.reload(), { replaced: 'processes' });
    const before = published;
    await until('the successors publish', () => published > before + 20);
  }
  over = true;
  await Promise.all(clients);
  await until('everything is heard', () => heard === published);
  t.ok(last.size >= 4, 'of four processes and more');
  t.equal(wrong, 0);
});
