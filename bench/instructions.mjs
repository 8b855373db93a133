// User-space instructions per request. See bench/README.md.
//
//   node bench/instructions.mjs [--only raw,c,hello,survive-off,shared,app,router,loop-count] [--requests 64] [--json]
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import {
  BENCH,
  choose,
  hasProgram,
  readOptions,
  requirePrograms,
  runMain,
} from './lib/command.mjs';
import { mustBeValid, runWrk } from './lib/load.mjs';
import {
  buildHelloC,
  buildHelpers,
  HELLO,
  LOOPS,
  startServer,
  startWarm,
  warmUp,
} from './lib/servers.mjs';
import { countBySteps } from './lib/stepping.mjs';

// Stepping makes every handler slow, and `auto` would move it to a worker.
const options = ['--dispatch', 'inline'];
const HARDWARE_SECONDS = 2;
const PIPELINE_DEPTH = 16;
/** Iterations of a loop, few enough to step through. */
const ROUNDS = 2_000;

const { values } = readOptions({ only: '', requests: '64' });

const startApp = (file, path = '/users/42') =>
  startWarm(join(BENCH, 'apps', file), { path, options }).then((server) => ({ ...server, path }));

const SUBJECTS = {
  raw: async (helpers) => {
    const server = await startServer([helpers.raw], {});
    return { ...server, ...(await warmUp(server, server.pid)) };
  },
  c: () => startWarm(buildHelloC(), { options }),
  hello: () => startWarm(HELLO, { options }),
  'survive-off': () => startWarm(HELLO, { options: [...options, '--survive', 'off'] }),
  shared: () =>
    startWarm(join(BENCH, 'apps/shared.lua'), { options: [...options, '--shared', 'bench=16m'] }),
  app: () => startApp('app-like.lua'),
  router: () => startApp('router.lua'),
  ...Object.fromEntries(
    LOOPS.map((kind) => [`loop-${kind}`, () => startApp('loops.lua', `/${kind}?${ROUNDS}`)]),
  ),
};

function hasHardwareCounter() {
  if (!hasProgram('perf')) {
    return false;
  }
  const probe = spawnSync('perf', ['stat', '-x,', '-e', 'instructions:u', 'true'], {
    encoding: 'utf8',
  });
  return probe.status === 0 && /^\d+,/m.test(probe.stderr);
}

async function countByHardware(server, depth) {
  const perf = spawn('perf', [
    ...['stat', '-x,', '-e', 'instructions:u', '-t', String(server.ioThread)],
  ]);
  let output = '';
  perf.stderr.on('data', (chunk) => {
    output += chunk;
  });
  const { port, path } = server;
  const { requests } = mustBeValid(await runWrk({ port, path, seconds: HARDWARE_SECONDS, depth }));
  perf.kill('SIGINT');
  await once(perf, 'close');
  return Number(/^(\d+),/m.exec(output)[1]) / requests;
}

async function main() {
  requirePrograms('wrk', 'cmake');
  const helpers = buildHelpers();
  const hardware = hasHardwareCounter();
  const how = hardware ? 'hardware counter, 64 connections' : 'stepped, 1 connection';
  if (!values.json) console.log(`user-space instructions per request (${how})`);
  const rows = [];
  for (const name of choose(values.only, Object.keys(SUBJECTS))) {
    const server = await SUBJECTS[name](helpers);
    const count = (depth) =>
      hardware
        ? countByHardware(server, depth)
        : countBySteps(helpers, server, { depth, requests: Number(values.requests) });
    try {
      rows.push({ name, plain: await count(1), pipelined: await count(PIPELINE_DEPTH) });
    } finally {
      await server.stop();
    }
    if (values.json) continue;
    const [plain, pipelined] = [rows.at(-1).plain, rows.at(-1).pipelined].map((value) =>
      value.toFixed(0).padStart(7),
    );
    console.log(`${name.padEnd(8)} plain ${plain}   ${PIPELINE_DEPTH}-deep ${pipelined}`);
  }
  if (values.json) console.log(JSON.stringify({ how, rows }));
}

await runMain(main);
