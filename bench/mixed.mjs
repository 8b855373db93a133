// Quick requests beside slow ones: what 1 % of requests that burn 10 ms do to the latency of the
// others, with each way of dispatch. See bench/README.md.
//
//   node bench/mixed.mjs [--rounds 3] [--seconds 2] [--connections 64] [--burn-ms 10] [--percent 1]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BENCH, buildHelpers, pinnedToLoad, startMoonring } from './lib/programs.mjs';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '64' },
    'burn-ms': { type: 'string', default: '10' },
    percent: { type: 'string', default: '1' },
    cores: { type: 'string', default: 'all' },
  },
});

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

async function load(helper, server, slowShare) {
  const slow = `/${Number(options['burn-ms']) * 1000}`;
  const [program, args] = pinnedToLoad(helper, [
    ...[server.port, options.connections, options.seconds, Math.round(slowShare * 100)].map(String),
    ...['/0', slow],
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

const { mixed } = buildHelpers();
const app = join(BENCH, 'apps', 'burn.lua');
const ways = ['inline', 'auto'];
const servers = new Map();
try {
  for (const way of ways)
    servers.set(
      way,
      await startMoonring(app, { options: ['--dispatch', way], cores: options.cores }),
    );
  const rounds = new Map(ways.map((way) => [way, []]));
  for (const way of ways) await load(mixed, servers.get(way), Number(options.percent));
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const way of ways) {
      const alone = await load(mixed, servers.get(way), 0);
      const beside = await load(mixed, servers.get(way), Number(options.percent));
      rounds.get(way).push({ alone, beside, ratio: beside.p99 / alone.p99 });
    }
  }
  for (const way of ways) {
    const of = (pick) => median(rounds.get(way).map(pick));
    const ratios = rounds.get(way).map(({ ratio }) => ratio);
    console.log(
      `${way.padEnd(7)} p99 of the quick requests ${of((round) => round.alone.p99)} µs alone, ` +
        `${of((round) => round.beside.p99)} µs beside ${options.percent} % that burn ` +
        `${options['burn-ms']} ms: ${median(ratios).toFixed(2)} × ` +
        `(${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)}); ` +
        `p50 ${of((round) => round.alone.p50)} -> ${of((round) => round.beside.p50)} µs, ` +
        `quick a second ${of((round) => round.beside.quick / options.seconds).toFixed(0)}`,
    );
  }
} finally {
  await Promise.all([...servers.values()].map((server) => server.stop()));
}
