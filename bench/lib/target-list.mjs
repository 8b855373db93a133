// The targets, by the program that measures them: its arguments, and how its figures become rows
// { what, target, measured, verdict }. Verdicts: MET, MISSED, NOT_MEASURED, '' for a figure without
// a target.
import { spread } from './statistics.mjs';

const SHORT = ['--rounds', '4', '--seconds', '2'];
const RELOADS = 20;
const MIB = 1024 * 1024;
/** The connections that wrk opens may allocate; see bench/README.md. */
const NO_ALLOCATION = 0.0001;

export const MET = 'met';
export const MISSED = '**missed**';
export const NOT_MEASURED = 'not measured';

const judge = (isMet) => (isMet ? MET : MISSED);

export function notMeasured(what, why) {
  return { what, target: '', measured: why, verdict: NOT_MEASURED };
}

function atMost(what, limit, value, measured, unit = '') {
  return { what, target: `≤ ${limit}${unit}`, measured, verdict: judge(value <= limit) };
}

/** A digit more than the targets have, so that a near miss looks like one. */
const ratioText = (ratio) => `${spread(ratio, 3)} ×`;

function ratioAtMost(what, limit, ratio) {
  return atMost(what, limit, ratio.median, ratioText(ratio), ' ×');
}

function ratioAtLeast(what, limit, ratio) {
  const verdict = judge(ratio.median >= limit);
  return { what, target: `≥ ${limit} ×`, measured: ratioText(ratio), verdict };
}

/** Rows for one contender of a run of run.mjs; one that says why, if it has no figures. */
function ofContender(results, mode, name, rows) {
  const row = results.find((one) => one.mode === mode).rows.find((one) => one.name === name);
  if (row?.ratio) return rows(row);
  const why = row ? `${row.invalid ?? 'the base has no figures'}` : 'it is not installed';
  return [notMeasured(`${name}, ${mode}`, why)];
}

function floorRows(results) {
  const cpu = (mode, name, what, limit) =>
    ofContender(results, mode, name, (row) => [ratioAtMost(what, limit, row.ratio)]);
  return [
    ...cpu('plain', 'moonring-c', 'C hello against raw: CPU', 1.05),
    ...cpu('plain', 'moonring-hello', 'Lua hello against raw: CPU', 1.06),
    ...cpu('plain', 'moonring-app', 'Lua app against raw: CPU', 1.2),
    ...cpu('pipelined', 'moonring-c', 'C hello, 16 pipelined, against raw: CPU', 1.24),
    ...cpu('pipelined', 'moonring-hello', 'Lua hello, 16 pipelined, against raw: CPU', 1.33),
  ];
}

function userRow(what, limit, ratio) {
  if (ratio === undefined) return notMeasured(what, 'Lua hello spent none that the kernel saw');
  const verdict = judge(ratio >= limit);
  return { what, target: `≥ ${limit} ×`, measured: `${ratio.toFixed(3)} × in all rounds`, verdict };
}

function peerRows(results) {
  const of = (mode, name, rows) => ofContender(results, mode, name, rows);
  return [
    ...of('plain', 'nginx-lua-hello', ({ ratio, userRatio }) => [
      ratioAtLeast('nginx + Lua against Lua hello: CPU', 1.12, ratio),
      userRow('nginx + Lua against Lua hello: CPU in user space', 3, userRatio),
    ]),
    ...of('pipelined', 'nginx-lua-hello', ({ ratio }) => [
      ratioAtLeast('nginx + Lua against Lua hello, 16 pipelined: CPU', 6, ratio),
    ]),
    ...of('plain', 'node-http', ({ ratio }) => [
      ratioAtLeast('node:http against Lua hello: CPU', 3, ratio),
    ]),
    ...of('plain', 'fastify-hello', ({ ratio }) => [
      ratioAtLeast('Fastify against Lua hello: CPU', 3.5, ratio),
    ]),
  ];
}

function dispatchRows([{ rows }]) {
  const find = (name) => rows.find((row) => row.name === name);
  const switches = (name, what, limit) => {
    const value = find(name).variant.switches;
    return atMost(what, limit, value, value.toFixed(4));
  };
  const burn = (micros, limit) =>
    ratioAtLeast(
      `2 workers against inline, ${micros} µs handlers: throughput`,
      limit,
      find(`burn-${micros}`).throughput,
    );
  return [
    ratioAtLeast('1 worker against inline: throughput', 0.9, find('worker').throughput),
    switches('worker', 'context switches a request through a worker', 0.05),
    switches('worker-16', 'the same, 16 pipelined', 0.005),
    burn(20, 1.5),
    burn(100, 1.85),
  ];
}

