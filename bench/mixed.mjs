// Quick requests beside slow ones: what 1 % of requests that burn 10 ms do to the latency of the
// others, with each way of dispatch. See bench/README.md.
//
//   node bench/mixed.mjs [--rounds 3] [--seconds 2] [--connections 64] [--burn-ms 10] [--percent 1]
//     [--cores all] [--json]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { runMain } from './lib/arguments.mjs';
import { BURN_APP, burnPaths } from './lib/burn.mjs';
import { buildHelpers, pinnedToLoad, startMoonring } from './lib/programs.mjs';
import { median, ratios, spread } from './lib/statistics.mjs';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '64' },
    'burn-ms': { type: 'string', default: '10' },
    percent: { type: 'string', default: '1' },
    cores: { type: 'string', default: 'all' },
    json: { type: 'boolean', default: false },
  },
});

const WAYS = ['inline', 'auto'];

async function load({ helper, slowPath }, server, percent) {
  const [program, args] = pinnedToLoad(helper, [
    ...[server.port, options.connections, options.seconds, Math.round(percent * 100)].map(String),
    ...['/0', slowPath],
  ]);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error('the load generator failed');
  return JSON.parse(output);
}

function summarise(way, { alone, beside }) {
  const of = (rounds, key) => median(rounds.map((round) => round[key]));
  return {
    way,
    ratio: ratios(beside, alone, (round) => round.p99),
    p99Micros: { alone: of(alone, 'p99'), beside: of(beside, 'p99') },
    p50Micros: { alone: of(alone, 'p50'), beside: of(beside, 'p50') },
    quickPerSecond: of(beside, 'quick') / Number(options.seconds),
  };
}

function print({ way, ratio, p99Micros, p50Micros, quickPerSecond }) {
  console.log(
    `${way.padEnd(7)} p99 of the quick requests ${p99Micros.alone} µs alone, ` +
      `${p99Micros.beside} µs beside ${options.percent} % that burn ` +
      `${options['burn-ms']} ms: ${spread(ratio)} ×; ` +
      `p50 ${p50Micros.alone} -> ${p50Micros.beside} µs, ` +
      `quick a second ${quickPerSecond.toFixed(0)}`,
  );
}

async function runRounds(how, servers) {
  const rounds = new Map(WAYS.map((way) => [way, { alone: [], beside: [] }]));
  for (const way of WAYS) await load(how, servers.get(way), Number(options.percent));
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const way of WAYS) {
      const { alone, beside } = rounds.get(way);
      alone.push(await load(how, servers.get(way), 0));
      beside.push(await load(how, servers.get(way), Number(options.percent)));
    }
  }
  return rounds;
}

async function main() {
  const { mixed } = buildHelpers();
  const burnPath = await burnPaths();
  const how = { helper: mixed, slowPath: burnPath(Number(options['burn-ms']) * 1000) };
  const servers = new Map();
  try {
    for (const way of WAYS) {
      const started = startMoonring(BURN_APP, {
        options: ['--dispatch', way],
        cores: options.cores,
      });
      servers.set(way, await started);
    }
    const rounds = await runRounds(how, servers);
    const rows = WAYS.map((way) => summarise(way, rounds.get(way)));
    if (options.json) console.log(JSON.stringify({ rows }));
    else for (const row of rows) print(row);
  } finally {
    await Promise.all([...servers.values()].map((server) => server.stop()));
  }
}

await runMain(main);
