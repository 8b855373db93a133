import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

t.test('requests not finished within drain-timeout are aborted, and the drain fails', async (t) => {
  const server = await startServer(t, {
    app: 'pid-and-echo.lua',
    args: ['--drain-timeout', '200ms'],
  });
  const client = await connectRaw(t, server);
  const half = requestText('/echo', { method: 'POST', headers: { 'Content-Length': '10' } });
  // One write, so that the response to the first request means that the rest has arrived too.
  await client.send(`${requestText('/')}${half}half`);
  t.equal((await client.next()).status, 200);
  t.strictSame(await server.stop(), { code: 1, signal: null });
  await client.ended();
  const line = await server.logLine('the closed connection', ({ msg }) => / is closed$/.test(msg));
  t.match(line, { level: 40, msg: 'the drain timeout has expired: 1 connection is closed' });
  const last = await server.logLine('why', ({ msg }) =>
    /before reactor 0 finished its requests/.test(msg),
  );
  t.match(last, { level: 60, code: 'ERR_MOONRING_DRAIN' });
});
