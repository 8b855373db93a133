// CPU time per request of several servers, measured in turns: A B C A B C … See bench/README.md.
//
//   node bench/run.mjs [--rounds 5] [--seconds 3] [--connections 64] [--json]
//     [--modes plain,pipelined] [--only raw,moonring]
import { parseArgs } from 'node:util';
import { chooseContenders, contenders } from './lib/contenders.mjs';
import { cpuSeconds, processTree } from './lib/process-tree.mjs';
import { buildHelpers, canPin, requirePrograms, runWrk } from './lib/programs.mjs';

const DEPTHS = { plain: 1, pipelined: 16 };
const WARM_UP_SECONDS = 1;

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    connections: { type: 'string', default: '64' },
    modes: { type: 'string', default: 'plain,pipelined' },
    only: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
  },
});

function list(text) {
  return text.split(',').filter((item) => item !== '');
}

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

async function measure(server, depth) {
  const url = `http://127.0.0.1:${server.port}${server.path}`;
  const pids = processTree(server.pid);
  const before = cpuSeconds(pids);
  const load = await runWrk({
    url,
    depth,
    seconds: Number(options.seconds),
    connections: Number(options.connections),
  });
  const after = cpuSeconds(pids);
  return {
    userMicros: ((after.userSeconds - before.userSeconds) / load.requests) * 1e6,
    systemMicros: ((after.systemSeconds - before.systemSeconds) / load.requests) * 1e6,
    requestsPerSecond: load.requestsPerSecond,
    p99Ms: load.p99Ms,
    failed: load.failed,
  };
}

// The ratio is taken round by round, against the raw run next to it in time.
function summarise(name, rounds, rawRounds) {
  const total = (round) => round.userMicros + round.systemMicros;
  const ratios = rawRounds ? rounds.map((round, i) => total(round) / total(rawRounds[i])) : [];
  return {
    name,
    userMicros: median(rounds.map((round) => round.userMicros)),
    systemMicros: median(rounds.map((round) => round.systemMicros)),
    totalMicros: median(rounds.map(total)),
    requestsPerSecond: median(rounds.map((round) => round.requestsPerSecond)),
    ratio: rawRounds ? median(ratios) : Number.NaN,
    lowestRatio: rawRounds ? Math.min(...ratios) : Number.NaN,
    highestRatio: rawRounds ? Math.max(...ratios) : Number.NaN,
    p99Ms: median(rounds.map((round) => round.p99Ms)),
    failed: rounds.some((round) => round.failed),
  };
}

function print(mode, rows) {
  const precision = mode === 'plain' ? 2 : 3;
  const fixed = (value, digits) => (Number.isNaN(value) ? '-' : value.toFixed(digits));
  console.log(`\n${mode}: ${options.connections} connections, ${DEPTHS[mode]} request(s) a write`);
  console.log(
    [
      'contender'.padEnd(16),
      ...['user µs', 'sys µs', 'total µs', '× raw', '(spread)', 'req/s', 'p99 ms'].map((title) =>
        title.padStart(12),
      ),
    ].join(''),
  );
  for (const row of rows) {
    const cells = [
      fixed(row.userMicros, precision),
      fixed(row.systemMicros, precision),
      fixed(row.totalMicros, precision),
      fixed(row.ratio, 2),
      `${fixed(row.lowestRatio, 2)}-${fixed(row.highestRatio, 2)}`,
      fixed(row.requestsPerSecond, 0),
      fixed(row.p99Ms, 2),
    ];
    const errors = row.failed ? '  wrk saw errors' : '';
    console.log(row.name.padEnd(16) + cells.map((cell) => cell.padStart(12)).join('') + errors);
  }
}

async function compare(servers, mode) {
  const depth = DEPTHS[mode];
  for (const server of servers) {
    const url = `http://127.0.0.1:${server.port}${server.path}`;
    await runWrk({ url, depth, seconds: WARM_UP_SECONDS });
  }
  const results = new Map(servers.map((server) => [server.name, []]));
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const server of servers) {
      results.get(server.name).push(await measure(server, depth));
    }
  }
  return servers.map((server) =>
    summarise(server.name, results.get(server.name), results.get('raw')),
  );
}

async function main() {
  requirePrograms('wrk', 'cmake');
  const modes = list(options.modes);
  const unknown = modes.filter((mode) => !(mode in DEPTHS));
  if (unknown.length > 0) {
    throw new Error(`No such mode: ${unknown.join(', ')}. There are: plain, pipelined.`);
  }
  const chosen = chooseContenders(contenders(buildHelpers()), list(options.only));
  if (!canPin()) {
    console.error('Server and load share cores (no taskset, or one core): figures are not steady.');
  }
  const servers = [];
  try {
    for (const contender of chosen) {
      const missing = contender.missing();
      if (missing) {
        console.error(`Skipped ${contender.name}: ${missing}`);
        continue;
      }
      const server = await contender.start();
      servers.push({ ...server, name: contender.name, path: contender.path });
    }
    for (const mode of modes) {
      const rows = await compare(servers, mode);
      if (options.json) {
        console.log(JSON.stringify({ mode, rows }));
      } else {
        print(mode, rows);
      }
    }
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

try {
  await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
