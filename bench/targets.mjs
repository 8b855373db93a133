// Runs every program that measures a target and prints one table in Markdown. See bench/README.md.
//
//   node bench/targets.mjs [--only floor,peers,large,redis,dispatch,syscalls,allocations,instructions,
//     idle,start,reload,postgres] [--json]
//
// Exit code 1: a target is missed or was not measured.
import { spawnSync } from 'node:child_process';
import { cpus, loadavg, release } from 'node:os';
import { join } from 'node:path';
import { BENCH, choose, readOptions, runMain, spread } from './lib/command.mjs';

const TIMEOUT_MS = 240_000;
const SHORT = ['--rounds', '4', '--seconds', '2'];
const MET = 'met';
const MISSED = '**missed**';
const NOT_MEASURED = 'not measured';

const row = (what, target, measured, isMet) => ({
  what,
  target,
  measured,
  verdict: isMet ? MET : MISSED,
});
const atMost = (what, limit, value, digits = 0, unit = '') =>
  row(what, `≤ ${limit}${unit}`, `${value.toFixed(digits)}${unit}`, value <= limit);
/** One digit more than the targets have, so that a near miss is visible. */
const ratioAtMost = (what, limit, ratio) =>
  row(what, `≤ ${limit} ×`, `${spread(ratio, 3)} ×`, ratio.median <= limit);
const ratioAtLeast = (what, limit, ratio) =>
  row(what, `≥ ${limit} ×`, `${spread(ratio, 3)} ×`, ratio.median >= limit);

/** A row for one server of run.mjs: [work, mode, name, what, figure, judge, limit]. */
function compared(tables, expected) {
  return expected.map(([work, mode, name, what, figure, judge, limit]) => {
    const table = tables.find((each) => each.work === work && each.mode === mode);
    const found = table?.rows.find((each) => each.name === name);
    if (found?.[figure] !== undefined) return judge(what, limit, found[figure]);
    const measured = found?.invalid ?? 'it is not installed';
    return { what, target: '', measured, verdict: NOT_MEASURED };
  });
}

const total = (threads) => threads.reduce((sum, { calls }) => sum + calls, 0);

/**
 * What is run, with which arguments, and how its figures become rows; in the order of the table.
 */
