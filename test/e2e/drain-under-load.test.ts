import t, { type Test } from 'tap';
import { codeOf } from './admin-client.js';
import { hasStalled, startLoad } from './keep-alive-load.js';
import { startServer } from './server.js';
import { until } from './until.js';

const CONNECTIONS = 24;
const LATE = 8;

/** Long enough for new connections even on a busy machine. */
const DELAY_S = 8;

async function drain(t: Test, accept: string) {
  const server = await startServer(t, {
    app: 'pid.lua',
    processes: 2,
    args: ['--accept', accept, '--drain-delay', `${DELAY_S}s`],
  });
  t.equal(await codeOf(server, '/readyz'), 200);
  const { host, port } = server;
  const load = await startLoad({
    host,
    port,
    connections: CONNECTIONS,
    mayClose: true,
    pauseMs: 5,
  });
  const signalledAt = performance.now();
  server.signal('SIGTERM');
  await until('readyz is 503', async () => (await codeOf(server, '/readyz')) === 503);
  t.equal(load.counts.closing, 0, 'before any response says Connection: close');
  t.equal(await codeOf(server, '/livez'), 200);

  const during = load.counts.answered;
  const late = await startLoad({ host, port, connections: LATE, mayClose: true });
  await until('requests are served during the delay', () => load.counts.answered > during + 100);
  await until('the drain has begun', () => load.counts.closing > 0);
  const delayMs = performance.now() - signalledAt;
  t.ok(delayMs > DELAY_S * 1000 - 50, `the drain began after ${delayMs.toFixed(0)} ms`);

  t.strictSame(await server.exited, { code: 0, signal: null });
  await Promise.all([load.stop(), late.stop()]);
  return { load, late };
}

for (const accept of ['reuseport', 'boss']) {
  t.test(`TERM under load with a drain delay, accept ${accept}`, async (t) => {
    let { load, late } = await drain(t, accept);
    while (hasStalled(load) || hasStalled(late)) ({ load, late } = await drain(t, accept));
    for (const { counts } of [load, late]) {
      t.match(counts, { failed: 0, lost: 0, errors: [] }, 'no request failed');
    }
    t.equal(load.counts.closing, CONNECTIONS, 'every busy connection was told to close');
    t.equal(late.counts.closing, LATE, 'new ones during the delay too');
  });
}
