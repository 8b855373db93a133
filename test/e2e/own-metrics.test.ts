import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { metricsOf } from './admin-client.js';
import { connectRaw, type RawClient, requestText } from './raw-client.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

/*
 * moonring.metrics in /metrics: summed over processes and threads, kept across reloads and process
 * deaths, and safe whatever clients send.
 */

const appOf = (version: number) => `
local ffi = require 'ffi'
ffi.cdef 'int getpid(void);'
local metrics = moonring.metrics
local orders = metrics.counter('shop_orders_total', 'Orders taken.', { labels = { 'kind' }, max_series = 20 })
local jobs = metrics.gauge('shop_jobs', 'Jobs that run.')
local seconds = metrics.histogram('shop_seconds', 'Seconds.', { buckets = { 0.5, 1 } })
local loads = metrics.counter('shop_loads_total', 'States that were loaded.')
loads:inc()
function handle(req, res)
  local what, text = req.path:sub(2), moonring.percent.decode(req.query)
  if what == 'order' then orders:inc(1, text) end
  if what == 'jobs' then jobs:set(tonumber(text)) end
  if what == 'seconds' then seconds:observe(tonumber(text)) end
  if what == 'clash' then metrics.gauge('shop_orders', 'Other.', { labels = { text } }) end
  res:header('Version', '${version}'):body(tostring(ffi.C.getpid())):send()
end
`;

async function reload(server: Server, generation: number): Promise<void> {
  server.signal('SIGHUP');
  await server.logLine(
    `generation ${generation}`,
    (each) => each.msg === 'reloaded' && each['generation'] === generation,
  );
}

/** A connection to each process. */
async function connectAll(t: Parameters<typeof connectRaw>[0], server: Server) {
  const clients = new Map<number, RawClient>();
  await until('a connection to each reactor', async () => {
    const client = await connectRaw(t, server);
    const pid = Number((await client.request(requestText('/'))).body);
    if (!clients.has(pid)) clients.set(pid, client);
    return clients.size === server.reactorPids().length;
  });
  return clients;
}

for (const dispatch of ['inline', 'worker']) {
  t.test(`counted in two processes, over a reload and a death, ${dispatch}`, async (t) => {
    const app = join(t.testdir({ 'app.lua': appOf(1) }), 'app.lua');
    const args = ['--dispatch', dispatch, '--threads', '2', '--accept', 'boss'];
    const server = await startServer(t, { app, processes: 2, args });
    const clients = [...(await connectAll(t, server))];
    const [[victim, first], [, second]] = clients as [[number, RawClient], [number, RawClient]];
    const orderAll = async () => {
      for (const client of [first, second]) {
        for (let i = 0; i < 10; i++)
          await client.request(requestText(`/order?${i % 2 ? 'a' : 'b'}`));
      }
    };
    await orderAll();
    await first.request(requestText('/jobs?3'));
    await second.request(requestText('/jobs?4'));
    await first.request(requestText('/seconds?0.25'));
    await second.request(requestText('/seconds?0.75'));
    await second.request(requestText('/seconds?7'));
    let found = await metricsOf(server);
    t.equal(found.get('shop_orders_total{kind="a"}'), 10);
    t.equal(found.get('shop_orders_total{kind="b"}'), 10);
    t.equal(found.get('shop_jobs'), 7, 'the sum of the processes');
    t.equal(found.get('shop_seconds_bucket{le="0.5"}'), 1);
    t.equal(found.get('shop_seconds_bucket{le="1"}'), 2);
    t.equal(found.get('shop_seconds_bucket{le="+Inf"}'), 3);
    t.equal(found.get('shop_seconds_sum'), 8);
    t.equal(found.get('shop_seconds_count'), 3);
    const text = await (await fetch(`${server.admin}/metrics`)).text();
    t.match(text, '# HELP shop_orders_total Orders taken.\n# TYPE shop_orders_total counter\n');
    t.match(text, '# HELP shop_seconds Seconds.\n# TYPE shop_seconds histogram\n');

    writeFileSync(app, appOf(2));
    await reload(server, 2);
    await orderAll();
    found = await metricsOf(server);
    t.equal(found.get('shop_orders_total{kind="a"}'), 20, 'a reload begins nothing anew');
    t.equal(found.get('shop_jobs'), 7);

    process.kill(victim, 'SIGKILL');
    await until('the gauge of the dead process is gone', async () => {
      found = await metricsOf(server);
      return found.get('shop_jobs') === 4;
    });
    t.equal(found.get('shop_orders_total{kind="a"}'), 20, 'what it has counted stays');
    await until('its successor counts', async () => {
      const client = await connectRaw(t, server);
      const pid = Number((await client.request(requestText('/order?a'))).body);
      return pid !== victim && server.reactorPids().length === 2;
    });
    const grown = (await metricsOf(server)).get('shop_orders_total{kind="a"}') ?? 0;
    t.ok(grown > 20, 'and it goes on');
  });
}

t.test('labels invented by clients neither break the format nor exhaust memory', async (t) => {
  const app = join(t.testdir({ 'app.lua': appOf(1) }), 'app.lua');
  const server = await startServer(t, { app, args: ['--dispatch', 'inline', '--threads', '0'] });
  const client = await connectRaw(t, server);
  const hostile = [
    '%22%0A%5C',
    '%00',
    '%FF%FE',
    '%C3%A4',
    '',
    '%22%7D%201%0Aevil%201',
    'x'.repeat(500),
  ];
  for (const query of hostile) {
    t.equal((await client.request(requestText(`/order?${query}`))).status, 200, query);
  }
  for (let i = 0; i < 100; i++) await client.request(requestText(`/order?kind${i}`));
  const text = await (await fetch(`${server.admin}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith('shop_orders_total'));
  t.equal(lines.length, 21, 'max_series, and _other');
  t.equal(new Set(lines).size, lines.length);
  for (const line of lines) t.match(line, /^shop_orders_total\{kind="(?:[^"\\]|\\[\\n"])*"\} \d+$/);
  t.notMatch(text, /^evil/m);
  const counts = lines.map((line) => Number(line.slice(line.lastIndexOf(' ') + 1)));
  t.equal(
    counts.reduce((sum, count) => sum + count, 0),
    hostile.length + 100,
    'nothing is lost',
  );
  t.match(lines.join('\n'), 'kind="_other"');
  await server.logLine('the limit is reported', ({ msg }) => msg.includes('max_series'));
});

t.test('a different shape under an existing name rejects the reload', async (t) => {
  const app = join(t.testdir({ 'app.lua': appOf(1) }), 'app.lua');
  const server = await startServer(t, { app, processes: 1 });
  writeFileSync(app, appOf(2).replace("labels = { 'kind' }", "labels = { 'colour' }"));
  server.signal('SIGHUP');
  const line = await server.logLine('it is rejected', ({ msg }) =>
    msg.startsWith('reload rejected'),
  );
  t.match(JSON.stringify(line), 'metrics.counter(shop_orders_total)');
  t.equal((await fetch(`${server.url}/order?a`)).headers.get('version'), '1', 'the old one serves');
});
