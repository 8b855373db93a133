import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { metricsOf } from './admin-client.js';
import { changingConfig } from './changing-config.js';
import { connectRaw, requestText } from './raw-client.js';
import { startServer } from './server.js';
import { until } from './until.js';

/** One Lua state per process, so that loads can be counted. */
const ARGS = ['--threads', '0', '--dispatch', 'inline'];

/**
 * Can be loaded once for each file `load-…`: each load removes one of them, which only one
 * process can do. The check is the first load, then the reactors follow.
 */
const MOST_LOADS = 4;
const fewLoads = (dir: string, text: string) => `
local function take()
  for i = 1, ${MOST_LOADS} do
    if os.remove('${dir}/load-' .. i) then return end
  end
  error('no load is left')
end
take()
function handle(_, res) res:body('${text}'):send() end
`;

for (const replaced of ['lua states', 'processes'] as const) {
  t.test(`one reactor of three does not load: nothing changes, ${replaced}`, async (t) => {
    const dir = t.testdir();
    const app = join(dir, 'app.lua');
    const config = changingConfig(dir);
    const allow = (loads: number) => {
      for (let i = 1; i <= loads; i++) writeFileSync(join(dir, `load-${i}`), '');
    };
    const reload = (loads: number) => {
      allow(loads);
      if (replaced === 'processes') config.change();
      server.signal('SIGHUP');
    };
    writeFileSync(app, fewLoads(dir, 'first'));
    allow(MOST_LOADS);
    const args = [...ARGS, ...config.args];
    const server = await startServer(t, { app, processes: 3, args });
    const before = server.reactorPids().sort();
    const client = await connectRaw(t, server);
    const ask = async () => (await client.request(requestText('/'))).body.toString();
    t.equal(await ask(), 'first');

    writeFileSync(app, fewLoads(dir, 'second'));
    reload(3);
    const line = await server.logLine('the end', (each) => each.msg.startsWith('reload rejected'));
    t.match(line, { generation: 1, reason: /reactor \d.*: .*app\.lua:6: no load is left/ });
    await until('those that had loaded are gone', () => server.reactorPids().length === 3);
    t.strictSame(server.reactorPids().sort(), before, 'the same processes');
    t.equal(await ask(), 'first');
    const metrics = await metricsOf(server);
    for (const reactor of [0, 1, 2]) {
      t.equal(metrics.get(`moonring_handler_generation{reactor="${reactor}"}`), 1);
    }

    reload(MOST_LOADS);
    const done = await server.logLine('the reload', (each) => each.msg === 'reloaded');
    t.equal(done['replaced'], replaced);
    await until('the same connection is served so', async () => (await ask()) === 'second');
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}
