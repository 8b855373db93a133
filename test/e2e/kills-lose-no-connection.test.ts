import t from 'tap';
import { metricsOf, statusOf } from './admin-client.js';
import { startConnectionLoad } from './connection-per-request.js';
import { isRunning } from './process-table.js';
import { startServer } from './server.js';
import { until } from './until.js';

const KILLS = 8;
const CLIENTS = 8;
/** A pipeline that died with the victim, and connections it had accepted but not read. */
const BROKEN_A_KILL = 2 * CLIENTS;

for (const accept of ['reuseport', 'boss']) {
  t.test(`${KILLS} times kill -9 under load, accept ${accept}`, async (t) => {
    const server = await startServer(t, {
      app: 'pid.lua',
      processes: 2,
      args: ['--accept', accept],
    });
    const load = startConnectionLoad(server.host, server.port, CLIENTS);
    let before = await metricsOf(server);
    const fallen: string[] = [];
    for (let i = 0; i < KILLS; i++) {
      const victim = await until('a victim', () => server.reactorPids()[i % 2]);
      const served = load.counts.answered;
      await until('requests are served', () => load.counts.answered > served + 50);
      process.kill(victim, 'SIGKILL');
      await until('the victim has ended', () => !isRunning(victim));
      await until('a replacement is ready', async () => {
        const { reactors } = await statusOf(server);
        return reactors.every((each) => each.state === 'ready' && each.pid !== victim);
      });
      const after = await metricsOf(server);
      for (const [name, value] of before) {
        // The CPU time of a process is lost with it.
        const isCounter = /^(?!process_).*_(total|count|sum|bucket)(\{|$)/.test(name);
        if (isCounter && (after.get(name) ?? -1) < value) fallen.push(name);
      }
      before = after;
    }
    await load.stop();

    t.comment(load.counts);
    t.equal(load.counts.refused, 0, 'no connection was refused');
    t.ok(load.counts.broken <= KILLS * BROKEN_A_KILL, 'only what the victims held broke');
    t.strictSame(fallen, [], 'no counter went down');
    t.equal(before.get('moonring_reactor_restarts_total{reason="signal"}'), KILLS);
    const crash = server.logs.find((line) => line.msg === 'reactor crashed');
    t.match(crash, { signal: 'SIGKILL', reason: 'signal' });
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}
