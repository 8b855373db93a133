import { join } from 'node:path';
import t from 'tap';
import type { Status } from '../../src/master/admin/status.js';
import { getOverSocket } from './admin-client.js';
import { isRunning } from './process-table.js';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { socketDirectory } from './socket-directory.js';
import { until, within } from './until.js';

t.test('a second signal does not wait for requests in flight', async (t) => {
  const server = await startServer(t, { processes: 2, args: ['--drain-timeout', '1h'] });
  const reactors = server.reactorPids();
  const idle = await connectRaw(t, server);
  t.equal((await idle.request(requestText('/'))).status, 200);
  const stalled = await connectRaw(t, server);
  const headers = { 'Content-Length': '10' };
  // One write, so that the response to the first request means that all has arrived.
  await stalled.send(`${requestText('/')}${requestText('/echo', { method: 'POST', headers })}half`);
  t.equal((await stalled.next()).status, 200);

  server.signal('SIGTERM');
  await idle.ended();
  t.ok(isRunning(server.pid), 'the first signal waits for the unfinished request');

  server.signal('SIGTERM');
  const exit = await within('the exit', server.exited);
  t.strictSame(exit, { code: 1, signal: null }, 'not a clean end');
  t.notOk(reactors.some(isRunning), 'no reactor is left');
});

t.test('a first signal after a drain command continues the drain', async (t) => {
  const admin = join(socketDirectory(t), 'admin.sock');
  const server = await startServer(t, { app: 'dispatch.lua', args: ['--admin', admin] });
  const response = fetch(`${server.url}/wait-long`);
  await until('the request is being handled', async () => {
    const { text } = await getOverSocket(admin, '/status');
    const status: Status = JSON.parse(text);
    return status.reactors.some(({ serving }) => serving.length > 0);
  });
  for (let i = 0; i < 2; i++) {
    t.equal((await getOverSocket(admin, '/drain', 'POST')).status, 202);
  }
  server.signal('SIGTERM');
  t.equal(await (await response).text(), 'waited');
  t.strictSame(await server.exited, { code: 0, signal: null });
});
