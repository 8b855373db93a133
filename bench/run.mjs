// CPU time per request of several servers, measured in turns: A B C, B C A, … See bench/README.md.
//
//   node bench/run.mjs [--work hello,app,page,large,echo-1k,echo-1m,proxy,redis,redis-pooled]
//     [--only raw,c,lua,nginx,bun] [--modes plain,pipelined,paced] [--baseline directory]
//     [--addon moonring.node] [--base raw] [--rounds 5] [--seconds 2] [--connections 64] [--rate 20000] [--json]
import {
  choose,
  inTurn,
  readOptions,
  requirePrograms,
  runMain,
  spread,
  summarise,
} from './lib/command.mjs';
import { measure, measureWrk, runPaced } from './lib/load.mjs';
import { buildHelpers, contenders, startChecked, startUpstream, WORKS } from './lib/servers.mjs';

/** Requests at once; 0: a fixed rate. */
const MODES = { plain: 1, pipelined: 16, paced: 0 };
const WARM_UP_SECONDS = 2;

const { values } = readOptions({
  work: 'hello,app',
  only: '',
  modes: 'plain',
  baseline: '',
  addon: '',
  base: '',
  rounds: '5',
  seconds: '2',
  connections: '64',
  rate: '20000',
});

function measureOnce({ pid, port, work }, depth, helpers, seconds = Number(values.seconds)) {
  const load = { connections: Number(values.connections), ...work, seconds, depth };
  if (depth > 0) return measureWrk({ pid, port }, load);
  const paced = { ...load, port, rate: Number(values.rate) };
  return measure({ pid }, () => runPaced(helpers, paced));
}

/** The rounds of each server by name; the last round of a server that failed is invalid. */
async function runRounds(servers, depth, helpers) {
  const results = new Map(servers.map(({ name }) => [name, []]));
  const sound = new Set(servers);
  const take = async (server, seconds) => {
    const result = await measureOnce(server, depth, helpers, seconds);
    if (result.invalid) sound.delete(server);
    return result;
  };
  for (const server of servers) {
    const warmUp = await take(server, WARM_UP_SECONDS);
    if (warmUp.invalid) results.get(server.name).push(warmUp);
  }
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const server of inTurn(servers, round)) {
      if (sound.has(server)) results.get(server.name).push(await take(server));
    }
  }
  return results;
}

function print({ work, mode, base, rows }) {
  console.log(`\n${work}, ${mode}, CPU against ${base}`);
  const number = (value, digits) => (value ?? Number.NaN).toFixed(digits).padStart(10);
  for (const row of rows) {
    const { userMicros, systemMicros, cpuMicros, requestsPerSecond, p50Ms, p99Ms } = row;
    console.log(
      row.invalid
        ? `${row.name.padEnd(14)}not valid: ${row.invalid}`
        : row.name.padEnd(14) +
            [userMicros, systemMicros, cpuMicros].map((value) => number(value, 2)).join('') +
            ` µs ${(row.ratio ? spread(row.ratio) : '').padStart(18)} ×` +
            `${number(requestsPerSecond, 0)} req/s p50${number(p50Ms, 3)} p99${number(p99Ms, 3)} ms`,
    );
  }
}

async function compare(work, all, helpers) {
  const servers = [];
  const upstream = await startUpstream(work, helpers);
  try {
    for (const [name, contender] of all) {
      if (contender.works && !contender.works.includes(work)) continue;
      const missing = contender.missing?.();
      if (missing) console.error(`${name} is skipped: ${missing}`);
      else servers.push(await startChecked(contender, name, work));
    }
    const sound = servers.filter(({ fault }) => !fault);
    const base = sound.some(({ name }) => name === values.base) ? values.base : sound[0]?.name;
    for (const mode of choose(values.modes, Object.keys(MODES))) {
      const results = await runRounds(sound, MODES[mode], helpers);
      const rows = servers.map(({ name, fault }) =>
        fault ? { name, invalid: fault } : summarise(name, results.get(name), results.get(base)),
      );
      const table = { work, mode, base, rows };
      if (values.json) console.log(JSON.stringify(table));
      else print(table);
    }
  } finally {
    await Promise.all([...servers, ...(upstream ? [upstream] : [])].map((each) => each.stop()));
  }
}

async function main() {
  requirePrograms('wrk', 'cmake');
  const helpers = buildHelpers();
  const known = contenders(helpers, values);
  const chosen = choose(values.only, Object.keys(known)).map((name) => [name, known[name]]);
  for (const work of choose(values.work, Object.keys(WORKS))) await compare(work, chosen, helpers);
}

await runMain(main);
