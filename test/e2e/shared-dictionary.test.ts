import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Server as ApiServer, createServer, type SharedDictionary } from '../../dist/index.js';
import { metricsOf, statusOf } from './admin-client.js';
import { changingConfig } from './changing-config.js';
import { seededRandom } from './seeded-random.js';
import { startServer } from './server.js';
import { until } from './until.js';

/*
 * moonring.shared and server.shared: memory shared by all reactors, their worker threads and the
 * master, which outlives reactors and Lua states.
 */

/** Calls the method named by the path with the arguments in the content; returns all results. */
const CALLS = `
local json = moonring.json
local d = moonring.shared 'test'
d:incr('loads', 1, 0)
function handle(req, res)
  local call = json.decode(req:body())
  local result, problem = d[call.method](d, unpack(call.args))
  res:body(json.encode({ result = result, error = problem })):send()
end
`;

interface Called {
  readonly result?: unknown;
  readonly error?: unknown;
}

async function callLua(address: string, method: string, ...args: unknown[]): Promise<Called> {
  const body = JSON.stringify({ method, args });
  const response = await fetch(address, { method: 'POST', body });
  return (await response.json()) as Called;
}

async function started(
  t: Test,
  options: object = {},
): Promise<{ server: ApiServer; address: string; dictionary: SharedDictionary }> {
  const app = join(t.testdir({ 'app.lua': CALLS }), 'app.lua');
  const server = createServer({
    app,
    port: 0,
    admin: 'off',
    processes: 2,
    logLevel: 'off',
    shared: { test: '1m', other: '256k' },
    ...options,
  });
  t.teardown(() => server.stop().catch(() => {}));
  const { address } = await server.start();
  return { server, address, dictionary: server.shared('test') };
}

t.test('Lua and TypeScript read what the other has written', async (t) => {
  const { address, dictionary, server } = await started(t);
  for (const value of ['text', 'ä€😀', '', 'x'.repeat(3000), 0, -1.5, 2 ** 53, true, false]) {
    dictionary.set('k', value);
    t.strictSame(await callLua(address, 'get', 'k'), { result: value });
    await callLua(address, 'set', 'l', value);
    t.equal(dictionary.get('l'), value);
  }
  dictionary.set('bytes', Buffer.from([0, 255, 10]));
  t.strictSame(dictionary.getBuffer('bytes'), Buffer.from([0, 255, 10]));
  dictionary.set('k', 'v', { flags: 7, ttlMs: 60_000 });
  t.strictSame(await callLua(address, 'get', 'k'), { result: 'v', error: 7 });
  t.match((await callLua(address, 'ttl', 'k')).result, Number);
  t.equal(dictionary.incr('n', 2), undefined);
  t.equal(dictionary.incr('n', 2, { initial: 5 }), 7);
  t.strictSame(await callLua(address, 'incr', 'n', 1), { result: 8 });
  t.equal(
    dictionary.update('n', (n) => Number(n) * 2),
    16,
  );
  let runs = 0;
  t.equal(
    dictionary.update('bytes', (old) => {
      if (runs++ > 0) throw new Error('it was not changed meanwhile');
      return `${typeof old} of ${String(old).length}`;
    }),
    'string of 3',
    'a string that is not UTF-8',
  );
  t.equal(dictionary.cas('n', 15, 1), false);
  t.equal(dictionary.cas('n', 16, 'sixteen'), true);
  t.equal(dictionary.add('n', 1), false);
  t.equal(dictionary.replace('n', 1), true);
  t.equal(dictionary.replace('none', 1), false);
  t.equal(dictionary.rpush('list', 'b'), 1);
  await callLua(address, 'lpush', 'list', 'a');
  t.equal(dictionary.llen('list'), 2);
  t.strictSame(
    [dictionary.lpop('list'), dictionary.rpop('list'), dictionary.lpop('list')],
    ['a', 'b', undefined],
  );
  t.equal(dictionary.ttl('n'), Number.POSITIVE_INFINITY);
  t.equal(dictionary.expire('n', 50_000), true);
  t.equal(dictionary.ttl('n') !== undefined && (dictionary.ttl('n') ?? 0) <= 50_000, true);
  t.equal(dictionary.ttl('none'), undefined);
  t.strictSame([...dictionary.keys()].toSorted(), ['bytes', 'k', 'l', 'loads', 'n']);
  dictionary.flushAll();
  t.equal(dictionary.get('n'), undefined);
  t.match(dictionary.getStale('n'), { value: 1, isStale: true });
  t.equal(dictionary.flushExpired(), 5);
  t.equal(dictionary.delete('n'), false);
  t.match(dictionary.stats(), { sizeBytes: 1024 ** 2, entries: 0, usedBytes: 0, evictions: 0 });
  t.match(server.stats().shared, [{ name: 'test' }, { name: 'other', sizeBytes: 256 * 1024 }]);
});

