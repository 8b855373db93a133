import { mkdirSync } from 'node:fs';

import { concludeChecks, newVerdict } from './check-list.mjs';
import { whyNoRoot } from './debian-root.mjs';
import { runMain } from './setup-error.mjs';

/**
 * The main program of a check that needs a Debian root: says so where none can be made, else makes
 * the directory that it works in, runs it and prints the verdict.
 *
 * @param {string} work
 * @param {(verdict: import('./check-list.mjs').Verdict) => Promise<void>} check
 */
export function runRootCheck(work, check) {
  return runMain(async () => {
    const reason = await whyNoRoot();
    if (reason !== null) {
      process.stdout.write(`skipped: ${reason}\n`);
      return;
    }
    mkdirSync(work, { recursive: true });
    const verdict = newVerdict();
    await check(verdict);
    concludeChecks(verdict);
  });
}
