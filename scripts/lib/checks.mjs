import { runMain, SetupError } from './setup-error.mjs';

/** The checks cannot run on this machine; the message says why. */
export class Skipped extends SetupError {}

/**
 * Runs the main program of a check script. `body` gets `check(name, run)`, which prints a line for
 * each check, with the value returned by `run`, and continues after a failure. The last line is for
 * run-tests.mjs.
 *
 * @param {(check: (name: string, run: () => unknown) => Promise<void>) => Promise<void>} body
 */
export function runChecks(body) {
  return runMain(async () => {
    let passed = 0;
    let failed = 0;
    const check = async (name, run) => {
      try {
        const note = await run();
        passed += 1;
        process.stdout.write(`ok      ${name}${note ? ` (${note})` : ''}\n`);
      } catch (error) {
        failed += 1;
        process.stdout.write(`FAILED  ${name}\n${error.message}\n`);
      }
    };
    try {
      await body(check);
    } catch (error) {
      if (!(error instanceof Skipped)) throw error;
      process.stdout.write(`skipped: ${error.message}\n`);
      return;
    }
    process.stdout.write(`${passed} checks passed, ${failed} failed\n`);
    process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
  });
}

/** Throws with what was seen unless the condition holds. */
export function expect(condition, seen) {
  if (!condition) throw new Error(seen);
}

/** Calls `probe` until it returns something true; fails with `what` after `seconds`. */
export async function until(what, probe, seconds = 60) {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`after ${seconds} s still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
