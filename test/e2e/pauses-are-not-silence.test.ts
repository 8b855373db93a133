import t from 'tap';
import { codeOf, statusOf } from './admin-client.js';
import { isRunning } from './process-table.js';
import { startServer } from './server.js';
import { until } from './until.js';

/** A busy machine does not let a process run for a second or two. */
const GRACE_MS = 5000;

/** Like docker pause, a frozen cgroup, or Ctrl-Z and fg. */
t.test('reactors that were paused together with the master are not replaced', async (t) => {
  const args = ['--liveness-grace', `${GRACE_MS}ms`];
  const server = await startServer(t, { processes: 2, args });
  const reactors = server.reactorPids();
  const all = [server.pid, ...reactors];
  t.teardown(() => {
    for (const pid of all) if (isRunning(pid)) process.kill(pid, 'SIGCONT');
  });
  for (const pid of all) process.kill(pid, 'SIGSTOP');
  const stoppedMs = performance.now();
  await until('the grace is over', () => performance.now() - stoppedMs > 1.2 * GRACE_MS);

  // The master continues first: to it the others have been silent for longer than the grace.
  process.kill(server.pid, 'SIGCONT');
  t.equal(await codeOf(server, '/livez'), 200);
  for (const pid of reactors) process.kill(pid, 'SIGCONT');
  await until('heartbeats are new', async () => {
    const { reactors: each } = await statusOf(server);
    return each.every(({ heartbeatAgeMs }) => (heartbeatAgeMs ?? GRACE_MS) < GRACE_MS / 2);
  });
  const awakeMs = performance.now();
  await until('the grace is over again', () => performance.now() - awakeMs > GRACE_MS);
  t.strictSame(server.reactorPids(), reactors, 'the same processes');
  t.notOk(server.logs.some(({ msg }) => msg.startsWith('heartbeat lost')));

  // A reactor that is stopped alone is still noticed.
  for (const pid of reactors.slice(0, 1)) process.kill(pid, 'SIGSTOP');
  await server.logLine('the lost heartbeat', ({ msg }) => msg.startsWith('heartbeat lost'));
});
