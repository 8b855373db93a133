import t from 'tap';
import { isRunning } from './process-table.js';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

t.test('kill -9 of the master leaves no reactor behind', async (t) => {
  const server = await startServer(t, { processes: 2 });
  const reactors = server.reactorPids();
  t.equal(reactors.length, 2);
  const idle = await connectRaw(t, server);
  t.equal((await idle.request(requestText('/'))).status, 200);

  server.signal('SIGKILL');
  t.strictSame(await server.exited, { code: null, signal: 'SIGKILL' });
  await until('the reactors have ended', () => !reactors.some(isRunning));
  await idle.ended();
});
