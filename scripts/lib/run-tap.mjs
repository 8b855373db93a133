import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { root } from './root.mjs';
import { capture } from './run-command.mjs';

/**
 * Runs every *.test.ts below `directory`.
 *
 * @param {string} directory relative to the root
 * @param {number} jobs how many files at a time
 * @param {Parameters<typeof runTapFiles>[2]} [options]
 */
export async function runTap(directory, jobs, options) {
  const files = testFiles(directory);
  if (files.length === 0) return { passed: 0, failed: 0, output: `no test files in ${directory}` };
  return runTapFiles(files, jobs, options);
}

/**
 * @param {string[]} files relative to the root
 * @param {number} jobs how many at a time
 * @param {{ env?: Record<string, string>, timeoutSeconds?: number }} [options]
 */
export async function runTapFiles(files, jobs, { env, timeoutSeconds } = {}) {
  const { code, output } = await capture(
    process.execPath,
    [
      join(root, 'node_modules/tap/dist/esm/run.mjs'),
      'run',
      '--reporter=terse',
      `--jobs=${jobs}`,
      ...(timeoutSeconds === undefined ? [] : [`--timeout=${timeoutSeconds}`]),
      ...files,
    ],
    { env },
  );
  return countTap(output, code);
}

/** tap closes with "# { total: 6, pass: 4, fail: 1, skip: 1 }"; zeros are left out. */
export function countTap(text, code) {
  const closing = [...text.matchAll(/^# \{ (total: .*?) \}$/gm)].at(-1)?.[1] ?? '';
  const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(closing)?.[1] ?? 0);
  const failed = count('fail');
  return {
    passed: count('pass'),
    failed: code !== 0 && failed === 0 ? 1 : failed,
    output: withoutProgress(text),
  };
}

/**
 * The reporter redraws its counters until the end, where it shows the cursor again; only what
 * follows is of use.
 */
function withoutProgress(text) {
  const controlSequence = `${String.fromCharCode(27)}[`;
  const start = text.lastIndexOf(`${controlSequence}?25h`);
  return text
    .slice(Math.max(start, 0))
    .split(controlSequence)
    .map((part, index) => (index === 0 ? part : part.replace(/^[0-9;?]*[A-Za-z]/, '')))
    .join('');
}

function testFiles(directory) {
  if (!existsSync(join(root, directory))) return [];
  return readdirSync(join(root, directory), { recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(directory, name))
    .sort();
}
