import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { codeOf, statusOf } from './admin-client.js';
import { startLoad } from './keep-alive-load.js';
import { runMaster, startServer } from './server.js';
import { socketDirectory } from './socket-directory.js';
import { until } from './until.js';

t.test('status, scale, reload and drain over the admin socket', async (t) => {
  const path = join(socketDirectory(t), 'admin.sock');
  const args = ['--accept', 'boss', '--admin', `127.0.0.1:0,${path}`];
  const server = await startServer(t, { app: 'pid.lua', processes: 1, args });
  t.equal(statSync(path).mode & 0o777, 0o600);
  const ctl = (...words: string[]) => runMaster(['ctl', ...words, '--admin', path]);

  const status = await ctl('status');
  t.match(JSON.parse(status.stdout), { phase: 'serving', reactors: [{ state: 'ready' }] });

  const { host, port } = server;
  const load = await startLoad({ host, port, connections: 32, pauseMs: 5 });
  for (const processes of [3, 1, 2]) {
    t.equal((await ctl('scale', String(processes))).code, 0);
    await until(`${processes} reactors`, async () => {
      const { reactors } = await statusOf(server);
      return reactors.length === processes && reactors.every((each) => each.state === 'ready');
    });
  }
  t.match(await ctl('reload'), { code: 0, stdout: /"generation":2,"replaced":"lua states"/ });
  await load.stop();
  t.match(load.counts, { failed: 0, lost: 0, closing: 0 }, 'no connection noticed');

  t.match(await ctl('scale', '5000'), { code: 1, stderr: /at most/ });
  t.match(await ctl('dance'), { code: 2, stderr: /status, reload, drain, scale/ });
  const refused = await fetch(`${server.admin}/drain`, { method: 'POST' });
  t.equal(refused.status, 403, 'TCP takes no orders');
  t.equal(await codeOf(server, '/readyz'), 200);
  t.equal((await ctl('drain')).code, 0);
  t.strictSame(await server.exited, { code: 0, signal: null });
  t.notOk(existsSync(path), 'the file is gone');
  t.match(await ctl('status'), { code: 1, stderr: /no response from a server/ });
});

t.test('an admin port that is in use is an error if it was set explicitly', async (t) => {
  const server = await startServer(t);
  const taken = server.admin.replace('http://', '');
  const second = await runMaster(['--port', '0', '--admin', taken]);
  t.equal(second.code, 69);
  t.match(second.stderr, /admin listener: .* is in use .* --admin/);
});

t.test('beside a server on the default admin port the next free port is used', async (t) => {
  const first = await startServer(t, { defaultAdmin: true });
  const second = await startServer(t, { defaultAdmin: true });
  t.not(first.admin, second.admin);
  const line = await second.logLine('the other port', ({ msg }) => msg.includes('next free port'));
  t.match(line, { level: 40, address: second.admin.replace('http://', '') });
  t.equal(await codeOf(second, '/readyz'), 200);
});

t.test('ctl gives up waiting after its timeout', async (t) => {
  const path = join(socketDirectory(t), 'silent.sock');
  const silent = createServer(() => {});
  t.teardown(() => silent.close());
  await once(silent.listen(path), 'listening');
  const waited = await runMaster(['ctl', 'reload', '--admin', path, '--timeout', '100ms']);
  t.match(waited, { code: 1, stderr: /none within 100ms; the command may still be executed/ });
});
