import t, { type Test } from 'tap';
import { changingConfig } from './changing-config.js';
import { startLoad } from './keep-alive-load.js';
import { connectRaw, requestText } from './raw-client.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

const RELOADS = 20;
const BUSY = 224;
const PIPELINING = 16;
const IDLE = 16;
/** Gives the reactors time to start on a small machine. */
const PAUSE_MS = 20;

async function generationOf(server: Server): Promise<number> {
  const answer = await fetch(`${server.admin}/status`);
  const status: unknown = await answer.json();
  const isStatus = typeof status === 'object' && status !== null;
  return isStatus && 'generation' in status ? Number(status.generation) : -1;
}

async function reload(server: Server, generation: number): Promise<void> {
  server.signal('SIGHUP');
  const line = await server.logLine(
    `generation ${generation}`,
    (each) =>
      (each.msg === 'reloaded' && each['generation'] === generation) ||
      each.msg.startsWith('reload rejected'),
  );
  if (line.msg !== 'reloaded') throw new Error(`reload rejected: ${JSON.stringify(line)}`);
  if (line['replaced'] !== 'processes') throw new Error('no process was replaced');
}

export function testReloads(accept: 'reuseport' | 'boss'): void {
  t.test(`${RELOADS} replacements under load, accept ${accept}`, async (t) => {
    const config = changingConfig(t.testdir());
    const server = await startServer(t, {
      app: 'pid.lua',
      processes: 2,
      args: ['--accept', accept, ...config.args],
    });
    const before = server.reactorPids();
    const idle = await openIdle(t, server);
    const { host, port } = server;
    const busy = await startLoad({ host, port, connections: BUSY, pauseMs: PAUSE_MS });
    const pipelining = await startLoad({
      host,
      port,
      connections: PIPELINING,
      pipelined: 8,
      pauseMs: 1,
    });

    for (let i = 1; i <= RELOADS; i++) {
      config.change();
      await reload(server, i + 1);
      await until('the new reactors serve', () => {
        const now = server.reactorPids();
        return now.every((pid) => busy.bodies.has(String(pid)));
      });
    }
    await Promise.all([busy.stop(), pipelining.stop()]);

    for (const { counts } of [busy, pipelining]) {
      t.match(counts, { failed: 0, lost: 0, closing: 0, errors: [] }, 'nothing failed');
      t.comment(`${counts.answered} answers`);
    }
    for (const client of idle) {
      const answer = await client.request(requestText('/'));
      t.equal(answer.status, 200, 'an idle connection lives');
      t.notOk(before.includes(Number(answer.body.toString())), 'and is served by a new reactor');
    }
    t.equal(await generationOf(server), RELOADS + 1);
    t.equal(busy.bodies.size, 2 * (RELOADS + 1), 'every generation has served');
    t.strictSame(
      server.logs.filter((line) => line.level >= 50),
      [],
      'nothing was logged as an error',
    );
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}

async function openIdle(t: Test, server: Server) {
  const idle = [];
  for (let i = 0; i < IDLE; i++) {
    const client = await connectRaw(t, server);
    await client.request(requestText('/'));
    idle.push(client);
  }
  return idle;
}
