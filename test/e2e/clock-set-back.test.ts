import t from 'tap';
import { statusOf } from './admin-client.js';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

/** Each reading of the wall clock is a minute earlier than the last. */
const BACKWARDS = '--import=data:text/javascript,Date.now=(t=>()=>(t-=60000))(Date.now())';
/** Longer than npm takes to repeat a signal. */
const LATER_MS = 400;

t.test('a wall clock that is set back disturbs neither uptime nor a second Ctrl-C', async (t) => {
  const server = await startServer(t, { env: { NODE_OPTIONS: BACKWARDS } });
  const { uptimeSeconds } = await statusOf(server);
  t.ok(uptimeSeconds >= 0 && uptimeSeconds < 60, `up for ${uptimeSeconds} s`);
  const client = await connectRaw(t, server);
  const half = requestText('/').slice(0, -2);
  await client.send(requestText('/') + half);
  await client.next();

  server.signal('SIGINT');
  await server.logLine('the drain', (line) => line.msg === 'draining');
  const begunMs = performance.now();
  await until('it is no echo any more', () => performance.now() - begunMs > LATER_MS);
  server.signal('SIGINT');
  await server.logLine('the stop', (line) => line.msg === 'stopping now');
  t.strictSame(await server.exited, { code: 1, signal: null });
});
