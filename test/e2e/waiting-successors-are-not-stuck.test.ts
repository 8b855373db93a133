import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { statusOf } from './admin-client.js';
import { changingConfig } from './changing-config.js';
import { startServer } from './server.js';
import { until } from './until.js';

const GRACE_MS = 3000;

/** While there is a file `hold`, only the first `free` loads finish: each appends to `loads`. */
const app = (dir: string, free: number) => `
local file = assert(io.open('${dir}/loads', 'a+'))
file:write('x')
file:seek('set')
local loads = #file:read('*a')
file:close()
local hold
repeat
  if hold then hold:close() end
  hold = loads > ${free} and io.open('${dir}/hold')
  if hold then io.open('${dir}/waiting', 'w'):close() end
until not hold
function handle(_, res) res:body('answered'):send() end
`;

function graceHasPassed(): Promise<true> {
  const untilMs = performance.now() + 1.5 * GRACE_MS;
  return until('the grace has passed', () => performance.now() > untilMs || undefined);
}

t.test(
  'a successor that waited for longer than the liveness grace is not considered stuck',
  async (t) => {
    const dir = t.testdir();
    const path = join(dir, 'app.lua');
    const hold = join(dir, 'hold');
    // Two reactors, the check of the reload and the first successor.
    writeFileSync(path, app(dir, 4));
    writeFileSync(hold, '');
    const config = changingConfig(dir);
    const grace = ['--liveness-grace', `${GRACE_MS}ms`];
    const args = ['--threads', '0', '--dispatch', 'inline', ...grace, ...config.args];
    const server = await startServer(t, { app: path, processes: 2, args });
    config.change();
    server.signal('SIGHUP');
    await until('the second successor loads', () => existsSync(join(dir, 'waiting')));
    await graceHasPassed();
    rmSync(hold);
    await server.logLine('the reload', (line) => line.msg === 'reloaded');
    // An idle reactor has a heartbeat once a second.
    await graceHasPassed();
    const { restarts } = await statusOf(server);
    t.equal(restarts.stuck, 0);
    t.strictSame(await server.stop(), { code: 0, signal: null });
  },
);
