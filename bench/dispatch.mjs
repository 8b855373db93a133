// What the ways of dispatch cost, each against `inline`, measured in turns. See bench/README.md.
//
//   node bench/dispatch.mjs [--rounds 5] [--seconds 2] [--connections 64] [--only worker,burn-20]
//
// --pause 1 rests a second between runs, on a machine that others use too.
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { cpuSeconds, processTree, switchCount } from './lib/process-tree.mjs';
import { BENCH, ROOT, requirePrograms, runWrk, startMoonring } from './lib/programs.mjs';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '64' },
    only: { type: 'string', default: '' },
    pause: { type: 'string', default: '0' },
  },
});

const HELLO = join(ROOT, 'examples', 'hello.lua');
const BURN = join(BENCH, 'apps', 'burn.lua');
const INLINE = ['--dispatch', 'inline'];
const workers = (count) => ['--dispatch', 'worker', '--workers', String(count)];

/** Each compares `variant` with `base`; `free` leaves the server every core, the load's too. */
const COMPARISONS = [
  { name: 'worker', app: HELLO, path: '/', depth: 1, base: INLINE, variant: workers(1) },
  { name: 'worker-16', app: HELLO, path: '/', depth: 16, base: INLINE, variant: workers(1) },
  { name: 'auto', app: HELLO, path: '/', depth: 1, base: INLINE, variant: ['--dispatch', 'auto'] },
  {
    name: 'burn-20',
    app: BURN,
    path: '/20',
    depth: 1,
    base: INLINE,
    variant: workers(2),
    free: true,
  },
  {
    name: 'burn-100',
    app: BURN,
    path: '/100',
    depth: 1,
    base: INLINE,
    variant: workers(2),
    free: true,
  },
];

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

async function measure(server, { path, depth }) {
  await delay(Number(options.pause) * 1000);
  const pids = processTree(server.pid);
  const before = cpuSeconds(pids);
  const switches = switchCount(pids);
  const load = await runWrk({
    url: `http://127.0.0.1:${server.port}${path}`,
    depth,
    seconds: Number(options.seconds),
    connections: Number(options.connections),
  });
  const after = cpuSeconds(pids);
  const cpu = after.userSeconds + after.systemSeconds - before.userSeconds - before.systemSeconds;
  return {
    perSecond: load.requestsPerSecond,
    cpuMicros: (cpu / load.requests) * 1e6,
    switches: (switchCount(pids) - switches) / load.requests,
    p99Ms: load.p99Ms,
    failed: load.failed,
  };
}

async function compare(comparison) {
  const start = (way) =>
    startMoonring(comparison.app, { options: way, cores: comparison.free ? 'all' : 'one' });
  const servers = { base: await start(comparison.base), variant: await start(comparison.variant) };
  const rounds = { base: [], variant: [] };
  try {
    for (const side of ['base', 'variant']) await measure(servers[side], comparison);
    for (let round = 0; round < Number(options.rounds); round++) {
      for (const side of ['base', 'variant'])
        rounds[side].push(await measure(servers[side], comparison));
    }
  } finally {
    await Promise.all([servers.base.stop(), servers.variant.stop()]);
  }
  return rounds;
}

function print(comparison, { base, variant }) {
  const ratios = (key) => variant.map((round, i) => round[key] / base[i][key]);
  const of = (rounds, key, digits) => median(rounds.map((round) => round[key])).toFixed(digits);
  const throughput = ratios('perSecond');
  const failed = [...base, ...variant].some((round) => round.failed) ? '  wrk saw errors' : '';
  console.log(
    `${comparison.name.padEnd(10)} throughput ${median(throughput).toFixed(2)} × inline ` +
      `(${Math.min(...throughput).toFixed(2)}-${Math.max(...throughput).toFixed(2)}), ` +
      `CPU ${median(ratios('cpuMicros')).toFixed(2)} × ` +
      `(${of(base, 'cpuMicros', 2)} -> ${of(variant, 'cpuMicros', 2)} µs), ` +
      `switches a request ${of(base, 'switches', 4)} -> ${of(variant, 'switches', 4)}, ` +
      `p99 ${of(base, 'p99Ms', 2)} -> ${of(variant, 'p99Ms', 2)} ms${failed}`,
  );
}

requirePrograms('wrk');
const only = options.only.split(',').filter((name) => name !== '');
for (const comparison of COMPARISONS) {
  if (only.length === 0 || only.includes(comparison.name))
    print(comparison, await compare(comparison));
}
