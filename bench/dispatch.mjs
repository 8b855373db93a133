// The cost of the dispatch modes compared with inline, measured in turns, and the effect of slow
// requests on quick ones. See bench/README.md.
//
//   node bench/dispatch.mjs [--only worker,worker-16,auto,burn-20,burn-100,mixed] [--rounds 5]
//     [--seconds 2] [--connections 64] [--json]
import { join } from 'node:path';
import {
  BENCH,
  choose,
  median,
  ratios,
  readOptions,
  requirePrograms,
  runMain,
  spread,
} from './lib/command.mjs';
import { ask, measureWrk, mustBeValid, runPaced } from './lib/load.mjs';
import { buildHelpers, HELLO, startMoonring } from './lib/servers.mjs';

const BURN = join(BENCH, 'apps/burn.lua');
const INLINE = ['--dispatch', 'inline'];
const workers = (count) => ['--dispatch', 'worker', '--threads', String(count)];

/** `burnMicros` is the CPU time of a handler; server and load then share all cores. */
const COMPARISONS = {
  worker: { options: workers(1) },
  'worker-16': { options: workers(1), depth: 16 },
  auto: { options: ['--dispatch', 'auto'] },
  'burn-20': { options: workers(2), burnMicros: 20 },
  'burn-100': { options: workers(2), burnMicros: 100 },
};
/** Quick requests per second beside one percent that compute for 10 ms. */
const MIXED = { rate: 2000, slowRate: 20, burnMicros: 10_000 };

const { values } = readOptions({ only: '', rounds: '5', seconds: '2', connections: '64' });
const seconds = Number(values.seconds);
const connections = Number(values.connections);

/** The path that computes for this long, on any thread; calibrated on a separate server. */
async function burnPath(micros) {
  const server = await startMoonring(BURN, { options: INLINE });
  const { body } = await ask(server.port, { path: '/rounds-per-us' });
  await server.stop();
  return `/${Math.round(micros * Number(body))}`;
}

/** `measureSide` measures one of two servers; they take turns. */
async function takeTurns(servers, measureSide) {
  const rounds = servers.map(() => []);
  for (const server of servers) await measureSide(server);
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const side of round % 2 === 0 ? [0, 1] : [1, 0]) {
      rounds[side].push(await measureSide(servers[side]));
    }
  }
  return rounds;
}

async function compare(name) {
  const { options, depth = 1, burnMicros } = COMPARISONS[name];
  const path = burnMicros ? await burnPath(burnMicros) : '/';
  const how = { cores: burnMicros ? 'all' : 'one' };
  const app = burnMicros ? BURN : HELLO;
  const servers = [];
  try {
    for (const each of [INLINE, options]) {
      servers.push(await startMoonring(app, { ...how, options: each }));
    }
    const [inline, other] = await takeTurns(servers, async (server) =>
      mustBeValid(await measureWrk(server, { path, depth, seconds, connections })),
    );
    const of = (key) => median(other.map((round) => round[key]));
    return {
      name,
      throughput: ratios(other, inline, (round) => round.requestsPerSecond),
      cpu: ratios(other, inline, (round) => round.cpuMicros),
      switches: of('switches'),
      p99Ms: of('p99Ms'),
    };
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** p99 of quick requests beside slow ones, divided by the p99 without them. */
async function mixed(way) {
  const helpers = buildHelpers();
  const slow = { path: await burnPath(MIXED.burnMicros), rate: MIXED.slowRate, connections: 8 };
  const server = await startMoonring(BURN, { options: ['--dispatch', way], cores: 'all' });
  const { port } = server;
  const load = (how) => runPaced(helpers, { port, seconds, ...how });
  const quick = { path: '/0', rate: MIXED.rate, connections };
  try {
    const [alone, beside] = await takeTurns([false, true], async (isMixed) => {
      const [result] = await Promise.all([load(quick), ...(isMixed ? [load(slow)] : [])]);
      return result;
    });
    return { name: `mixed-${way}`, p99: ratios(beside, alone, (round) => round.p99Ms) };
  } finally {
    await server.stop();
  }
}

async function main() {
  requirePrograms('wrk', 'cmake');
  const rows = [];
  for (const name of choose(values.only, [...Object.keys(COMPARISONS), 'mixed'])) {
    if (name === 'mixed') rows.push(await mixed('inline'), await mixed('auto'));
    else rows.push(await compare(name));
  }
  if (values.json) {
    console.log(JSON.stringify({ rows }));
    return;
  }
  for (const { name, throughput, cpu, switches, p99Ms, p99 } of rows) {
    console.log(
      `${name.padEnd(13)}${
        p99
          ? `p99 of quick requests ${spread(p99)} × that without slow ones`
          : `throughput ${spread(throughput)} × inline, CPU ${spread(cpu)} ×, ` +
            `${switches.toFixed(4)} switches per request, p99 ${p99Ms.toFixed(2)} ms`
      }`,
    );
  }
}

await runMain(main);
