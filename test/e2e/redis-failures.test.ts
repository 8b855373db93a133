import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import {
  type RedisApp,
  startFakeRedis,
  startRedis,
  startRedisApp,
  startRelay,
} from './redis-server.js';
import { resetConnection } from './reset-connection.js';
import { type SeededRandom, seededRandom } from './seeded-random.js';
import { until } from './until.js';

/** Manually: REDIS_SECONDS=60 node --import=tsx test/e2e/redis-failures.test.ts */
const SECONDS = Number(process.env['REDIS_SECONDS'] ?? 1);
const CLIENTS = 32;
/**
 * Time for requests to succeed again after the server is back. In manual runs the machine is idle.
 */
const RECOVERY_MS = SECONDS > 1 ? 1000 : 30_000;
/** Errors that requests may get while Redis is down. */
const FAILURES = ['timeout', 'connection lost', 'unavailable', 'busy'];

/** Requests distinct keys until `stop`; each response must belong to its key. */
function startLoad(t: Test, { server }: RedisApp, random: SeededRandom, clients = CLIENTS) {
  let stopped = false;
  const failures = new Map<string, number>();
  let good = 0;
  let lastGoodMs = 0;
  let slowestMs = 0;
  let next = 0;
  const client = async () => {
    while (!stopped) {
      next += 1;
      const key = `key-${next}-${'x'.repeat(random.int(0, 2 ** random.int(0, 12)))}`;
      const begin = performance.now();
      const response = await fetch(`${server.url}/echo?${key}`);
      const text = await response.text();
      if (response.status === 200 && text === key) {
        good += 1;
        lastGoodMs = performance.now();
        if (good <= 100) slowestMs = Math.max(slowestMs, lastGoodMs - begin);
      } else if (response.status === 503 && FAILURES.includes(text)) {
        failures.set(text, (failures.get(text) ?? 0) + 1);
      } else {
        throw new Error(`status ${response.status} for ${key}: ${text}`);
      }
    }
  };
  const all = Promise.all(Array.from({ length: clients }, client));
  all.catch(() => undefined);
  const stop = async () => {
    stopped = true;
    await all;
  };
  // Before the server is stopped; a failed test has not called it.
  t.teardown(() => stop().catch(() => undefined));
  return {
    failures,
    good: () => good,
    lastGoodMs: () => lastGoodMs,
    /** Twice the usual time of a request may be added. */
    recoveryMs: () => RECOVERY_MS + 2 * slowestMs,
    stop,
  };
}

/** Time until the first request succeeds. */
async function recovery(load: ReturnType<typeof startLoad>): Promise<number> {
  const begin = performance.now();
  await until('a request succeeds', () => load.lastGoodMs() > begin).catch((cause: unknown) => {
    throw new Error(`failures: ${JSON.stringify([...load.failures])}`, { cause });
  });
  return load.lastGoodMs() - begin;
}

const descriptorsOf = ({ server }: RedisApp) =>
  readdirSync(`/proc/${server.reactorPids()[0]}/fd`).length;

const memoryOf = async ({ lua }: RedisApp) =>
  Number(await lua("collectgarbage() collectgarbage() return collectgarbage('count')"));

