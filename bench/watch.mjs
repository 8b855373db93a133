// The cost of watching a reactor: its CPU time per request while `moonring top` or the status page
// is open, compared in turns with neither; its instructions per request; its CPU time and context
// switches while idle. See bench/README.md.
//
//   node bench/watch.mjs [--what load,stepped,idle] [--viewers 1] [--rounds 10] [--seconds 3] [--json]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import {
  choose,
  inTurn,
  median,
  pinned,
  ROOT,
  ratios,
  readOptions,
  requirePrograms,
  runMain,
  spread,
} from './lib/command.mjs';
import { mustBeValid, runWrk } from './lib/load.mjs';
import { spentBy } from './lib/processes.mjs';
import { buildHelpers, HELLO, startWarm } from './lib/servers.mjs';
import { countBySteps } from './lib/stepping.mjs';

/** After a load, it takes some seconds to collect garbage and return memory. */
const SETTLE_MS = 20_000;
/** Takes a second or more, so that the viewers poll during it. */
const STEPPED = 64;

const { values } = readOptions({ what: '', viewers: '1', rounds: '10', seconds: '3' });
const seconds = Number(values.seconds);

/** Runs in a separate terminal; resolves after the first screen. */
async function openTop(admin) {
  const top = `${process.execPath} ${join(ROOT, 'dist/master.js')} top --admin ${admin}`;
  const shell = `stty rows 30 cols 100 && exec ${top}`;
  const [program, ...args] = pinned(1, ['script', '-qfec', shell, '/dev/null']);
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    if (String(chunk).includes('requests')) break;
  }
  child.stdout.resume();
  return async () => {
    child.stdin.write('q');
    await exited;
  };
}

/** Polls like the page's script: one second after each response. */
async function openPage(admin) {
  let timer;
  let isOpen = true;
  const look = async () => {
    const asked = request({ socketPath: admin, path: '/status', headers: { Host: 'localhost' } });
    const [response] = await once(asked.end(), 'response');
    if (response.statusCode !== 200) throw new Error(`/status: ${response.statusCode}`);
    JSON.parse(await text(response));
    if (isOpen) timer = setTimeout(look, 1000);
  };
  await look();
  return async () => {
    isOpen = false;
    clearTimeout(timer);
  };
}

const VIEWS = { none: null, top: openTop, page: openPage };
const names = Object.keys(VIEWS);

/** Runs `measure` while the viewers are open. */
async function watched(admin, name, measure) {
  const open = VIEWS[name];
  const count = open === null ? 0 : Number(values.viewers);
  const viewers = await Promise.all(Array.from({ length: count }, () => open(admin)));
  try {
    return await measure();
  } finally {
    for (const close of viewers) await close();
  }
}

/** CPU time and context switches of the reactor during `run`, and the master's share of a CPU. */
async function spent(server, run) {
  const [reactor, master] = [spentBy([server.reactorPid]), spentBy([server.pid])];
  const beganMs = performance.now();
  const result = await run();
  const took = (performance.now() - beganMs) / 1000;
  const after = spentBy([server.reactorPid]);
  return {
    result,
    cpuMicros: after.cpuMicros - reactor.cpuMicros,
    switchesPerSecond: (after.switches - reactor.switches) / took,
    cpuMicrosPerSecond: (after.cpuMicros - reactor.cpuMicros) / took,
    masterShare: (spentBy([server.pid]).cpuMicros - master.cpuMicros) / (took * 1e6),
  };
}

async function load(server, admin) {
  const rounds = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const name of inTurn(names, round)) {
      const run = () => runWrk({ port: server.port, seconds });
      const { result, cpuMicros } = await watched(admin, name, () => spent(server, run));
      rounds[name].push(cpuMicros / mustBeValid(result).requests);
    }
  }
  return names.map((name) => ({
    name,
    cpuMicros: median(rounds[name]),
    ratio: ratios(rounds[name], rounds.none, (value) => value),
  }));
}

async function stepped(server, admin) {
  const helpers = buildHelpers();
  const rows = [];
  for (const name of names) {
    const run = () => countBySteps(helpers, server, { requests: STEPPED });
    rows.push({ name, instructions: await watched(admin, name, run) });
  }
  return rows;
}

/** Without requests, everything that a reactor does is for the viewers. */
async function idle(server, admin) {
  const rows = [];
  await delay(SETTLE_MS);
  for (const name of names) {
    const run = () => delay(seconds * 1000);
    rows.push({ name, ...(await watched(admin, name, () => spent(server, run))) });
  }
  return rows;
}

const PARTS = {
  load: {
    measure: load,
    line: ({ cpuMicros, ratio }) => `${cpuMicros.toFixed(2)} us per request, ${spread(ratio, 3)} ×`,
  },
  stepped: {
    measure: stepped,
    line: ({ instructions }) => `${instructions.toFixed(0)} instructions per request`,
  },
  idle: {
    measure: idle,
    line: ({ cpuMicrosPerSecond, switchesPerSecond, masterShare }) =>
      `${cpuMicrosPerSecond.toFixed(0)} us and ${switchesPerSecond.toFixed(1)} context switches per ` +
      `second without requests; master ${(100 * masterShare).toFixed(2)} % of a CPU`,
  },
};

await runMain(async () => {
  requirePrograms('wrk', 'script', 'cmake');
  const directory = mkdtempSync(join(tmpdir(), 'moonring-watch-'));
  const admin = join(directory, 'admin.sock');
  // Stepping makes the handler slow, and `auto` would move it to a worker.
  const server = await startWarm(HELLO, { admin, options: ['--dispatch', 'inline'] });
  const figures = {};
  try {
    for (const part of choose(values.what, Object.keys(PARTS))) {
      figures[part] = await PARTS[part].measure(server, admin);
      if (values.json) continue;
      for (const row of figures[part]) {
        console.log(`${row.name.padEnd(7)} ${PARTS[part].line(row)}`);
      }
    }
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true });
  }
  if (values.json) console.log(JSON.stringify({ viewers: Number(values.viewers), ...figures }));
});
