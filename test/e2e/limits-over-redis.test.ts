import t from 'tap';
import { startRedis } from './redis-server.js';
import { startServer } from './server.js';
import { until } from './until.js';

t.test('two nodes together admit what one limit in Redis allows', async (t) => {
  const redis = await startRedis(t);
  const options = {
    app: 'limit-redis.lua',
    processes: 2,
    args: ['--accept', 'boss'],
    env: { MOONRING_TEST_REDIS: redis.url },
  };
  const nodes = await Promise.all([startServer(t, options), startServer(t, options)]);
  const begunMs = performance.now();
  const statuses: number[] = [];
  const ask = async (i: number) => {
    const response = await fetch(`${nodes[i % 2]?.url}/?key`);
    await response.text();
    statuses.push(response.status);
    return response;
  };
  for (let i = 0; i < 20; i++) await ask(i);
  const admitted = statuses.filter((status) => status === 200).length;
  const most = 3 + ((performance.now() - begunMs) / 1000) * 5;
  t.ok(admitted >= 3 && admitted <= most, `${admitted} of at most ${most.toFixed(1)}`);
  t.equal(statuses.length - admitted, statuses.filter((status) => status === 429).length);
  let refused = await ask(0);
  while (refused.status === 200) refused = await ask(0);
  t.equal(refused.headers.get('retry-after'), '1');
  t.match(refused.headers.get('ratelimit') ?? '', /^"nodes";r=0;t=1$/);
  await until('the rate admits again', async () => (await ask(1)).status === 200);
  redis.kill('SIGKILL');
  await redis.ended();
  const closed = await ask(0);
  t.equal(closed.status, 503, 'it is not open without Redis');
});