for (const client of [{}, { pipelining: false }]) {
  const how = 'pipelining' in client ? 'pooled' : 'shared';

  t.test(`kill -9, SIGSTOP and restarts under load: ${how}`, async (t) => {
    const random = seededRandom();
    t.comment(`seed ${random.seed}`);
    const redis = await startRedis(t);
    const app = await startRedisApp(t, redis.url, { client: { ...client, timeout: 0.2 } });
    const load = startLoad(t, app, random);
    await until('it works', () => load.good() > 100);
    const descriptors = descriptorsOf(app);
    const endMs = performance.now() + SECONDS * 1000;
    do {
      redis.kill('SIGKILL');
      await redis.ended();
      await delay(random.int(0, 300));
      await redis.restart();
      const afterKill = await recovery(load);
      t.ok(afterKill < load.recoveryMs(), `${afterKill} ms after a restart`);

      const before = load.failures.get('timeout') ?? 0;
      redis.kill('SIGSTOP');
      await until('requests time out', () => (load.failures.get('timeout') ?? 0) > before);
      await delay(random.int(0, 500));
      redis.kill('SIGCONT');
      const afterStop = await recovery(load);
      t.ok(afterStop < load.recoveryMs(), `${afterStop} ms after SIGCONT`);
    } while (performance.now() < endMs);
    await load.stop();
    t.comment(`${load.good()} good, ${JSON.stringify([...load.failures])}`);
    await until('no descriptor is left', () => descriptorsOf(app) <= descriptors + 8);
  });

  t.test(`a network that is slow, interrupted and silent: ${how}`, async (t) => {
    const random = seededRandom();
    t.comment(`seed ${random.seed}`);
    const redis = await startRedis(t);
    const relay = await startRelay(t, redis.path);
    const app = await startRedisApp(t, relay.url, {
      client: { ...client, timeout: 0.3, connect_timeout: 0.3 },
    });
    const load = startLoad(t, app, random);
    await until('it works', () => load.good() > 100);
    const endMs = performance.now() + SECONDS * 1000;
    do {
      relay.slow(random.int(1, 50), 0);
      const before = load.good();
      await until('pieces are put together', () => load.good() > before + 50);
      relay.slow(0, 0);
      for (let i = 0; i < 5; i += 1) {
        relay.cut();
        await delay(random.int(0, 30));
      }
      await until('commands are lost with a connection', () => {
        if ((load.failures.get('connection lost') ?? 0) > 0) return true;
        relay.cut();
        return false;
      });
      const afterCuts = await recovery(load);
      t.ok(afterCuts < load.recoveryMs(), `${afterCuts} ms after connections were reset`);
      relay.refuse(true);
      relay.cut();
      await until('it is said to be away', () => (load.failures.get('unavailable') ?? 0) > 0);
      relay.refuse(false);
      const afterRefusal = await recovery(load);
      t.ok(afterRefusal < load.recoveryMs(), `${afterRefusal} ms after connections were refused`);
      relay.hold(true);
      await delay(how === 'shared' ? 2500 : 500); // until a shared connection is closed
      relay.hold(false);
      const afterSilence = await recovery(load);
      t.ok(afterSilence < load.recoveryMs(), `${afterSilence} ms after a silence`);
    } while (performance.now() < endMs);
    await load.stop();
    t.comment(`${load.good()} good, ${JSON.stringify([...load.failures])}`);
    await until('no connection is left over', () => relay.open.size <= 16);
  });

  t.test(`replies to cancelled commands reach no other request: ${how}`, async (t) => {
    const redis = await startRedis(t);
    const relay = await startRelay(t, redis.path);
    const app = await startRedisApp(t, relay.url, { client: { ...client, pool: { max: 8 } } });
    const { lua } = app;
    const round = (rounds: number) =>
      lua(`local wrong, right, cancelled = 0, 0, 0
        for round = 1, ${rounds} do
          local tasks = {}
          for i = 1, 40 do
            tasks[i] = moonring.spawn(function()
              for j = 1, 5 do
                local text = round .. '/' .. i .. '/' .. j .. ('.'):rep(math.random(0, 3000))
                local view = math.random() < 0.3 and client:with { timeout = math.random() * 0.004 + 1e-4 } or client
                local reply, problem = view:command('ECHO', text)
                if reply == text then right = right + 1
                elseif reply or problem.code ~= 'timeout' and problem.code ~= 'busy' then wrong = wrong + 1
                else cancelled = cancelled + 1 end
              end
            end)
          end
          moonring.sleep(math.random() * 0.003)
          for i = 1, 40 do
            if math.random() < 0.3 then tasks[i]:cancel() end
          end
          for i = 1, 40 do
            if not pcall(tasks[i].wait, tasks[i]) then cancelled = cancelled + 1 end
          end
        end
        return wrong, right > 0, cancelled > 0`);
    relay.slow(3000, 1);
    t.equal(await round(3), '0 true true');
    relay.slow(0, 0);
    const before = await memoryOf(app);
    t.equal(await round(10 * SECONDS), '0 true true');
    t.ok((await memoryOf(app)) < before + 2000, 'no memory is left over');
  });
}

