// Runs every program that measures a target and prints one table in Markdown. See bench/README.md.
//
//   node bench/targets.mjs [--only floor,peers,dispatch,mixed,syscalls,allocations,instructions,
//     idle,start,reload] [--json]
//
// Exit code 1: a target is missed or was not measured.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { choose, list, runMain } from './lib/arguments.mjs';
import { describeMachine } from './lib/machine.mjs';
import { BENCH } from './lib/programs.mjs';
import { MISSED, NOT_MEASURED, notMeasured, TARGETS } from './lib/target-list.mjs';

const TIMEOUT_MS = 180_000;

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
  },
});

// A program and the servers that it started are one process group, which ends as a whole.
function startGroup(program, args) {
  const child = spawn(process.execPath, [join(BENCH, program), ...args, '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const interrupt = () => process.kill(-child.pid, 'SIGINT');
  return { child, interrupt };
}

// What a program prints with --json: a line, or one for each mode.
async function figuresOf({ program, args }) {
  const { child, interrupt } = startGroup(program, args);
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) {
    child[name].on('data', (chunk) => {
      output[name] += chunk;
    });
  }
  const stop = () => {
    interrupt();
    process.exit(1);
  };
  process.once('SIGINT', stop);
  const timer = setTimeout(interrupt, TIMEOUT_MS);
  const [code, signal] = await once(child, 'close');
  clearTimeout(timer);
  process.off('SIGINT', stop);
  if (code !== 0) {
    const last = output.stderr.trim().split('\n').at(-1);
    throw new Error(signal ? `it took more than ${TIMEOUT_MS / 1000} s` : last);
  }
  return output.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

async function measureTarget(target) {
  try {
    return target.rows(await figuresOf(target));
  } catch (error) {
    return [notMeasured(target.name, error.message)];
  }
}

function print(rows) {
  console.log('| what | target | measured | |\n|---|---|---|---|');
  for (const row of rows) {
    console.log(`| ${row.what} | ${row.target} | ${row.measured} | ${row.verdict} |`);
  }
}

async function main() {
  const machine = describeMachine();
  const rows = [];
  for (const target of choose(TARGETS, list(options.only))) {
    process.stderr.write(`${target.name} …\n`);
    rows.push(...(await measureTarget(target)));
  }
  if (options.json) {
    console.log(JSON.stringify({ machine, rows }));
  } else {
    console.log(`${machine}\n`);
    print(rows);
  }
  const failed = rows.some((row) => [NOT_MEASURED, MISSED].includes(row.verdict));
  process.exitCode = failed ? 1 : 0;
}

await runMain(main);
