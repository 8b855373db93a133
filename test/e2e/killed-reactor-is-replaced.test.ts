import t from 'tap';
import { startConnectionLoad } from './connection-per-request.js';
import { isRunning } from './process-table.js';
import { startServer } from './server.js';
import { until } from './until.js';

const CLIENTS = 8;

t.test('kill -9 of a reactor under load', async (t) => {
  const server = await startServer(t, { app: 'pid.lua', processes: 2 });
  const before = server.reactorPids();
  t.equal(before.length, 2, 'two reactors run');
  const { counts, bodies, stop } = startConnectionLoad(server.host, server.port, CLIENTS);
  const serves = (pid: number) => (bodies.get(String(pid)) ?? 0) > 50;

  await until('both reactors serve', () => before.every(serves));
  const [victim = 0, survivor = 0] = before;
  process.kill(victim, 'SIGKILL');
  await until('the victim has ended', () => !isRunning(victim));
  const isOther = (pid: number) => pid !== victim && pid !== survivor;
  const replacement = await until('a replacement serves', () =>
    [...bodies.keys()].map(Number).find((pid) => isOther(pid) && serves(pid)),
  );
  await stop();

  t.comment(counts);
  t.equal(counts.refused, 0, 'no connection was refused');
  t.ok(counts.broken <= CLIENTS, 'only what the victim had accepted broke');
  t.strictSame(
    server.reactorPids().sort((a, b) => a - b),
    [survivor, replacement].sort((a, b) => a - b),
    'the survivor was left alone',
  );
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
