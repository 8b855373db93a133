import t from 'tap';
import { statusOf } from './admin-client.js';
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

t.test('the record of a crash counts the requests with waiting handlers', async (t) => {
  const server = await startServer(t, { app: 'waiting.lua' });
  const waiting = [1, 2, 3].map(() => fetch(`${server.url}/sleep?600`).catch(() => null));
  await until('the handlers wait', async () => {
    const [reactor] = (await statusOf(server)).reactors;
    return reactor?.connections.handling === 3;
  });
  const [victim = 0] = server.reactorPids();
  process.kill(victim, 'SIGKILL');
  const crash = await server.logLine('the crash', (line) => line.msg === 'reactor crashed');
  t.match(crash, { reactorPid: victim, waiting: 3 });
  await Promise.all(waiting);
  await server.logLine('the hand-over', ({ msg }) => msg.endsWith('were handed over'));
});

t.test('no hand-over is reported for a reactor without connections', async (t) => {
  const server = await startServer(t, { app: 'waiting.lua' });
  const [victim = 0] = server.reactorPids();
  process.kill(victim, 'SIGKILL');
  await server.logLine('its end', ({ msg }) => msg === 'reactor crashed');
  const next = await until('another one', () => server.reactorPids().find((pid) => pid !== victim));
  await until('it is ready', async () => (await statusOf(server)).ready);
  t.ok(isRunning(next));
  t.strictSame(await server.stop(), { code: 0, signal: null });
  t.notMatch(server.stdout(), 'were handed over');
});
