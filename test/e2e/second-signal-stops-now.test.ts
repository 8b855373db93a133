import t from 'tap';
import { isRunning } from './process-table.js';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { within } from './until.js';

t.test('a second signal does not wait for what is in flight', async (t) => {
  const server = await startServer(t, { processes: 2, args: ['--drain-timeout', '1h'] });
  const reactors = server.reactorPids();
  const idle = await connectRaw(t, server);
  t.equal((await idle.request(requestText('/'))).status, 200);
  const stalled = await connectRaw(t, server);
  const headers = { 'Content-Length': '10' };
  // One write, so the answer to the first request says that the unfinished one has arrived too.
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