function mixedRows([{ rows }]) {
  const ratio = (way) => rows.find((row) => row.way === way).ratio;
  return [
    ratioAtMost('1 % burn 10 ms: p99 of the others against without', 3, ratio('auto')),
    {
      what: 'the same with --dispatch inline, the price',
      target: '',
      measured: ratioText(ratio('inline')),
      verdict: '',
    },
  ];
}

function instructionRows([{ how, rows }]) {
  const plain = (name) => rows.find((row) => row.name === name).plain;
  const row = (what, limit, value) => atMost(`${what} (${how})`, limit, value, value.toFixed(0));
  return [
    row('user-space instructions a request, C hello', 1100, plain('c')),
    row('user-space instructions a request, Lua hello', 1500, plain('hello')),
    row('of them for Lua', 500, plain('hello') - plain('c')),
  ];
}

function allocationRows([{ requests, threads }]) {
  const value = threads.reduce((sum, { calls }) => sum + calls, 0) / requests;
  const verdict = judge(value <= NO_ALLOCATION);
  return [{ what: 'allocations a request', target: '0', measured: value.toFixed(6), verdict }];
}

function idleRows([{ idle, memory, throughput }]) {
  const bytes = memory.residentBytes;
  return [
    atMost(`memory of each of ${idle} idle connections`, 256, bytes, bytes.toFixed(0), ' bytes'),
    ratioAtLeast('64 active ones beside them against alone: throughput', 0.95, throughput),
  ];
}

function startRows([{ medianMs, memory }]) {
  const mib = memory.loaded.private / MIB;
  return [
    atMost('start to first answer', 400, medianMs, medianMs.toFixed(0), ' ms'),
    atMost('private memory of a reactor after a load', 15, mib, mib.toFixed(1), ' MiB'),
  ];
}

function reloadRows([{ connections, rows }]) {
  return rows.flatMap(({ load, finished, asked, requests, invalid, ratio }) => [
    {
      what: `reloads under ${connections} connections, ${load}: failed requests`,
      target: `0 in ${RELOADS} reloads`,
      measured: `${invalid ?? `0 of ${requests}`} (${finished} of ${asked} reloads in time)`,
      verdict: judge(invalid === undefined && finished >= RELOADS),
    },
    ratioAtMost(`p99 during reloads against without, ${load}`, 5, ratio),
  ]);
}

/** In the order of the table. */
export const TARGETS = [
  {
    name: 'floor',
    program: 'run.mjs',
    args: ['--only', 'raw,moonring', '--modes', 'plain,pipelined', ...SHORT],
    rows: floorRows,
  },
  {
    name: 'peers',
    program: 'run.mjs',
    args: [
      ...['--only', 'moonring-hello,nginx-lua-hello,node-http,fastify-hello'],
      ...['--base', 'moonring-hello', '--modes', 'plain,pipelined', ...SHORT],
    ],
    rows: peerRows,
  },
  {
    name: 'dispatch',
    program: 'dispatch.mjs',
    args: ['--only', 'worker,worker-16,burn-20,burn-100', ...SHORT],
    rows: dispatchRows,
  },
  { name: 'mixed', program: 'mixed.mjs', args: [], rows: mixedRows },
  {
    name: 'syscalls',
    program: 'syscalls.mjs',
    args: [],
    rows: ([{ total }]) => [atMost('system calls a request', 2.1, total, total.toFixed(4))],
  },
  { name: 'allocations', program: 'allocations.mjs', args: [], rows: allocationRows },
  {
    name: 'instructions',
    program: 'instructions.mjs',
    args: ['--only', 'c,hello', '--requests', '48'],
    rows: instructionRows,
  },
  { name: 'idle', program: 'idle.mjs', args: [], rows: idleRows },
  { name: 'start', program: 'start.mjs', args: [], rows: startRows },
  { name: 'reload', program: 'reload.mjs', args: ['--seconds', '4'], rows: reloadRows },
];
