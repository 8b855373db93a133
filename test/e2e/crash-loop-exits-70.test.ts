import t from 'tap';
import { isRunning } from './process-table.js';
import { startServer } from './server.js';
import { until } from './until.js';

t.test('reactors that keep crashing end the server', { timeout: 60_000 }, async (t) => {
  const server = await startServer(t, { processes: 2 });
  const [steady] = server.reactorPids();
  let ended = false;
  void server.exited.then(() => (ended = true));
  while (!ended) {
    const victim = await until('a reactor to kill', () => {
      if (ended) return -1;
      return server.reactorPids().find((pid) => pid !== steady);
    });
    if (victim > 0) process.kill(victim, 'SIGKILL');
    await until('it has ended', () => ended || !isRunning(victim));
  }
  t.strictSame(await server.exited, { code: 70, signal: null });
  const last = server.logs.find((line) => line.level === 60);
  t.match(last?.msg, /^reactor \d (crashed|did not start) \d+ times .*; the last time: was killed/);
});
