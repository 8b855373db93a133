import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { getOverSocket } from './admin-client.js';
import { runMaster, startServer } from './server.js';
import { socketDirectory } from './socket-directory.js';

for (const accept of ['reuseport', 'boss']) {
  t.test(`with TCP, alone, mode, stale socket file, accept ${accept}`, async (t) => {
    const uds = join(socketDirectory(t), 's.sock');
    const args = ['--accept', accept, '--uds', uds, '--uds-mode', '0600'];
    // The socket file of a killed server.
    const bind = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
    await once(spawn(process.execPath, ['-e', bind, uds]), 'exit');
    t.ok(existsSync(uds), 'the file is stale');

    const both = await startServer(t, { processes: 2, args });
    t.equal((await getOverSocket(uds, '/')).status, 200);
    t.equal((await fetch(both.url)).status, 200);
    t.equal(statSync(uds).mode & 0o777, 0o600);
    const second = await runMaster(['--port', 'off', '--uds', uds, '--admin', 'off']);
    t.equal(second.code, 69);
    t.match(second.stderr, 'is in use by another program');
    t.equal((await getOverSocket(uds, '/')).status, 200, 'the first one still serves');
    t.strictSame(await both.stop(), { code: 0, signal: null });
    t.notOk(existsSync(uds), 'the file is gone');

    const alone = await startServer(t, { processes: 2, args: ['--port', 'off', ...args] });
    t.equal(alone.url, `unix:${uds}`);
    t.equal((await getOverSocket(uds, '/')).status, 200);
    t.strictSame(await alone.stop(), { code: 0, signal: null });
  });
}

t.test('a server that exits does not remove the sockets and files of others', async (t) => {
  const directory = socketDirectory(t);
  const uds = join(directory, 's.sock');
  const admin = join(directory, 'a.sock');
  const args = ['--port', 'off', '--uds', uds, '--admin', admin];
  const first = await startServer(t, { processes: 1, args });
  for (const path of [uds, admin]) rmSync(path);
  const second = await startServer(t, { processes: 1, args });
  t.strictSame(await first.stop(), { code: 0, signal: null });
  t.equal((await getOverSocket(uds, '/')).status, 200, 'the second one serves');
  t.equal((await getOverSocket(admin, '/readyz')).status, 200);

  for (const path of [uds, admin]) {
    rmSync(path);
    writeFileSync(path, 'precious');
  }
  t.strictSame(await second.stop(), { code: 0, signal: null });
  for (const path of [uds, admin]) t.equal(readFileSync(path, 'utf8'), 'precious');
});

t.test('a reload keeps the socket', async (t) => {
  const uds = join(socketDirectory(t), 's.sock');
  const server = await startServer(t, { processes: 2, args: ['--uds', uds] });
  server.signal('SIGHUP');
  await server.logLine('the reload', (line) => line.msg === 'reloaded');
  for (let i = 0; i < 8; i++) t.equal((await getOverSocket(uds, '/')).status, 200);
});

t.test('nothing to listen on', async (t) => {
  const result = await runMaster(['--port', 'off', '--admin', 'off']);
  t.equal(result.code, 2);
  t.match(result.stderr, 'nothing to listen on');
});
