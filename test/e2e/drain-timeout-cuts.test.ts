import t from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';

t.test('what is not finished within drain-timeout is cut, and that is a failure', async (t) => {
  const server = await startServer(t, {
    app: 'pid-and-echo.lua',
    args: ['--drain-timeout', '200ms'],
  });
  const client = await connectRaw(t, server);
  const half = requestText('/echo', { method: 'POST', headers: { 'Content-Length': '10' } });
  // One write, so the response to the first request means that the rest has arrived too.
  await client.send(`${requestText('/')}${half}half`);
  t.equal((await client.next()).status, 200);
  t.strictSame(await server.stop(), { code: 1, signal: null });
  await client.ended();
  const line = await server.logLine('what was cut', ({ msg }) => / cut$/.test(msg));
  t.match(line, { level: 40, msg: 'the time to drain is over: 1 connection is cut' });
  const last = await server.logLine('why', ({ msg }) =>
    /before reactor 0 had finished its requests/.test(msg),
  );
  t.match(last, { level: 60, code: 'ERR_MOONRING_DRAIN' });
});
