// The table that bench/run.mjs prints for one mode.
import { DEPTHS } from './comparison.mjs';
import { spread } from './statistics.mjs';

const NAME_WIDTH = 17;

function fixed(value, digits) {
  return value === undefined || Number.isNaN(value) ? '-' : value.toFixed(digits);
}

/** The title of each column, its width, and how a row fills it. */
function columns(mode, base) {
  const digits = mode === 'pipelined' ? 3 : 2;
  const paced = mode === 'paced';
  return [
    ['user µs', 9, (row) => fixed(row.userMicros, digits)],
    ['sys µs', 9, (row) => fixed(row.systemMicros, digits)],
    ['total µs', 10, (row) => fixed(row.cpuMicros, digits)],
    [`× ${base}`, base.length + 19, (row) => (row.ratio ? spread(row.ratio) : '-')],
    ...(paced ? [] : [['req/s', 10, (row) => fixed(row.requestsPerSecond, 0)]]),
    ['p50 ms', 9, (row) => fixed(row.p50Ms, 3)],
    ['p99 ms', 9, (row) => fixed(row.p99Ms, 3)],
    ...(paced ? [['p99.9 ms', 10, (row) => fixed(row.p999Ms, 3)]] : []),
    ['bytes', 7, (row) => String(row.answerBytes ?? '-')],
  ];
}

function heading(mode, { connections, rate }) {
  const how = mode === 'paced' ? `${rate} requests a second` : `${DEPTHS[mode]} request(s) a write`;
  return `\n${mode}: ${connections} connections, ${how}`;
}

export function printTable(mode, rows, options) {
  const all = columns(mode, options.base);
  console.log(heading(mode, options));
  const titles = all.map(([title, width]) => title.padStart(width)).join('');
  console.log('contender'.padEnd(NAME_WIDTH) + titles);
  for (const row of rows) {
    const cells = row.invalid
      ? `  not valid: ${row.invalid}`
      : all.map(([, width, cell]) => cell(row).padStart(width)).join('');
    console.log(row.name.padEnd(NAME_WIDTH) + cells);
  }
}