const TARGETS = {
  floor: {
    program: 'run.mjs',
    args: ['--only', 'raw,c,lua', '--base', 'raw', '--modes', 'plain,pipelined', ...SHORT],
    rows: (tables) =>
      compared(tables, [
        ['hello', 'plain', 'c', 'C hello against raw: CPU', 'ratio', ratioAtMost, 1.05],
        ['hello', 'plain', 'lua', 'Lua hello against raw: CPU', 'ratio', ratioAtMost, 1.06],
        ['hello', 'pipelined', 'c', 'C hello, 16 pipelined: CPU', 'ratio', ratioAtMost, 1.24],
        ['hello', 'pipelined', 'lua', 'Lua hello, 16 pipelined: CPU', 'ratio', ratioAtMost, 1.33],
      ]),
  },
  peers: {
    program: 'run.mjs',
    args: [
      ...['--work', 'hello', '--only', 'lua,nginx,node,fastify', '--base', 'lua'],
      ...['--modes', 'plain,pipelined', ...SHORT],
    ],
    rows: (tables) =>
      compared(tables, [
        ['hello', 'plain', 'nginx', 'nginx + Lua against Lua: CPU', 'ratio', ratioAtLeast, 1.12],
        [
          ...['hello', 'plain', 'nginx', 'nginx + Lua against Lua: CPU in user space', 'userRatio'],
          (what, limit, ratio) =>
            row(what, `≥ ${limit} ×`, `${ratio.toFixed(2)} ×`, ratio >= limit),
          3,
        ],
        ['hello', 'pipelined', 'nginx', 'the same, 16 pipelined: CPU', 'ratio', ratioAtLeast, 6],
        ['hello', 'plain', 'node', 'node:http against Lua: CPU', 'ratio', ratioAtLeast, 3],
        ['hello', 'plain', 'fastify', 'Fastify against Lua: CPU', 'ratio', ratioAtLeast, 3.5],
      ]),
  },
  large: {
    program: 'run.mjs',
    args: ['--work', 'large', '--only', 'lua,nginx', '--base', 'nginx', ...SHORT],
    rows: (tables) =>
      compared(tables, [
        ['large', 'plain', 'lua', '1 MiB from Lua against nginx: CPU', 'ratio', ratioAtMost, 0.9],
        ['large', 'plain', 'lua', '1 MiB from Lua against nginx: p99', 'p99Ratio', ratioAtMost, 1],
      ]),
  },
  redis: {
    program: 'run.mjs',
    args: ['--work', 'redis,redis-pooled', '--only', 'lua,nginx', '--base', 'nginx', ...SHORT],
    rows: (tables) =>
      compared(tables, [
        ...[
          ['redis', 'Redis GET, shared connection, against nginx: CPU', 0.35],
          ['redis-pooled', 'Redis GET, pooled, against nginx: CPU', 0.75],
        ].map(([work, what, limit]) => [work, 'plain', 'lua', what, 'ratio', ratioAtMost, limit]),
      ]),
  },
  dispatch: {
    program: 'dispatch.mjs',
    args: ['--only', 'worker,worker-16,burn-20,burn-100,mixed', ...SHORT],
    rows: ([{ rows }]) => {
      const of = (name) => rows.find((each) => each.name === name);
      return [
        ratioAtLeast('1 worker against inline: throughput', 0.9, of('worker').throughput),
        atMost('context switches per request through a worker', 0.05, of('worker').switches, 4),
        atMost('the same, 16 pipelined', 0.005, of('worker-16').switches, 4),
        ratioAtLeast('2 workers, handlers of 20 µs: throughput', 1.5, of('burn-20').throughput),
        ratioAtLeast('2 workers, handlers of 100 µs: throughput', 1.85, of('burn-100').throughput),
        ratioAtMost('1 % burn 10 ms: p99 of the others', 3, of('mixed-auto').p99),
      ];
    },
  },
  syscalls: {
    program: 'syscalls.mjs',
    rows: ([figures]) => [atMost('system calls per request', 2.1, figures.total, 4)],
  },
  allocations: {
    program: 'allocations.mjs',
    // wrk's new connections may allocate.
    rows: ([{ requests, threads }]) => [
      atMost('allocations per request', 0.0001, total(threads) / requests, 6),
    ],
  },
  instructions: {
    program: 'instructions.mjs',
    args: ['--only', 'c,hello'],
    rows: ([{ rows }]) => {
      const [c, lua] = ['c', 'hello'].map((name) => rows.find((each) => each.name === name));
      return [
        atMost('user-space instructions per request, 16 pipelined, C', 2000, c.pipelined),
        atMost('the same, Lua', 2250, lua.pipelined),
        atMost('of them for Lua', 300, lua.pipelined - c.pipelined),
      ];
    },
  },
  idle: {
    program: 'idle.mjs',
    rows: ([{ idle, memory, throughput }]) => [
      atMost(`memory of each of ${idle} idle connections`, 256, memory.residentBytes, 0, ' bytes'),
      ratioAtLeast('64 active ones beside them: throughput', 0.95, throughput),
    ],
  },
  start: {
    program: 'start.mjs',
    rows: ([{ medianMs, memory }]) => [
      atMost('start to first response', 400, medianMs, 0, ' ms'),
      atMost('private memory of a reactor', 15, memory.loaded.private / 1024 ** 2, 1, ' MiB'),
    ],
  },
  reload: {
    program: 'reload.mjs',
    rows: ([{ rows }]) =>
      rows.flatMap(({ load, asked, requests, invalid, ratio }) => [
        row(`${asked} reloads, ${load}: failed`, '0', invalid ?? `0 of ${requests}`, !invalid),
        ratioAtMost(`p99 during reloads, ${load}`, 2, ratio),
      ]),
  },
  postgres: {
    program: 'postgres.mjs',
    args: SHORT,
    rows: ([{ rows }]) => [
      ratioAtMost('a row of PostgreSQL against node pg: CPU', 0.5, rows.at(-1).ratio),
    ],
  },
};

function measure({ program, args = [], rows }) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(BENCH, program), ...args, '--json'],
    { encoding: 'utf8', timeout: TIMEOUT_MS, killSignal: 'SIGINT', maxBuffer: 2 ** 24 },
  );
  if (status !== 0) {
    const measured = stderr.trim().split('\n').at(-1) ?? 'it took too long';
    return [{ what: program, target: '', measured, verdict: NOT_MEASURED }];
  }
  const tables = stdout.trim().split('\n');
  return rows(tables.map((line) => JSON.parse(line)));
}

/** What a reader must know about the machine. */
function describeMachine() {
  const [{ model }] = cpus();
  const [load] = loadavg();
  return (
    `${cpus().length} × ${model.trim()}, Linux ${release()}, ` +
    `Node ${process.versions.node}, load average ${load.toFixed(2)}` +
    `${load > 0.5 ? ': the machine is NOT quiet' : ''}`
  );
}

async function main() {
  const { values } = readOptions({ only: '' });
  const machine = describeMachine();
  const rows = [];
  for (const name of choose(values.only, Object.keys(TARGETS))) {
    process.stderr.write(`${name} …\n`);
    rows.push(...measure(TARGETS[name]));
  }
  if (values.json) console.log(JSON.stringify({ machine, rows }));
  else {
    console.log(`${machine}\n\n| what | target | measured | |\n|---|---|---|---|`);
    for (const { what, target, measured, verdict } of rows) {
      console.log(`| ${what} | ${target} | ${measured} | ${verdict} |`);
    }
  }
  process.exitCode = rows.every(({ verdict }) => verdict === MET) ? 0 : 1;
}

await runMain(main);
