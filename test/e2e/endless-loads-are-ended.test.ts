import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { childrenOf, isRunning } from './process-table.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

/** Takes a handler that loads for ever; the process that has it then. */
async function checkForEver(t: Test): Promise<{ server: Server; checker: number }> {
  const dir = t.testdir({ 'app.lua': 'function handle(_, res) res:send() end' });
  const app = join(dir, 'app.lua');
  const server = await startServer(t, { app });
  const before = childrenOf(server.pid);
  writeFileSync(app, `io.open('${dir}/loading', 'w'):close() while true do end`);
  server.signal('SIGHUP');
  await until('the handler loads', () => existsSync(join(dir, 'loading')));
  const checker = childrenOf(server.pid).find((pid) => !before.includes(pid));
  t.ok(checker, 'it is checked in a process of its own');
  return { server, checker: checker ?? 0 };
}

t.test('a handler that loads for ever is not left behind by a drain', async (t) => {
  const { server, checker } = await checkForEver(t);
  t.strictSame(await server.stop(), { code: 0, signal: null });
  await until('the checker is gone', () => !isRunning(checker));
});

t.test('nor for ever by the death of the master', async (t) => {
  const { server, checker } = await checkForEver(t);
  server.signal('SIGKILL');
  await server.exited;
  t.ok(isRunning(checker), 'nobody was there to end it');
  await until('it has ended itself', () => !isRunning(checker));
});
