import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { childrenOf, isRunning } from './process-table.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

/** Starts loading a handler that never finishes; returns the process that loads it. */
async function checkForEver(t: Test): Promise<{ server: Server; checker: number }> {
  const dir = t.testdir({ 'app.lua': 'function handle(_, res) res:send() end' });
  const app = join(dir, 'app.lua');
  const server = await startServer(t, { app });
  const before = childrenOf(server.pid);
  writeFileSync(app, `io.open('${dir}/loading', 'w'):close() while true do end`);
  server.signal('SIGHUP');
  await until('the handler loads', () => existsSync(join(dir, 'loading')));
  const checker = childrenOf(server.pid).find((pid) => !before.includes(pid));
  t.ok(checker, 'it is checked in a separate process');
  return { server, checker: checker ?? 0 };
}

t.test(
  'a drain does not leave behind a process whose handler never finishes loading',
  async (t) => {
    const { server, checker } = await checkForEver(t);
    t.strictSame(await server.stop(), { code: 0, signal: null });
    await until('the checker is gone', () => !isRunning(checker));
  },
);

t.test('nor does the death of the master', async (t) => {
  const { server, checker } = await checkForEver(t);
  server.signal('SIGKILL');
  await server.exited;
  t.ok(isRunning(checker), 'no master was there to end it');
  await until('it has ended itself', () => !isRunning(checker));
});

t.test('a load that never finishes in a reactor does not prevent later reloads', async (t) => {
  const dir = t.testdir({ 'app.lua': "function handle(_, res) res:body('1'):send() end" });
  const app = join(dir, 'app.lua');
  const server = await startServer(t, { app, processes: 2 });
  const before = server.reactorPids();
  // The checker loads it; then one reactor does not finish, and the other one fails the reload.
  writeFileSync(
    app,
    `local ffi = require 'ffi'
ffi.cdef 'int mkdir(const char *path, unsigned mode); int access(const char *path, int mode);'
local function first(name) return ffi.C.mkdir('${dir}/' .. name, 448) == 0 end
if not first 'checked' then
  if first 'endless' then while true do end end
  error 'not this one'
end
function handle(_, res) res:body('2'):send() end`,
  );
  server.signal('SIGHUP');
  const rejected = await server.logLine('the rejection', ({ msg }) => /^reload rejected/.test(msg));
  t.match(rejected['reason'], /not this one/);
  t.equal(await (await fetch(server.url)).text(), '1');
  writeFileSync(app, "function handle(_, res) res:body('3'):send() end");
  server.signal('SIGHUP');
  const done = await server.logLine('the reload', ({ msg }) => msg === 'reloaded');
  t.equal(done['replaced'], 'processes');
  const why = server.logs.find(({ msg }) => /replacing processes$/.test(msg));
  t.equal(why?.['reason'], 'an earlier load has not finished yet');
  await until('the old ones are gone', () => !before.some(isRunning));
  t.equal(await (await fetch(server.url)).text(), '3');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
