import t from 'tap';
import { makeCertificate } from './certificate.js';
import { startRedis, startRedisApp, startRelay } from './redis-server.js';
import { until } from './until.js';

const PATHS = [
  { how: 'shared', dispatch: 'inline', client: {} },
  { how: 'pooled', dispatch: 'inline', client: { pipelining: false } },
  { how: 'shared', dispatch: 'worker', client: {} },
  { how: 'pooled, RESP2', dispatch: 'worker', client: { pipelining: false, protocol: 2 } },
] as const;

for (const { how, dispatch, client } of PATHS) {
  t.test(`commands by name and their replies: ${how}, ${dispatch}`, async (t) => {
    const redis = await startRedis(t);
    const args = ['--dispatch', dispatch, '--threads', '1'];
    const { lua } = await startRedisApp(t, redis.url, { args, client });
    t.equal(await lua("return client:set('k', 'v')"), '"OK"');
    t.equal(await lua("return client:get('k')"), '"v"');
    t.equal(await lua("return select('#', client:get('none')), client:get('none')"), '1 nil');
    t.equal(await lua("return client:incrby('n', 41), client:INCR('n')"), '41 42');
    t.equal(await lua("return client:command('strlen', 'k')"), '1');
    t.equal(await lua("client:set('b', '\\0\\r\\n\\255') return #client:get('b')"), '4');
    t.equal(
      await lua("client:rpush('l', 'a', 'b') return client:lrange('l', 0, -1)"),
      '{"a", "b"}',
    );
    t.equal(await lua("return client:mget('k', 'none', 'n')"), '{"v", null, "42"}');
    t.match(await lua("return client:incr('k')"), /^nil ERR: ERR value is not an integer/);
    t.match(await lua("return client:incr('l')"), /^nil WRONGTYPE: WRONGTYPE Operation/);
    t.match(await lua("return client:nosuch('a')"), /^nil ERR: ERR unknown command 'NOSUCH'/);
    const many = "p:set('p', 1) p:incr('p') p:get('none') p:incr('k')";
    t.match(
      await lua(`return client:pipeline(function(p) ${many} end)`),
      /^\{"OK", 2, null, ERR: ERR value.*\}$/,
    );
    t.equal(await lua('return client:pipeline(function() end)'), '{}');
    t.equal(await lua("return client:multi(function(m) m:set('m', 1):incr('m') end)"), '{"OK", 2}');
    t.match(
      await lua("return client:multi(function(m) m:set('m', 7) m:nosuch() end), client:get('m')"),
      /^nil "2"$/,
    );
    t.match(await lua('return client:multi(function(m) m:nosuch() end)'), /^nil ERR: ERR unknown/);
    const reader = "local a = redis.script 'return { KEYS[1], ARGV[1], ARGV[2] }'";
    const run = `return client:run(a, { 'k' }, { 'x', 2 })`;
    t.equal(await lua(`${reader} ${run}`), '{"k", "x", "2"}');
    t.equal(await lua(`${reader} client:script('FLUSH') ${run}`), '{"k", "x", "2"}');
    t.match(
      await lua(`${reader} return pcall(client.run, client, a, 'k')`),
      /keys and arguments are lists/,
    );
    t.equal(
      await lua("return require('moonring.json').encode(client:mget('none', 'none'))"),
      '"[null,null]"',
    );
    t.equal(
      await lua(`for i = 1, 500 do client:sadd('s', i) end
        local sum = 0
        for member in client:scan_set('s', { count = 7 }) do sum = sum + member end
        return sum`),
      String((500 * 501) / 2),
    );
    t.equal(
      await lua(`local found = {}
        client:hset('h', 'a', 1, 'b', 2)
        for field, value in client:scan_hash('h') do found[field] = value end
        return found`),
      '{a="1", b="2"}',
    );
    t.equal(
      await lua(`local found = 0
        for i = 1, 100 do client:set('scan:' .. i, i) end
        for key in client:scan_keys { match = 'scan:*', count = 10, type = 'string' } do found = found + 1 end
        return found`),
      '100',
    );
    t.equal(
      await lua(`client:zadd('z', 1.5, 'm')
        for member, score in client:scan_sorted_set('z') do return member, score end`),
      '"m" "1.5"',
    );
    t.equal(
      await lua(`local tasks = {}
        for i = 1, 50 do
          tasks[i] = moonring.spawn(function() return client:command('ECHO', 'task ' .. i) end)
        end
        for i = 1, 50 do
          if tasks[i]:wait() ~= 'task ' .. i then return 'wrong' end
        end
        return 'all right'`),
      '"all right"',
      'commands of many tasks at once',
    );
  });
}

