import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

/** If there is a file `slow`, loading takes until there is a file `go`. */
const app = (dir: string) => `
local slow = io.open('${dir}/slow')
if slow then
  slow:close()
  io.open('${dir}/loading', 'w'):close()
  local go
  repeat go = io.open('${dir}/go') until go
  go:close()
end
function handle(_, res) res:body('answered'):send() end
`;

t.test('TERM while a replacement loads: requests queued in its socket are served', async (t) => {
  const dir = t.testdir();
  const path = join(dir, 'app.lua');
  const touch = (name: string) => writeFileSync(join(dir, name), '');
  writeFileSync(path, app(dir));
  const server = await startServer(t, { app: path, args: ['--threads', '0'] });
  const [reactor = 0] = server.reactorPids();
  const earlier = await connectRaw(t, server);
  t.match(await earlier.request(requestText('/')), { status: 200 });
  touch('slow');
  process.kill(reactor, 'SIGKILL');
  await until('the replacement loads', () => existsSync(join(dir, 'loading')));

  const client = await connectRaw(t, server);
  await client.send(requestText('/'));
  if (process.platform === 'linux') await earlier.send(requestText('/'));
  server.signal('SIGTERM');
  await server.logLine('the drain', (line) => line.msg === 'draining');
  touch('go');
  const answer = await client.next();
  t.match(answer, { status: 200, body: Buffer.from('answered') });
  if (process.platform === 'linux') {
    t.match(await earlier.next(), { status: 200 }, 'and the connections of the dead one');
  }
  t.strictSame(await server.exited, { code: 0, signal: null });
});

t.test('Ctrl-C while a replacement is being started: it starts, and serves', async (t) => {
  const server = await startServer(t, { app: 'pid.lua', leadsGroup: true });
  const [reactor = 0] = server.reactorPids();
  const client = await connectRaw(t, server);
  t.match(await client.request(requestText('/')), { status: 200 });
  process.kill(reactor, 'SIGKILL');
  await until('a replacement', () => server.reactorPids().some((pid) => pid !== reactor));
  if (process.platform === 'linux') await client.send(requestText('/'));
  process.kill(-server.pid, 'SIGINT');
  if (process.platform === 'linux') t.match(await client.next(), { status: 200 });
  t.strictSame(await server.exited, { code: 0, signal: null });
});
