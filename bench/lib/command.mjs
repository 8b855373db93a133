// Command lines, CPU pinning, and the arithmetic of the figures.
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const BENCH = join(ROOT, 'bench');

export function hasProgram(name) {
  return spawnSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' }).status === 0;
}

export function requirePrograms(...names) {
  const missing = names.filter((name) => !hasProgram(name));
  if (missing.length > 0) throw new Error(`Not installed: ${missing.join(', ')}.`);
}

/** Pinning needs two cores and taskset; without it the figures mix server and load generator. */
export const canPin = hasProgram('taskset') && availableParallelism() > 1;

/** The command line on one core: 0 for the server, 1 for the load generator. */
export function pinned(core, command) {
  return canPin ? ['taskset', '-c', String(core), ...command] : command;
}

/**
 * Options with their defaults, all of them text but --json: { values, positionals }.
 *
 * @param {Record<string, string>} defaults
 */
export function readOptions(defaults) {
  const options = Object.entries(defaults).map(([name, value]) => [
    name,
    { type: 'string', default: value },
  ]);
  return parseArgs({
    allowPositionals: true,
    options: { ...Object.fromEntries(options), json: { type: 'boolean', default: false } },
  });
}

/** The items of `a,b,c`; each must be in `known`, and an empty text means all of them. */
export function choose(text, known) {
  const names = text.split(',').filter(Boolean);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new Error(`There is no ${unknown.join(', ')}. There are: ${known.join(', ')}.`);
  }
  return names.length === 0 ? known : names;
}

/** Runs the program; an error is printed without a stack. */
export async function runMain(main) {
  try {
    await main();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}

/**
 * The order of round `round`, rotated so that none is always first, or always after the same one.
 */
export function inTurn(items, round) {
  const at = round % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}

export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Median, minimum and maximum of the ratios of each round to the same round of `base`. */
export function ratios(rounds, base, value) {
  const all = rounds.map((round, i) => value(round) / value(base[i]));
  return { median: median(all), lowest: Math.min(...all), highest: Math.max(...all) };
}

/** `1.05 (0.98-1.11)` */
export function spread({ median: middle, lowest, highest }, digits = 2) {
  return `${middle.toFixed(digits)} (${lowest.toFixed(digits)}-${highest.toFixed(digits)})`;
}

/** Medians, and ratios of CPU time per round to `base`. */
export function summarise(name, rounds, base) {
  const { invalid } = rounds.at(-1);
  if (invalid) return { name, invalid };
  const row = { name };
  const keys = ['userMicros', 'systemMicros', 'cpuMicros', 'requestsPerSecond', 'p50Ms', 'p99Ms'];
  for (const key of keys) {
    if (key in rounds[0]) row[key] = median(rounds.map((round) => round[key]));
  }
  if (base && !base.at(-1).invalid) {
    row.ratio = ratios(rounds, base, (round) => round.cpuMicros);
    row.p99Ratio = ratios(rounds, base, (round) => round.p99Ms);
    // The kernel samples the split, so a single round means little.
    const sum = (all) => all.reduce((total, { userMicros }) => total + userMicros, 0);
    row.userRatio = sum(rounds) / sum(base);
  }
  return row;
}
