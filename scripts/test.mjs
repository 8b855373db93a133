/*
 * npm test: sets everything up and runs the suites, all of them or those named on the command line:
 *
 *     npm test -- unit e2e
 *
 * Each suite prints one line, a failing one its output first. The last line counts the single tests
 * of all suites.
 */
import { runMain, SetupError } from './lib/setup-error.mjs';
import { setUpTests } from './setup.mjs';
import { suites } from './suites.mjs';

await runMain(async () => {
  const chosen = chooseSuites(process.argv.slice(2));
  await setUpTests();
  let passed = 0;
  let failed = 0;
  for (const suite of chosen) {
    const result = await runSuite(suite);
    passed += result.passed;
    failed += result.failed;
  }
  process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
  process.exitCode = failed > 0 ? 1 : 0;
});

function chooseSuites(names) {
  if (names.length === 0) return suites.filter((suite) => !suite.onlyByName);
  return names.map((name) => {
    const suite = suites.find((candidate) => candidate.name === name);
    if (suite) return suite;
    const known = suites.map((candidate) => candidate.name).join(', ');
    throw new SetupError(`there is no test suite "${name}"; there are: ${known}.`);
  });
}

async function runSuite(suite) {
  const started = performance.now();
  const result = await suite.run().catch((error) => {
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
  const total = result.passed + result.failed;
  const counts = `${result.passed} of ${total}`;
  process.stdout.write(
    `${verdict.padEnd(8)}${suite.name.padEnd(13)}${counts.padStart(11)}${seconds.padStart(8)} s` +
      `${result.skipped ? `  ${result.skipped}` : ''}\n`,
  );
  return result;
}