t.test('replies to clients that disconnect are discarded', async (t) => {
  const redis = await startRedis(t);
  const app = await startRedisApp(t, redis.url);
  const load = startLoad(t, app, seededRandom(), 8);
  for (let i = 0; i < 200 * SECONDS; i += 1) {
    const leaving = new AbortController();
    const request = fetch(`${app.server.url}/echo?leaving-${i}`, { signal: leaving.signal });
    request.catch(() => undefined);
    setTimeout(() => leaving.abort(), i % 4);
    if (i % 20 === 0) await request.catch(() => undefined);
  }
  await load.stop();
  t.same([...load.failures], []);
});

t.test('a command is retried only if it cannot have run, or may run twice', async (t) => {
  const redis = await startFakeRedis(t, (socket, [, text = ''], connection) => {
    if (connection % 2 === 1) socket.destroy();
    else socket.write(`+${text} on ${connection}\r\n`);
  });
  const { lua } = await startRedisApp(t, redis.url);
  t.match(
    await lua("return client:echo('a')"),
    /^nil connection lost: redis at 127.0.0.1:\d+: connection lost \(closed\), the command may have run$/,
  );
  t.equal(await lua("moonring.sleep(0.1) return client:echo('b')"), '"b on 2"');
  const again = await startFakeRedis(t, (socket, [, text = ''], connection) => {
    if (connection === 1) socket.destroy();
    else socket.write(`+${text} on ${connection}\r\n`);
  });
  const app = await startRedisApp(t, again.url);
  t.equal(
    await app.lua(`local ok, problem = client:with { idempotent = true }:echo('c')
      return ok or problem.code, client:echo('d')`),
    '"unavailable" nil unavailable: redis at '.concat(again.url.slice(8), ': closed'),
    'a connection that lived short is not made again at once',
  );
  t.equal(await app.lua("moonring.sleep(0.1) return client:echo('e')"), '"e on 2"');
});

t.test('commands unsent when a connection dies are sent on the next one', async (t) => {
  let isOpen = false;
  const redis = await startFakeRedis(t, (socket, [, text = ''], connection) => {
    if (connection === 1) {
      isOpen = true;
      socket.pause(); // its buffers fill up
    } else socket.write(`:${text.length}\r\n`);
  });
  const { lua } = await startRedisApp(t, redis.url);
  const outcome = lua(`local text, tasks = ('x'):rep(1000000), {}
    for i = 1, 14 do
      tasks[i] = moonring.spawn(function()
        local length, problem = client:with { timeout = 10 }:echo(text)
        return length or problem.code
      end)
    end
    local counts = {}
    for i = 1, 14 do
      local result = tasks[i]:wait()
      counts[result] = (counts[result] or 0) + 1
    end
    return counts`);
  await until('the first connection is open', () => isOpen);
  await delay(1200); // it was not short-lived
  for (const socket of redis.open) resetConnection(socket);
  const text = await outcome;
  t.match(text, /1000000=\d+/, 'some are sent again');
  t.match(text, /connection lost=\d+/, 'some may have run');
});

