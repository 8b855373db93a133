import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Status } from '../../src/master/admin/status.js';
import { getOverSocket } from './admin-client.js';
import { connectRaw, type RawClient, requestText } from './raw-client.js';
import { runMaster, type Server, startServer } from './server.js';
import { socketDirectory } from './socket-directory.js';
import { until } from './until.js';

/** Each file reports its version; `late` is required by the first request for it. */
function writeApp(dir: string, version: string): void {
  mkdirSync(join(dir, 'lib'), { recursive: true });
  writeFileSync(join(dir, 'lib', 'now.lua'), `return '${version}'\n`);
  writeFileSync(join(dir, 'lib', 'late.lua'), `return 'late ${version}'\n`);
  writeFileSync(
    join(dir, 'handler.lua'),
    `local now = require 'lib.now'
function handle(req, res)
  local text = '${version} ' .. now
  if req.path == '/late' then text = require 'lib.late' end
  if req.path == '/worker' then
    if not req:in_worker() then return 'worker' end
    text = text .. ' ' .. require 'lib.late'
  end
  res:body(text):send()
end
`,
  );
}

const BROKEN = 'this is no Lua\n';

function breakApp(dir: string): void {
  for (const file of ['handler.lua', 'lib/now.lua', 'lib/late.lua']) {
    writeFileSync(join(dir, file), BROKEN);
  }
}

async function textAt(client: RawClient, path: string): Promise<string> {
  const { status, body } = await client.request(requestText(path));
  return `${status} ${body.toString()}`;
}

/** Kills every reactor in turn; the next one is up when this returns. */
async function killAll(server: Server): Promise<void> {
  for (const pid of server.reactorPids()) {
    process.kill(pid, 'SIGKILL');
    await until('another one has taken its place', () => {
      const now = server.reactorPids();
      return now.length === 2 && !now.includes(pid);
    });
  }
}

t.test('a broken file is served by no process until it is accepted', async (t) => {
  const dir = t.testdir();
  writeApp(dir, 'first');
  const server = await startServer(t, { app: dir, processes: 2 });
  breakApp(dir);
  server.signal('SIGHUP');
  await server.logLine('the rejection', (line) => line.msg.startsWith('reload rejected'));
  await killAll(server);
  const seen = new Set<string>();
  for (let i = 0; i < 40; i++) {
    // A separate connection for each, so that both reactors respond; workers start on first use.
    const client = await connectRaw(t, server);
    for (const path of ['/', '/worker', '/late']) seen.add(await textAt(client, path));
    client.socket.destroy();
  }
  t.strictSame([...seen].sort(), [
    '200 first first',
    '200 first first late first',
    '200 late first',
  ]);

  writeApp(dir, 'second');
  server.signal('SIGHUP');
  await server.logLine('the reload', (line) => line.msg === 'reloaded');
  breakApp(dir);
  await killAll(server);
  const client = await connectRaw(t, server);
  t.equal(await textAt(client, '/worker'), '200 second second late second');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('a scale-up loads the accepted files, even from a deleted directory', async (t) => {
  const dir = t.testdir();
  writeApp(dir, 'only');
  const admin = join(socketDirectory(t), 'admin.sock');
  const server = await startServer(t, { app: dir, processes: 1, args: ['--admin', admin] });
  rmSync(join(dir, 'lib'), { recursive: true });
  rmSync(join(dir, 'handler.lua'));
  t.match(await runMaster(['ctl', 'scale', '3', '--admin', admin]), { code: 0 });
  await until('three reactors are ready', async () => {
    const { text } = await getOverSocket(admin, '/status');
    const { reactors } = JSON.parse(text) as Status;
    return reactors.filter(({ state }) => state === 'ready').length === 3;
  });
  for (let i = 0; i < 20; i++) {
    const client = await connectRaw(t, server);
    t.equal(await textAt(client, '/late'), '200 late only');
    client.socket.destroy();
  }
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('the name of a directory may contain the special characters of package.path', async (t) => {
  const dir = join(t.testdir(), 'v1;a?b');
  writeApp(dir, 'odd');
  const server = await startServer(t, { app: dir, processes: 1 });
  const client = await connectRaw(t, server);
  t.equal(await textAt(client, '/'), '200 odd odd');
  t.equal(await textAt(client, '/late'), '200 late odd');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test(
  'more than 64 MiB of Lua files: those that the check has loaded are kept, with a warning',
  async (t) => {
    const dir = t.testdir();
    writeApp(dir, 'first');
    const padding = `--${'x'.repeat(1024 * 1024)}\n`;
    for (let i = 0; i < 65; i++) appendFileSync(join(dir, 'lib', 'huge.lua'), padding);
    const server = await startServer(t, { app: dir, processes: 1 });
    await server.logLine('the warning', (line) => /more than 64 MiB of Lua files/.test(line.msg));
    writeFileSync(join(dir, 'lib', 'now.lua'), BROKEN);
    writeFileSync(join(dir, 'lib', 'late.lua'), `return 'changed'`);
    const client = await connectRaw(t, server);
    t.equal(await textAt(client, '/worker'), '200 first first changed');
    t.strictSame(await server.stop(), { code: 0, signal: null });
  },
);
