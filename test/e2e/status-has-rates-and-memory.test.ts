import t from 'tap';
import { metricsOf, statusOf } from './admin-client.js';
import { startLoad } from './keep-alive-load.js';
import { startServer } from './server.js';
import { until } from './until.js';

t.test('rates of the last second, per reactor and in total', async (t) => {
  const server = await startServer(t);
  const { host, port } = server;
  const load = await startLoad({ host, port, connections: 4, pauseMs: 2 });
  const rates = await until('a busy second', async () => {
    const status = await statusOf(server);
    return status.rates !== null && status.rates.requests > 0 && status;
  });
  t.strictSame(rates.reactors[0]?.rates, rates.rates, 'one reactor is all');
  t.ok((rates.rates?.sentBytes ?? 0) > (rates.rates?.requests ?? 0), 'an answer has many bytes');
  await load.stop();
  await until('a quiet second', async () => (await statusOf(server)).rates?.requests === 0);
});

t.test('bytes of the allocator, if it counts them', async (t) => {
  const server = await startServer(t);
  const find = async () => (await statusOf(server)).reactors[0];
  const { allocator } = (await find()) ?? {};
  if (!allocator?.startsWith('jemalloc')) {
    t.equal((await find())?.allocatorBytes, null);
    return;
  }
  const bytes = await until('a heartbeat', async () => (await find())?.allocatorBytes ?? undefined);
  t.ok(bytes.allocated > 100_000 && bytes.resident >= bytes.allocated, JSON.stringify(bytes));
  const metrics = await metricsOf(server);
  t.ok((metrics.get('moonring_allocator_bytes{reactor="0",kind="resident"}') ?? 0) > 100_000);
});

t.test('the system allocator counts nothing', async (t) => {
  const server = await startServer(t, { args: ['--allocator', 'system'] });
  t.equal((await statusOf(server)).reactors[0]?.allocatorBytes, null);
});

t.test('the histogram of requests has the method and the status class', async (t) => {
  const server = await startServer(t);
  await fetch(`${server.url}/`);
  await fetch(`${server.url}/nowhere`);
  await fetch(`${server.url}/echo`, { method: 'POST', body: 'x' });
  const count = (method: string, status: string) =>
    `http_server_request_duration_seconds_count{http_request_method="${method}",http_response_status_code="${status}"}`;
  const expected = [count('GET', '2xx'), count('GET', '4xx'), count('POST', '2xx')];
  const metrics = await until('all are counted', async () => {
    const all = await metricsOf(server);
    return expected.every((name) => all.get(name) === 1) && all;
  });
  for (const process of ['master', 'reactor-0']) {
    t.ok((metrics.get(`process_resident_memory_bytes{process="${process}"}`) ?? 0) > 2 ** 20);
  }
});