t.test('the same calls return the same results on both sides', async (t) => {
  const { address, dictionary } = await started(t, { processes: 1 });
  const random = seededRandom();
  t.comment(`seed ${random.seed}`);
  const pick = <T>(list: readonly T[]) => list[random.int(0, list.length - 1)] as T;
  const keys = ['a', 'b', 'c'];
  const values = ['x', 'y', 1, 2, true];
  const calls: Record<string, (key: string) => [lua: unknown[], ts: () => unknown]> = {
    get: (key) => [[key], () => dictionary.get(key)],
    set: (key) => {
      const value = pick(values);
      return [[key, value], () => dictionary.set(key, value) ?? true];
    },
    add: (key) => {
      const value = pick(values);
      return [[key, value], () => dictionary.add(key, value)];
    },
    replace: (key) => {
      const value = pick(values);
      return [[key, value], () => dictionary.replace(key, value)];
    },
    incr: (key) => [[key, 3, 1], () => dictionary.incr(key, 3, { initial: 1 })],
    cas: (key) => {
      const [old, value] = [pick(values), pick(values)];
      return [[key, old, value], () => dictionary.cas(key, old, value)];
    },
    delete: (key) => [[key], () => dictionary.delete(key) || true],
    rpush: (key) => [[key, 'e'], () => dictionary.rpush(key, 'e')],
    lpop: (key) => [[key], () => dictionary.lpop(key)],
    llen: (key) => [[key], () => dictionary.llen(key)],
  };
  const attempt = (work: () => unknown) => {
    try {
      return work() ?? null;
    } catch (error) {
      return (error as { code: string }).code === 'ERR_MOONRING_SHARED' ? null : error;
    }
  };
  for (let i = 0; i < 400; i++) {
    const method = pick(Object.keys(calls));
    const key = pick(keys);
    const [args, ts] = calls[method]?.(key) ?? [];
    // The same calls on two sets of keys.
    const twin = `twin of ${key}`;
    const { result = null } = await callLua(address, method, twin, ...(args ?? []).slice(1));
    t.strictSame(
      attempt(ts ?? (() => undefined)),
      result,
      `${i}: ${method} ${JSON.stringify(args)}`,
    );
  }
});

t.test('invalid calls throw with the reason', async (t) => {
  const { dictionary, server } = await started(t, { processes: 1 });
  const error = (message: RegExp) => ({ code: 'ERR_MOONRING_SHARED', message });
  t.throws(() => server.shared('tset'), error(/no shared dictionary "tset", only test, other/));
  t.throws(() => dictionary.get(''), error(/shared\('test'\).get: a key is a string of 1 to/));
  t.throws(() => dictionary.set('k', 'x'.repeat(100_000)), error(/no memory: the value is larger/));
  t.throws(() => dictionary.set('k', {} as string), error(/a value is a string, a number/));
  t.throws(
    () => dictionary.set('k', 1, { ttlMs: -1 }),
    error(/^shared\S* ttlMs is a number from 0/),
  );
  const untyped = (options: object) => dictionary.set('k', 1, options);
  t.throws(() => untyped({ ttlMs: '5' }), error(/ttlMs is a number from 0 on, not 5/));
  t.throws(() => untyped({ ttlsMs: 5 }), error(/no option ttlsMs \(Did you mean ttlMs\?\)/));
  t.throws(() => untyped({ flags: 0.5 }), error(/flags is a whole number below 2\^32, not 0.5/));
  t.throws(() => dictionary.incr('k', 1, { initial: '5' as never }), error(/initial is a number/));
  dictionary.set('s', 'text');
  t.throws(() => dictionary.incr('s'), error(/incr: the value is not a number/));
  t.throws(() => dictionary.lpush('s', 1), error(/lpush: the value is not a list/));
  dictionary.lpush('l', 1);
  t.throws(() => dictionary.get('l'), error(/get: the value is a list/));
  await server.stop();
  t.throws(
    () => dictionary.get('s'),
    error(/the server has stopped, and its shared memory is gone/),
  );
});

