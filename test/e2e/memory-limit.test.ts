import t from 'tap';
import { readProcessUsage } from '../../src/master/admin/process-usage.js';
import { metricsOf, statusOf } from './admin-client.js';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

const LIMIT = 400 * 1024 ** 2;

t.test('a reactor near its memory limit is replaced, and no connection notices', async (t) => {
  const server = await startServer(t, {
    app: 'growing.lua',
    args: ['--dispatch', 'inline', '--threads', '0', '--memory-limit', `${LIMIT}`],
  });
  const [first = 0] = server.reactorPids();
  const clients = await Promise.all(Array.from({ length: 8 }, () => connectRaw(t, server)));
  const serves = async () => {
    for (const client of clients) {
      t.equal((await client.request(requestText('/'))).body.toString(), 'here');
    }
  };
  await serves();

  const resident = readProcessUsage('', first)?.residentBytes ?? 0;
  const growing = await connectRaw(t, server);
  const missing = Math.round(0.88 * LIMIT - resident);
  t.equal((await growing.request(requestText(`/grow?${missing}`))).status, 200);
  const near = await server.logLine('near', (line) =>
    /near its memory limit: replacing it/.test(line.msg ?? ''),
  );
  t.match(near, { level: 40, reactor: 0, reactorPid: first, limitBytes: LIMIT });
  await until('the old process has left', () => !server.reactorPids().includes(first));
  await serves();
  const [second = 0] = server.reactorPids();
  t.match((await statusOf(server)).restarts, { memory: 1, signal: 0, exit: 0 });

  await growing.send(requestText(`/leap?${LIMIT}`));
  t.equal((await growing.next()).status, 503, 'at the limit: only what it was in the middle of');
  const crash = await server.logLine('the crash', (line) => line.msg === 'reactor crashed');
  t.match(crash, { reason: 'memory', reactorPid: second });
  await serves();
  t.equal((await metricsOf(server)).get('moonring_memory_limit_bytes'), LIMIT);
  const { restarts } = await statusOf(server);
  t.match(restarts, { signal: 0, exit: 0 });
  // A third one if the leap was slow enough to be noticed near the limit first.
  t.ok(restarts.memory === 2 || restarts.memory === 3, `${restarts.memory} for memory`);
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
