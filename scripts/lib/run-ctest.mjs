import { join } from 'node:path';

import { buildNative } from './native-build.mjs';
import { root } from './root.mjs';
import { capture } from './run-command.mjs';

/**
 * Builds a preset and runs its C tests.
 *
 * @param {'release' | 'debug' | 'asan' | 'tsan'} preset
 */
export async function runCtest(preset) {
  await buildNative(preset);
  const { code, output } = await capture('ctest', [
    '--test-dir',
    join(root, 'build', preset),
    '-V',
  ]);
  const result = countCtest(output);
  if (code !== 0 && result.failed === 0) return { ...result, failed: 1, output };
  return result;
}

/**
 * Counts the single cmocka cases in what `ctest -V` prints. A program that ends badly without a
 * failed case (a crash, a sanitizer report, a time-out) counts as one failure; one that is no
 * cmocka program counts as one test.
 *
 * @param {string} text
 * @returns {{ passed: number, failed: number, output: string }} `output` keeps only what failing
 *   programs printed
 */
export function countCtest(text) {
  const programs = new Map();
  const program = (number) => {
    if (!programs.has(number)) programs.set(number, { passed: 0, failed: 0, cases: 0, lines: [] });
    return programs.get(number);
  };
  let passed = 0;
  let failed = 0;
  const output = [];
  for (const line of text.split('\n')) {
    const said = /^(\d+): (.*)$/.exec(line);
    if (said) {
      const current = program(said[1]);
      current.lines.push(line);
      countCase(current, said[2]);
      continue;
    }
    const end = /^ *\d+\/\d+ Test +#(\d+): (\S+) \.*( *\*\*\*.*| +Passed.*)$/.exec(line);
    if (!end) continue;
    const current = program(end[1]);
    const good = end[3].includes('Passed');
    passed += current.cases === 0 && good ? 1 : current.passed;
    failed += good ? current.failed : Math.max(current.failed, 1);
    if (!good) output.push(...current.lines, line);
  }
  return { passed, failed, output: output.join('\n') };
}

function countCase(program, line) {
  const summary = /^\[ {2}(PASSED|FAILED) {2}\] (?:tests: )?(\d+) test\(s\)/.exec(line);
  if (!summary) return;
  program.cases += Number(summary[2]);
  if (summary[1] === 'PASSED') program.passed += Number(summary[2]);
  else program.failed += Number(summary[2]);
}