t.test('it outlives reactors, Lua states and processes, and counts exactly', async (t) => {
  const app = `
    local ffi = require 'ffi'
    ffi.cdef 'int getpid(void);'
    local d = moonring.shared 'test'
    d:incr('loads', 1, 0)
    function handle(req, res)
      if req.path == '/worker' then
        moonring.worker(function() moonring.shared 'test':incr('hits', 1, 0) end)
      else
        d:incr('hits', 1, 0)
      end
      res:body(ffi.C.getpid() .. ' ' .. d:get 'hits'):send()
    end`;
  const directory = t.testdir({ 'app.lua': app });
  const { args, change } = changingConfig(directory);
  const server = await startServer(t, {
    app: join(directory, 'app.lua'),
    processes: 2,
    args: [...args, '--shared', 'test=1m,unused=256k', '--threads', '2'],
  });
  let hits = 0;
  const hit = async (path = '/') => {
    const [pid, seen] = (
      await (await fetch(`${server.url}${path}`, { headers: { connection: 'close' } })).text()
    ).split(' ');
    t.equal(Number(seen), ++hits);
    return Number(pid);
  };
  const pids = new Set<number>();
  await until('both reactors', async () => pids.add(await hit()).size === 2);
  for (let i = 0; i < 4; i++) await hit('/worker');
  for (const pid of server.reactorPids()) process.kill(pid, 'SIGKILL');
  await server.logLine('a crash', ({ msg }) => msg === 'reactor crashed');
  await until('new reactors', async () => {
    const { reactors } = await statusOf(server);
    return reactors.every(({ state, pid }) => state === 'ready' && !pids.has(pid ?? 0));
  });
  await hit();
  server.signal('SIGHUP');
  await server.logLine('lua states', ({ msg }) => msg === 'reloaded');
  await hit();
  change();
  server.signal('SIGHUP');
  await server.logLine('processes', ({ msg, replaced }) => {
    return msg === 'reloaded' && replaced === 'processes';
  });
  await hit();
  const [dictionary] = (await statusOf(server)).shared;
  t.match(dictionary, { name: 'test', entries: 2, sizeBytes: 1024 ** 2, evictions: 0 });
  const metrics = await metricsOf(server);
  t.equal(metrics.get('moonring_shared_entries{dictionary="test"}'), 2);
  t.equal(metrics.get('moonring_shared_evictions_total{dictionary="unused"}'), 0);
});

t.test(
  'a reload says that another size takes a restart, and goes on with the old one',
  async (t) => {
    const directory = t.testdir({
      'app.lua':
        "local d = moonring.shared 'test' function handle(_, res) res:body(tostring(d:capacity())):send() end",
    });
    const path = join(directory, 'moonring.json');
    writeFileSync(path, JSON.stringify({ shared: { test: '1m' } }));
    const server = await startServer(t, {
      app: join(directory, 'app.lua'),
      args: ['--config', path],
    });
    writeFileSync(path, JSON.stringify({ shared: { test: '2m', more: '1m' } }));
    server.signal('SIGHUP');
    const line = await server.logLine('a warning', ({ msg }) => {
      return msg === 'changed options need a restart';
    });
    t.strictSame(line['keys'], ['shared']);
    await server.logLine('reloaded', ({ msg }) => msg === 'reloaded');
    t.equal(await (await fetch(server.url)).text(), String(1024 ** 2));
    writeFileSync(join(directory, 'app.lua'), "moonring.shared 'more' function handle() end");
    server.signal('SIGHUP');
    const refused = await server.logLine('refused', ({ level }) => level >= 50);
    t.match(JSON.stringify(refused), /no dictionary of this name \(declared: test\)/);
  },
);

t.test('the checker loads with private memory', async (t) => {
  const app = `
    local d = moonring.shared 'test'
    assert(d:incr('loads', 1, 0) == 1, 'loaded before')
    function handle(_, res) res:body(tostring(d:get 'loads')):send() end`;
  const directory = t.testdir({ 'app.lua': app });
  const server = await startServer(t, {
    app: join(directory, 'app.lua'),
    processes: 1,
    args: ['--shared', 'test=1m'],
  });
  t.equal(await (await fetch(server.url)).text(), '1');
});