t.test('replies have types', async (t) => {
  const redis = await startRedis(t);
  const { lua } = await startRedisApp(t, redis.url);
  t.equal(await lua("client:hset('h', 'f', 'v') return client:hgetall('h')"), '{f="v"}');
  t.equal(await lua("client:zadd('z', 0.5, 'm') return client:zscore('z', 'm')"), '0.5');
  t.equal(await lua("return client:zincrby('z', 'inf', 'm')"), 'inf');
  t.equal(await lua("client:sadd('s', 'a') return client:smembers('s')"), '{"a"}');
  t.equal(await lua("client:set('n', 2^53) return client:incr('n')"), '"9007199254740993"');
  const typed = (name: string) => lua(`return client:debug('PROTOCOL', '${name}')`);
  t.equal(await typed('true'), 'true');
  t.equal(await typed('false'), 'false');
  t.equal(await typed('null'), 'nil');
  t.equal(await typed('double'), '3.141');
  t.equal(await typed('bignum'), '"1234567999999999999999999999999999999"');
  t.equal(await typed('verbatim'), '"This is a verbatim\\nstring"');
  t.equal(await typed('map'), '{true, false, 0=false}');
  t.equal(await typed('set'), '{0, 1, 2}');
  t.equal(await typed('attrib'), '"Some real reply following the attribute"');
});

t.test('what a request has kept is not there for the next one', async (t) => {
  const redis = await startRedis(t);
  const { lua } = await startRedisApp(t, redis.url);
  for (const wait of ["client:get 'none'", 'moonring.sleep(0)']) {
    for (let i = 0; i < 8; i += 1) {
      t.equal(await lua(`${wait} local was = req.ctx.was req.ctx.was = true return was`), 'nil');
      t.equal(
        await lua(`${wait}
          local was = kept.child and kept.child:status()
          kept.child = moonring.spawn(moonring.sleep, 60)
          ${wait} return was`),
        i === 0 && wait.startsWith('client') ? 'nil' : '"ended"',
      );
    }
  }
});

