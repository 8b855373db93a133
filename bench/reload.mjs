// What reloads (SIGHUP) cost the clients: failed requests, and latency against the same load
// without reloads, measured in turns. See bench/README.md.
//
//   node bench/reload.mjs [--reloads 24] [--rounds 4] [--seconds 5] [--connections 256]
//     [--rate 10000] [--cores all] [--json]
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { runMain } from './lib/arguments.mjs';
import { runPaced } from './lib/paced.mjs';
import { buildHelpers, ROOT, requirePrograms, startMoonring } from './lib/programs.mjs';
import { median, ratios, spread } from './lib/statistics.mjs';
import { runWrk } from './lib/wrk.mjs';

const RELOAD_TIMEOUT_MS = 10_000;
/** The level of a warning in a log record. */
const WARNING = 40;

const { values: options } = parseArgs({
  options: {
    reloads: { type: 'string', default: '24' },
    rounds: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '5' },
    connections: { type: 'string', default: '256' },
    rate: { type: 'string', default: '10000' },
    cores: { type: 'string', default: 'all' },
    json: { type: 'boolean', default: false },
  },
});

const seconds = Number(options.seconds);
const connections = Number(options.connections);

async function untilReloaded(server) {
  const signal = AbortSignal.timeout(RELOAD_TIMEOUT_MS);
  for (;;) {
    const [line] = await once(server.lines, 'line', { signal });
    const { msg, level } = JSON.parse(line);
    if (msg === 'reloaded') return;
    if (level >= WARNING) throw new Error(`The server says: ${line}`);
  }
}

// Spread over the time of the load. Returns how many were finished before `isOver`.
async function reload(server, count, isOver) {
  const intervalMs = (seconds * 1000) / (count + 1);
  let finished = 0;
  const begin = performance.now();
  for (let i = 1; i <= count; i++) {
    await delay(Math.max(0, begin + i * intervalMs - performance.now()));
    const reloaded = untilReloaded(server);
    process.kill(server.pid, 'SIGHUP');
    await reloaded;
    if (!isOver()) finished++;
  }
  return finished;
}

const LOADS = {
  'as fast as it goes': async (server) => {
    const url = `http://127.0.0.1:${server.port}/`;
    const { requests, p99Ms, maxMs, invalid } = await runWrk({ url, seconds, connections });
    return { requests, p99Ms, maxMs, invalid };
  },
  paced: async (server, helpers) => {
    const how = { port: server.port, path: '/', connections, seconds, rate: Number(options.rate) };
    const load = await runPaced(helpers.paced, how);
    return { ...load, requests: load.due };
  },
};

async function runOnce(load, server, helpers, reloads) {
  let isOver = false;
  const running = load(server, helpers).finally(() => {
    isOver = true;
  });
  const [result, finished] = await Promise.all([running, reload(server, reloads, () => isOver)]);
  return { ...result, finished };
}

async function compare(name, server, helpers) {
  const load = LOADS[name];
  const rounds = Number(options.rounds);
  const perRound = Math.ceil(Number(options.reloads) / rounds);
  const sides = { quiet: [], reloading: [] };
  await runOnce(load, server, helpers, 0);
  for (let round = 0; round < rounds; round++) {
    sides.quiet.push(await runOnce(load, server, helpers, 0));
    sides.reloading.push(await runOnce(load, server, helpers, perRound));
  }
  const of = (side, key) => median(sides[side].map((result) => result[key]));
  const sum = (key) => sides.reloading.reduce((total, result) => total + result[key], 0);
  const change = (key) => ({ quiet: of('quiet', key), reloading: of('reloading', key) });
  return {
    load: name,
    asked: perRound * rounds,
    finished: sum('finished'),
    requests: sum('requests'),
    invalid: [...sides.quiet, ...sides.reloading].find((result) => result.invalid)?.invalid,
    ratio: ratios(sides.reloading, sides.quiet, (result) => result.p99Ms),
    p99Ms: change('p99Ms'),
    maxMs: change('maxMs'),
  };
}

function print({ load, asked, finished, requests, invalid, ratio, p99Ms, maxMs }) {
  const text = ({ quiet, reloading }) => `${quiet.toFixed(2)} -> ${reloading.toFixed(2)} ms`;
  console.log(
    `${load}: ${finished} of ${asked} reloads finished under load, ` +
      `${invalid ?? `none of ${requests} requests failed`}; ` +
      `p99 ${text(p99Ms)}, ${spread(ratio)} ×; longest ${text(maxMs)}`,
  );
}

async function main() {
  requirePrograms('wrk', 'cmake');
  const helpers = buildHelpers();
  const server = await startMoonring(join(ROOT, 'examples', 'hello.lua'), {
    options: ['--log-level', 'info'],
    cores: options.cores,
  });
  try {
    const rows = [];
    for (const name of Object.keys(LOADS)) {
      rows.push(await compare(name, server, helpers));
      if (!options.json) print(rows.at(-1));
    }
    if (options.json) console.log(JSON.stringify({ connections, rows }));
  } finally {
    await server.stop();
  }
}

await runMain(main);
