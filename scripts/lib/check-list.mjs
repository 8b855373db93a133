/**
 * What has to be true, one after the other. `run` throws an Error that says what was seen instead;
 * what it returns, if anything, is printed behind the name (a measured time, say).
 *
 * @template Context
 * @typedef {{ name: string, run: (context: Context) => unknown, patienceMs?: number }} Check
 * @typedef {{ passed: number, failed: number }} Verdict
 */

const usualPatienceMs = 30_000;

/** @returns {Verdict} */
export function newVerdict() {
  return { passed: 0, failed: 0 };
}

/** Runs all of them, whatever becomes of the earlier ones; a line each on stdout. */
export async function runChecks(verdict, checks, context) {
  for (const { name, run, patienceMs = usualPatienceMs } of checks) {
    try {
      const note = await inTime(run(context), patienceMs);
      verdict.passed += 1;
      process.stdout.write(`ok      ${name}${note ? ` (${note})` : ''}\n`);
    } catch (error) {
      verdict.failed += 1;
      process.stdout.write(`FAILED  ${name}\n${error.message}\n`);
    }
  }
}

/** The last line, which scripts/lib/run-checker.mjs counts by, and the exit code. */
export function concludeChecks({ passed, failed }) {
  process.stdout.write(`${passed} checks passed, ${failed} failed\n`);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
}

/** Something that does not end must not hold up the verdict on it. */
async function inTime(check, patienceMs) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('it never came to an end')), patienceMs);
  });
  return Promise.race([check, late]).finally(() => clearTimeout(timer));
}

/** Throws what was seen unless the condition holds. */
export function expect(condition, seen) {
  if (!condition) throw new Error(seen);
}
