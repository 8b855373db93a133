// What the ways of dispatch cost, each against `inline`, measured in turns. See bench/README.md.
//
//   node bench/dispatch.mjs [--rounds 5] [--seconds 2] [--connections 64] [--only worker,burn-20]
//     [--pause 0] [--json]
//
// --pause 1 rests a second between runs, on a machine that others use too.
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { list, runMain } from './lib/arguments.mjs';
import { BURN_APP, burnPaths } from './lib/burn.mjs';
import { measure } from './lib/measure.mjs';
import { ROOT, requirePrograms, startMoonring } from './lib/programs.mjs';
import { median, ratios, spread } from './lib/statistics.mjs';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '64' },
    only: { type: 'string', default: '' },
    pause: { type: 'string', default: '0' },
    json: { type: 'boolean', default: false },
  },
});

const HELLO = join(ROOT, 'examples', 'hello.lua');
const INLINE = ['--dispatch', 'inline'];
const workers = (count) => ['--dispatch', 'worker', '--threads', String(count)];

/**
 * Each compares `variant` with `base`. `burnMicros` is what a handler burns; `free` leaves the
 * server every core, the load's too.
 */
const COMPARISONS = [
  { name: 'worker', depth: 1, variant: workers(1) },
  { name: 'worker-16', depth: 16, variant: workers(1) },
  { name: 'auto', depth: 1, variant: ['--dispatch', 'auto'] },
  { name: 'burn-20', burnMicros: 20, depth: 1, variant: workers(2), free: true },
  { name: 'burn-100', burnMicros: 100, depth: 1, variant: workers(2), free: true },
];

async function measureRested(server, { path, depth }) {
  await delay(Number(options.pause) * 1000);
  const round = await measure(server, {
    path,
    depth,
    seconds: Number(options.seconds),
    connections: Number(options.connections),
  });
  if (round.invalid) {
    throw new Error(round.invalid);
  }
  return round;
}

async function compare({ burnMicros, depth, variant, free }, burnPath) {
  const start = (way) =>
    startMoonring(burnMicros ? BURN_APP : HELLO, { options: way, cores: free ? 'all' : 'one' });
  const load = { path: burnMicros ? burnPath(burnMicros) : '/', depth };
  const servers = { base: await start(INLINE), variant: await start(variant) };
  const rounds = { base: [], variant: [] };
  try {
    for (const side of ['base', 'variant']) await measureRested(servers[side], load);
    for (let round = 0; round < Number(options.rounds); round++) {
      const sides = round % 2 === 0 ? ['base', 'variant'] : ['variant', 'base'];
      for (const side of sides) rounds[side].push(await measureRested(servers[side], load));
    }
  } finally {
    await Promise.all([servers.base.stop(), servers.variant.stop()]);
  }
  return rounds;
}

function summarise(name, { base, variant }) {
  const figures = (rounds) => {
    const of = (key) => median(rounds.map((round) => round[key]));
    return { cpuMicros: of('cpuMicros'), switches: of('switches'), p99Ms: of('p99Ms') };
  };
  return {
    name,
    throughput: ratios(variant, base, (round) => round.requestsPerSecond),
    cpu: ratios(variant, base, (round) => round.cpuMicros),
    base: figures(base),
    variant: figures(variant),
  };
}

function print({ name, throughput, cpu, base, variant }) {
  const change = (key, digits) => `${base[key].toFixed(digits)} -> ${variant[key].toFixed(digits)}`;
  console.log(
    `${name.padEnd(10)} throughput ${spread(throughput)} × inline, CPU ${spread(cpu)} × ` +
      `(${change('cpuMicros', 2)} µs), switches a request ${change('switches', 4)}, ` +
      `p99 ${change('p99Ms', 2)} ms`,
  );
}

async function main() {
  requirePrograms('wrk');
  const names = list(options.only);
  const unknown = names.filter((name) => !COMPARISONS.some((one) => one.name === name));
  if (unknown.length > 0) {
    const known = COMPARISONS.map((one) => one.name).join(', ');
    throw new Error(`No such comparison: ${unknown.join(', ')}. There are: ${known}.`);
  }
  const rows = [];
  const burnPath = await burnPaths();
  for (const comparison of COMPARISONS) {
    if (names.length > 0 && !names.includes(comparison.name)) continue;
    rows.push(summarise(comparison.name, await compare(comparison, burnPath)));
    if (!options.json) print(rows.at(-1));
  }
  if (options.json) console.log(JSON.stringify({ rows }));
}

await runMain(main);