t.test('a server that speaks another protocol is closed at once, and costs nothing', async (t) => {
  const bytes = [
    'HTTP/1.1 400 Bad Request\r\n\r\n',
    '$99999999999\r\n',
    '+OK\r\n+OK\r\n',
    '*1\r\n'.repeat(100),
    ':1x\r\n',
    '\0'.repeat(100_000),
    `+${'x'.repeat(100_000)}`,
    `$5\r\nhello${'y'.repeat(100)}`,
    '>3\r\n+message\r\n+a\r\n+b\r\nx\r\n',
  ];
  const redis = await startFakeRedis(t, (socket, [name, index]) => {
    if (name === 'BAD') socket.write(bytes[Number(index)] ?? '');
    else socket.write('+PONG\r\n');
  });
  const app = await startRedisApp(t, redis.url);
  const descriptors = descriptorsOf(app);
  for (const [i] of bytes.entries()) {
    const text = await app.lua(`local value, problem
      repeat value, problem = client:bad(${i}) until value or problem.code ~= 'unavailable'
      return value, problem`);
    if (i === 2) t.equal(text, '"OK" nil', 'the first of two replies to one command');
    else t.match(text, /^nil connection lost: .*does not speak its protocol/, `bytes ${i}`);
    t.equal(
      await app.lua(
        `local value repeat value = client:ping() or moonring.sleep(0.005) until value return value`,
      ),
      '"PONG"',
    );
  }
  await until('no descriptor is left', () => descriptorsOf(app) <= descriptors + 2);
});

t.test('a reply has limits, and the connection stays usable', async (t) => {
  const redis = await startRedis(t);
  const { lua } = await startRedisApp(t, redis.url, { client: { max_reply: 10_000 } });
  t.match(
    await lua(`client:set('large', ('x'):rep(1000000))
      return client:get('large')`),
    /^nil too large: /,
  );
  t.match(
    await lua(`for i = 1, 1000 do client:rpush('list', i) end
      return client:lrange('list', 0, -1)`),
    /^nil too large: /,
  );
  t.equal(await lua("return #client:getrange('large', 0, 4999)"), '5000');
  t.equal(
    await lua("return #client:client('LIST') > 0 and client:client('LIST'):match('\\n(.)')"),
    'nil',
  );
});

t.test('a server that cannot keep up', async (t) => {
  const redis = await startFakeRedis(t, () => undefined);
  const { lua } = await startRedisApp(t, redis.url, {
    client: { max_in_flight: 10, timeout: 0.3, pool: { max: 2, queue: 3 } },
  });
  const count = (call: string, then = 'nil') => `local tasks, counts = {}, {}
    for i = 1, 20 do tasks[i] = moonring.spawn(function() return select(2, ${call}).code end) end
    for i = 1, 20 do
      local code = tasks[i]:wait()
      counts[code] = (counts[code] or 0) + 1
    end
    return counts, ${then}`;
  t.match(
    await lua(count("client:get('k')", "client:get('k')")),
    /^\{busy=10, timeout=10\} nil busy: .*10 commands wait for a reply/,
  );
  t.equal(
    await lua(count("client:session(function(s) return s:get('k') end)")),
    '{busy=15, timeout=5} nil',
  );
});

t.test('a connection that a task waited for may be closed when it gets it', async (t) => {
  // Every third reply is the last one on its connection, which closes at once or a little later.
  let replies = 0;
  const redis = await startFakeRedis(t, (socket) => {
    replies += 1;
    socket.write('+OK\r\n');
    if (replies % 3 === 1) socket.destroy();
    else if (replies % 3 === 2) setImmediate(() => socket.destroy());
  });
  const client = { pipelining: false, pool: { max: 4, queue: 100 }, timeout: 1 };
  const { lua } = await startRedisApp(t, redis.url, { client });
  t.equal(
    await lua(`local tasks, wrong = {}, 0
      for i = 1, 40 do
        tasks[i] = moonring.spawn(function()
          for j = 1, 50 * ${SECONDS} do
            local ok, problem = client:ping()
            if not ok and not problem.code then wrong = wrong + 1 end
          end
        end)
      end
      for i = 1, 40 do tasks[i]:wait() end
      return wrong`),
    '0',
  );
});

