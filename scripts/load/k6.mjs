import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../lib/root.mjs';
import { SetupError } from '../lib/setup-error.mjs';
import { hasCommand } from '../lib/system-needs.mjs';

/** Where scripts/install-k6.sh installs it. */
const installed = join(root, 'build', 'k6', 'k6');

/** k6's exit codes, and ours for a run in which the generator was the limit. */
export const exitCodes = {
  passed: 0,
  invalid: 3,
  thresholds: 99,
};

const meanings = new Map([
  [0, 'passed'],
  [exitCodes.invalid, 'invalid: the generator was at its limit'],
  [99, 'failed: a threshold was crossed'],
  [104, 'broken: the configuration of the run is invalid'],
  [105, 'broken off from outside'],
  [107, 'broken: the script raised an exception'],
  [108, 'broken off by the script itself'],
  [109, 'broken: k6 panicked'],
]);

export function meaningOf(code) {
  return meanings.get(code) ?? `broken: k6 ended with ${code}`;
}

/** The k6 to use: the one named by LOAD_K6, the one on the PATH, or the one installed here. */
export function findK6() {
  if (process.env.LOAD_K6) return process.env.LOAD_K6;
  if (hasCommand('k6')) return 'k6';
  if (existsSync(installed)) return installed;
  throw new SetupError(
    'k6 is missing. Install k6 2.x with your package manager and put it on the PATH, or, where Go ' +
      'is, run scripts/install-k6.sh. k6 is a program of its own under the AGPL; nothing of it is ' +
      'part of this package.',
  );
}

/**
 * Runs a script of load/. Its output goes to the terminal.
 *
 * @param {string} k6
 * @param {string} script path from the root
 * @param {Record<string, string | number>} settings become __ENV
 * @returns {{ exited: Promise<number>, stop: () => void }}
 */
export function runK6(k6, script, settings) {
  const pairs = Object.entries(settings).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
  const args = ['run', '--quiet', '--new-machine-readable-summary=false', ...pairs, script];
  // Otherwise k6 reports every run to its makers.
  const env = { ...process.env, K6_NO_USAGE_REPORT: 'true' };
  const child = spawn(k6, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] });
  const exited = new Promise((resolve, reject) => {
    child.on('error', (error) => reject(new SetupError(`k6 does not start: ${error.message}`)));
    child.on('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 105)));
  });
  return { exited, stop: () => child.kill('SIGINT') };
}
