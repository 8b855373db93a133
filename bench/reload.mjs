// The effect of reloads (SIGHUP) on clients: failed requests, and latency compared with the same
// load without reloads, measured in turns. See bench/README.md.
//
//   node bench/reload.mjs [--reloads 24] [--rounds 4] [--seconds 5] [--connections 256]
//     [--rate 10000] [--json]

import { once } from 'node:events';
import { appendFileSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { median, ratios, readOptions, requirePrograms, runMain, spread } from './lib/command.mjs';
import { runPaced, runWrk } from './lib/load.mjs';
import { buildHelpers, HELLO, startMoonring } from './lib/servers.mjs';

const RELOAD_TIMEOUT_MS = 10_000;
/** The level of a warning in a log record. */
const WARNING = 40;

const { values } = readOptions({
  reloads: '24',
  rounds: '4',
  seconds: '5',
  connections: '256',
  rate: '10000',
});
const seconds = Number(values.seconds);
const connections = Number(values.connections);
const rate = Number(values.rate);
const rounds = Number(values.rounds);
const perRound = Math.ceil(Number(values.reloads) / rounds);

async function untilReloaded(server) {
  const signal = AbortSignal.timeout(RELOAD_TIMEOUT_MS);
  for (;;) {
    const [line] = await once(server.lines, 'line', { signal });
    const { msg, level } = JSON.parse(line);
    if (msg === 'reloaded') return;
    if (level >= WARNING) throw new Error(`The server logs: ${line}`);
  }
}

// Changes the code each time, spread over the time of the load. Returns how many reloads finished.
async function reload(server, app, count, isOver) {
  const intervalMs = (seconds * 1000) / (count + 1);
  const begin = performance.now();
  let finished = 0;
  for (let i = 1; i <= count; i += 1) {
    await delay(Math.max(0, begin + i * intervalMs - performance.now()));
    appendFileSync(app, '-- changed\n');
    const reloaded = untilReloaded(server);
    process.kill(server.pid, 'SIGHUP');
    await reloaded;
    if (!isOver()) finished += 1;
  }
  return finished;
}

async function runOnce(load, server, app, reloads) {
  let isOver = false;
  const running = load().finally(() => {
    isOver = true;
  });
  const finished = await reload(server, app, reloads, () => isOver);
  return { ...(await running), finished };
}

async function compare(name, load, server, app) {
  const sides = { quiet: [], reloading: [] };
  await runOnce(load, server, app, 0);
  for (let round = 0; round < rounds; round += 1) {
    sides.quiet.push(await runOnce(load, server, app, 0));
    sides.reloading.push(await runOnce(load, server, app, perRound));
  }
  const of = (side, key) => median(sides[side].map((result) => result[key]));
  const sum = (key) => sides.reloading.reduce((total, result) => total + result[key], 0);
  return {
    load: name,
    asked: perRound * rounds,
    finished: sum('finished'),
    requests: sum('requests'),
    invalid: [...sides.quiet, ...sides.reloading].find((result) => result.invalid)?.invalid,
    ratio: ratios(sides.reloading, sides.quiet, (result) => result.p99Ms),
    p99Ms: [of('quiet', 'p99Ms'), of('reloading', 'p99Ms')],
    maxMs: [of('quiet', 'maxMs'), of('reloading', 'maxMs')],
  };
}

async function main() {
  requirePrograms('wrk', 'cmake');
  const helpers = buildHelpers();
  const directory = mkdtempSync(join(tmpdir(), 'moonring-bench-'));
  const app = join(directory, 'app.lua');
  copyFileSync(HELLO, app);
  const server = await startMoonring(app, { options: ['--log-level', 'info'], cores: 'all' });
  const { port } = server;
  const loads = {
    'as fast as it goes': () => runWrk({ port, seconds, connections }),
    paced: () => runPaced(helpers, { port, connections, seconds, rate }),
  };
  try {
    const rows = [];
    for (const [name, load] of Object.entries(loads)) {
      rows.push(await compare(name, load, server, app));
      if (values.json) continue;
      const { finished, asked, invalid, requests, ratio, p99Ms, maxMs } = rows.at(-1);
      const change = (pair) => `${pair.map((value) => value.toFixed(2)).join(' -> ')} ms`;
      console.log(
        `${name}: ${finished} of ${asked} reloads finished under load, ` +
          `${invalid ?? `none of ${requests} requests failed`}; ` +
          `p99 ${change(p99Ms)}, ${spread(ratio)} ×; longest ${change(maxMs)}`,
      );
    }
    if (values.json) console.log(JSON.stringify({ connections, rows }));
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true });
  }
}

await runMain(main);