t.test('an argument that cannot be sent takes no connection out of the pool', async (t) => {
  const redis = await startRedis(t);
  const client = { pipelining: false, timeout: 5, pool: { max: 1 } };
  const { lua } = await startRedisApp(t, redis.url, { client });
  t.equal(
    await lua(`assert(client:set('k', 'v'))
      for i = 1, 3 do assert(not pcall(client.get, client, {})) end
      return client:get('k')`),
    '"v"',
  );
});

t.test('redirects and states of a cluster are errors with codes', async (t) => {
  const replies: Record<string, string> = {
    moved: '-MOVED 3999 10.0.0.7:6381\r\n',
    ask: '-ASK 3999 10.0.0.7:6381\r\n',
    down: '-CLUSTERDOWN The cluster is down\r\n',
    readonly: "-READONLY You can't write against a read only replica.\r\n",
    loading: '-LOADING Redis is loading the dataset in memory\r\n',
  };
  const redis = await startFakeRedis(t, (socket, [, key = '']) => socket.write(replies[key] ?? ''));
  const { lua } = await startRedisApp(t, redis.url);
  const codes = `local found = {}
    for _, key in ipairs { 'moved', 'ask', 'down', 'readonly', 'loading' } do
      local _, problem = client:get(key)
      found[#found + 1] = problem.code .. (problem.host and (' ' .. problem.slot .. ' ' .. problem.host .. ' ' .. problem.port) or '')
    end
    return table.concat(found, ', ')`;
  t.equal(
    await lua(codes),
    '"MOVED 3999 10.0.0.7 6381, ASK 3999 10.0.0.7 6381, CLUSTERDOWN, READONLY, LOADING"',
  );
});

t.test('a Redis that is down fails quickly, and is not retried without limit', async (t) => {
  const redis = await startRedis(t);
  const relay = await startRelay(t, redis.path);
  const app = await startRedisApp(t, relay.url);
  const load = startLoad(t, app, seededRandom());
  await until('it works', () => load.good() > 100);
  relay.refuse(true);
  relay.cut();
  const before = relay.accepted();
  const begin = performance.now();
  await until('requests fail', () => (load.failures.get('unavailable') ?? 0) > 1000);
  // The delays between attempts grow to half a second, with jitter of up to half of that.
  const most = 5 + (performance.now() - begin) / 250;
  t.ok(relay.accepted() - before <= most, `${relay.accepted() - before} attempts of ${most}`);
  relay.refuse(false);
  const after = await recovery(load);
  t.ok(after < load.recoveryMs(), `${after} ms after connections were refused`);
  await load.stop();
});

t.test('a subscription is renewed, and reports that messages may be lost', async (t) => {
  const redis = await startRedis(t);
  const relay = await startRelay(t, redis.path);
  const { lua } = await startRedisApp(t, relay.url);
  const heard = lua(`local sub, found = client:subscribe('news'), {}
    for message in sub:messages() do
      found[#found + 1] = message.payload or message.type
      if message.payload == 'last' then return table.concat(found, ' ') end
    end`);
  const publish = (text: string) =>
    until(
      'it is heard',
      async () => (await lua(`return client:publish('news', '${text}')`)) === '1',
    );
  await publish('first');
  relay.cut();
  await publish('second');
  redis.kill('SIGKILL');
  await redis.ended();
  await redis.restart();
  await publish('last');
  t.equal(await heard, '"first reconnected second reconnected last"');
});

t.test('on a worker a connection that died between requests is reopened', async (t) => {
  const redis = await startRedis(t);
  const args = ['--dispatch', 'worker', '--threads', '1'];
  for (const client of [{}, { pipelining: false }]) {
    const { lua } = await startRedisApp(t, redis.url, { args, client });
    t.equal(await lua("return client:set('k', 'v')"), '"OK"');
    redis.kill('SIGKILL');
    await redis.ended();
    await redis.restart();
    t.equal(await lua("return client:set('k', 'w')"), '"OK"');
  }
});
