/*
 * npm test: sets everything up and runs the suites.
 *
 *     npm test                  the default suites
 *     npm test -- unit e2e      only these
 *     npm test -- all           also those that repeat others in another environment
 *
 * Each suite prints one line, a failing one its output first. The last line counts single tests.
 */
import { runMain, SetupError } from './lib/setup-error.mjs';
import { setUpServer, setUpTests } from './setup.mjs';
import { repeats, suites, withoutServer } from './suites.mjs';

const all = { ...suites, ...repeats };

await runMain(async () => {
  const chosen = chooseSuites(process.argv.slice(2));
  await setUpTests();
  if (chosen.some((name) => !withoutServer.includes(name))) await setUpServer();
  let passed = 0;
  let failed = 0;
  for (const name of chosen) {
    const result = await runSuite(name);
    passed += result.passed;
    failed += result.failed;
  }
  process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
  process.exitCode = failed > 0 ? 1 : 0;
});

function chooseSuites(names) {
  if (names.length === 0) return Object.keys(suites);
  if (names.includes('all')) return Object.keys(all);
  const unknown = names.find((name) => !Object.hasOwn(all, name));
  if (unknown === undefined) return names;
  const known = Object.keys(all).join(', ');
  throw new SetupError(`there is no test suite "${unknown}"; there are: ${known}, all.`);
}

async function runSuite(name) {
  const started = performance.now();
  const result = await all[name]().catch((error) => {
    if (!(error instanceof SetupError)) throw error;
    return { passed: 0, failed: 1, output: error.message };
  });
  // A suite that finds nothing to run proves nothing.
  if (result.passed + result.failed === 0 && !result.skipped) {
    result.failed = 1;
    result.output += '\nThis suite ran no test.\n';
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (result.failed > 0) process.stdout.write(`${result.output.trimEnd()}\n`);
  const verdict = result.failed > 0 ? 'FAILED' : result.skipped ? 'skipped' : 'ok';
  const counts = `${result.passed} of ${result.passed + result.failed}`;
  process.stdout.write(
    `${verdict.padEnd(8)}${name.padEnd(13)}${counts.padStart(11)}${seconds.padStart(8)} s` +
      `${result.skipped ? `  ${result.skipped}` : ''}\n`,
  );
  return result;
}
