import t, { type Test } from 'tap';
import { changingConfig } from './changing-config.js';
import { hasStalled, startLoad } from './keep-alive-load.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

/*
 * Between two requests a connection is idle, and the server may close it just as the next
 * request is on its way. Clients that are never idle do not show that.
 */

const CONNECTIONS = 64;
const THINKING_MS = [1, 50] as const;
const RELOADS = 10;

const start = ({ host, port }: Server) =>
  startLoad({ host, port, connections: CONNECTIONS, pauseMs: THINKING_MS, mayClose: true });

for (const accept of ['reuseport', 'boss']) {
  const args = ['--accept', accept, '--drain-delay', '500ms'];

  const drain = async (t: Test) => {
    const server = await startServer(t, { app: 'pid.lua', processes: 2, args });
    const load = await start(server);
    await until('all have asked again', () => load.counts.answered > 4 * CONNECTIONS);
    server.signal('SIGTERM');
    t.strictSame(await server.exited, { code: 0, signal: null });
    await load.stop();
    return load;
  };

  t.test(`TERM while clients pause, accept ${accept}`, async (t) => {
    let load = await drain(t);
    while (hasStalled(load)) load = await drain(t);
    t.match(load.counts, { failed: 0, lost: 0, errors: [] }, 'no request failed');
    t.equal(load.counts.closing, CONNECTIONS, 'each was told that its connection closes');
  });

  t.test(`${RELOADS} reloads while clients pause, accept ${accept}`, async (t) => {
    const config = changingConfig(t.testdir());
    const all = [...args, ...config.args];
    const server = await startServer(t, { app: 'pid.lua', processes: 2, args: all });
    const load = await start(server);
    for (let i = 2; i <= RELOADS + 1; i++) {
      config.change();
      server.signal('SIGHUP');
      await server.logLine(
        `generation ${i}`,
        (line) => line.msg === 'reloaded' && line['generation'] === i,
      );
    }
    await until('the last reactors serve', () =>
      server.reactorPids().every((pid) => load.bodies.has(String(pid))),
    );
    await load.stop();
    t.match(load.counts, { failed: 0, lost: 0, closing: 0, errors: [] }, 'no request failed');
    t.comment(`${load.counts.answered} answers`);
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}