t.test(
  'commands that a shared connection cannot run are rejected, and work in a session',
  async (t) => {
    const redis = await startRedis(t);
    const { lua } = await startRedisApp(t, redis.url, { client: { pool: { max: 2 } } });
    const refusal = (call: string) => lua(`return select(2, pcall(function() return ${call} end))`);
    t.match(
      await refusal("client:blpop('l', 1)"),
      /code:1: BLPOP: it waits, and all .*client:session/,
    );
    t.match(await refusal("client:xread('BLOCK', 0, 'STREAMS', 's', '$')"), /XREAD: it waits/);
    t.match(await refusal("client:watch('k')"), /WATCH: on the shared .*client:multi/);
    t.match(await refusal('client:select(1)'), /SELECT: it changes the shared connection/);
    t.match(await refusal("client:client('REPLY', 'OFF')"), /CLIENT: it changes/);
    t.match(
      await refusal("client:command('SUBSCRIBE', 'c')"),
      /SUBSCRIBE cannot .*client:subscribe/,
    );
    t.match(await refusal('client:monitor()'), /MONITOR cannot be sent as a command/);
    t.match(await refusal("client:pipeline(function(p) p:blpop('l', 1) end)"), /BLPOP: it waits/);
    t.match(await refusal("client:set('k', {})"), /SET: argument 2 is a table/);
    t.match(await refusal("client:command('a b')"), /a b is no name of a command/);
    t.match(await refusal('client:with { timout = 1 }'), /did you mean ."timeout/);
    t.equal(await lua("return (client:client('GETNAME')) == nil"), 'true');

    t.equal(
      await lua("return client:session(function(s) return s:blpop('none', 0.05) end)"),
      'nil',
    );
    t.equal(
      await lua(`moonring.spawn(function() moonring.sleep(0.05) client:rpush('l', 'x') end)
      return client:with { timeout = 0.01 }:session(function(s) return s:brpop('l', 5) end)`),
      '{"l", "x"}',
      'a blocking command has its own time on top',
    );
    const swap = (meddling: string) => `return client:session(function(s)
      s:watch('w')
      local value = tonumber(s:get('w'))
      ${meddling}
      return s:multi(function(m) m:set('w', value + 1) end)
    end)`;
    t.equal(await lua(`client:set('w', 1) ${swap('')}`), '{"OK"}');
    t.match(await lua(swap("client:set('w', 10)")), /^nil conflict: .* nothing was done$/);
    t.equal(await lua("return client:get('w')"), '"10"');
    t.equal(
      await lua("return client:session(function(s) s:select(3) return s:set('other', 1) end)"),
      '"OK"',
    );
    t.equal(
      await lua("return client:session(function(s) return s:get('other') end)"),
      'nil',
      'a connection on which another database was selected is not used again',
    );
    t.equal(
      await lua(`local ok, problem = pcall(client.session, client, function(s) s:watch('w') error('oops', 0) end)
      return ok, problem, client:session(function(s) return s:ping() end)`),
      'false "oops" "PONG"',
    );
    t.match(
      await lua(`local kept
      client:session(function(s) kept = s end)
      return pcall(kept.get, kept, 'k')`),
      /^false ".*this session is over/,
    );
    t.equal(
      await lua(`local tasks, most, at_once = {}, 0, 0
      for i = 1, 6 do
        tasks[i] = moonring.spawn(function()
          return client:session(function(s)
            at_once = at_once + 1
            most = math.max(most, at_once)
            s:blpop('none', 0.02)
            at_once = at_once - 1
            return i
          end)
        end)
      end
      local sum = 0
      for i = 1, 6 do sum = sum + tasks[i]:wait() end
      return sum, most`),
      '21 2',
      'sessions wait for one of the pool',
    );
  },
);

t.test('subscriptions deliver messages, and end with their request', async (t) => {
  const redis = await startRedis(t);
  for (const protocol of [3, 2]) {
    const { lua } = await startRedisApp(t, redis.url, { client: { protocol } });
    t.equal(
      await lua(`local sub = client:subscribe('one', 'two')
        client:publish('two', 'hello')
        client:publish('one', 'there')
        return sub:receive(), sub:receive(), sub:receive(0.01)`),
      '{channel="two", payload="hello", type="message"} {channel="one", payload="there", type="message"} nil "timeout"',
    );
    t.equal(
      await lua(`local sub = client:psubscribe('n.*')
        client:publish('n.a', 'x')
        return sub:receive()`),
      '{channel="n.a", pattern="n.*", payload="x", type="message"}',
    );
    t.equal(
      await lua(`local sub = client:subscribe('many')
        moonring.spawn(function() for i = 1, 5000 do client:publish('many', i) end end)
        local sum = 0
        for message in sub:messages() do
          sum = sum + message.payload
          if message.payload == '5000' then break end
        end
        sub:close()
        return sum, sub:receive()`),
      `${(5000 * 5001) / 2} nil "closed"`,
      'more than may wait arrive in order',
    );
    await until(
      'no subscription is left',
      async () => (await lua("return client:pubsub('NUMPAT')")) === '0',
    );
    await until(
      'no channel is left',
      async () => (await lua("return #client:pubsub('CHANNELS')")) === '0',
    );
  }
});

t.test('a detached subscription ends when other code takes over', async (t) => {
  const redis = await startRedis(t);
  const { lua, server } = await startRedisApp(t, redis.url);
  t.equal(
    await lua(`moonring.spawn({ detached = true }, function()
        for message in client:subscribe('news'):messages() do client:incr('seen') end
        client:set('ended', 'yes')
      end)
      repeat moonring.sleep(0.005) until client:publish('news', 'x') == 1
      repeat moonring.sleep(0.005) until client:get('seen') == '1'
      return 'seen'`),
    '"seen"',
  );
  server.signal('SIGHUP');
  await server.logLine('the reload', (line) => line.msg === 'reloaded');
  t.equal(
    await lua(
      "repeat moonring.sleep(0.005) until client:get('ended') return client:pubsub('CHANNELS')",
    ),
    '{}',
  );
  await until('the connections of the old state are closed', async () => {
    const text = await lua("return select(2, client:client('LIST'):gsub('id=', ''))");
    return text === '1';
  });
});

t.test('login, database and TLS', async (t) => {
  const redis = await startRedis(t, '--requirepass', 'top%secret');
  const { cert, options } = makeCertificate(t);
  const relay = await startRelay(t, redis.path, options);
  const tls = { verify: true, ca: cert };
  const plain = await startRelay(t, redis.path);
  const login = `127.0.0.1:${plain.port}`;
  for (const protocol of [2, 3]) {
    const right = await startRedisApp(t, `redis://:top%25secret@${login}/4`, {
      client: { protocol, name: 'shop' },
    });
    t.equal(await right.lua("client:set('where', 4) return client:get('where')"), '"4"');
    t.equal(await right.lua("return client:client('GETNAME')"), '"shop"');
    t.match(await right.lua("return client:client('INFO')"), / db=4 /);
    const wrong = await startRedisApp(t, `redis://:wrong@${login}`, { client: { protocol } });
    t.match(
      await wrong.lua("return client:get('k')"),
      /^nil WRONGPASS: redis at 127\.0\.0\.1:\d+: WRONGPASS/,
    );
  }
  const none = await startRedisApp(t, `redis://${login}`);
  t.match(await none.lua("return client:get('k')"), /^nil NOAUTH: /);
  const secret = await startRedisApp(t, `rediss://default:top%25secret@localhost:${relay.port}/4`, {
    client: { tls },
  });
  t.equal(await secret.lua("return client:get('where')"), '"4"');
  const unverified = await startRedisApp(t, `rediss://:x@localhost:${relay.port}`);
  t.match(
    await unverified.lua("return client:get('k')"),
    /^nil unavailable: .*certificate: self.signed certificate/,
  );
});

t.test('mistakes in options are named', async (t) => {
  const { lua } = await startRedisApp(t, 'redis://127.0.0.1:1');
  const refusal = (call: string) => lua(`return select(2, pcall(function() return ${call} end))`);
  t.match(await refusal("redis.connect('http://a')"), /code:1: .*begins with redis:/);
  t.match(await refusal("redis.connect('redis://a/b')"), /number of a database, not ."\/b/);
  t.match(await refusal("redis.connect('redis://a?x=1')"), /takes \?db=<number>/);
  t.match(await refusal("redis.connect('redis://a:99999')"), /port is a number from 1 to 65535/);
  t.match(await refusal('redis.connect(7)'), /takes a URL or a table of options, not a number/);
  t.match(await refusal('redis.connect { hots = 1 }'), /did you mean ."host/);
  t.match(await refusal('redis.connect { pool = { size = 1 } }'), /has no member ."size/);
  t.match(
    await refusal("redis.connect { path = 'a', host = 'b' }"),
    /either host and port or path/,
  );
  t.match(await refusal("redis.connect { user = 'a' }"), /a user needs a password/);
  t.match(await refusal('redis.connect { timeout = 0 }'), /timeout is seconds, more than 0, not 0/);
  t.match(await refusal('redis.script()'), /takes the text of a script/);
  t.equal(
    await lua("return tostring(redis.connect('redis://u:p@[::1]:7/2'))"),
    '"redis client of [::1]:7"',
  );
});
