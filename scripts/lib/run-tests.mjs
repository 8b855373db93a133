import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { buildNative } from './native-build.mjs';
import { root } from './root.mjs';
import { capture, must } from './run-command.mjs';

/*
 * Runs the test tools and counts the results. Every function resolves to { passed, failed, output,
 * skipped? };
 * `output` is only for failures, `skipped` is the reason why nothing was run.
 */

const skipped = (reason) => ({ passed: 0, failed: 0, output: '', skipped: reason });

/**
 * A program that checks the tree. It counts as one test, unless it prints how many checks it made
 * ("12 checks passed, 1 failed") or that it cannot run here ("skipped: why").
 */
export async function runChecker(...args) {
  const { code, output } = await capture(process.execPath, args);
  const reason = /^skipped: (.*)$/m.exec(output)?.[1];
  if (code === 0 && reason) return skipped(reason);
  const counts = /^(\d+) checks passed, (\d+) failed$/m.exec(output);
  const passed = counts ? Number(counts[1]) : Number(code === 0);
  const failed = counts ? Number(counts[2]) : 0;
  return { passed, failed: Math.max(failed, Number(code !== 0)), output };
}

/** Builds a preset and runs its C tests. */
export async function runCtest(preset) {
  await buildNative(preset);
  const how = ['-V', '--parallel', '2', '--timeout', '300'];
  const args = ['--test-dir', join(root, 'build', preset), ...how];
  const { code, output } = await capture('ctest', args, { env: { CMOCKA_MESSAGE_OUTPUT: 'TAP' } });
  return countCtest(output, code);
}

/**
 * Counts the cases that `ctest -V` prints in TAP. A program without cases is one test; one that
 * fails without a failed case (crash, sanitizer report, timeout) is one failure.
 */
export function countCtest(text, code) {
  let passed = 0;
  let failed = 0;
  const output = [];
  for (const [end, number, verdict] of text.matchAll(/^ *\d+\/\d+ Test +#(\d+): \S+ \.*(.*)$/gm)) {
    const lines = [...text.matchAll(new RegExp(`^${number}: .*$`, 'gm'))].map(([line]) => line);
    const count = (word) => lines.filter((line) => line.startsWith(`${number}: ${word} `)).length;
    const [good, bad] = [count('ok'), count('not ok')];
    const isFailure = verdict.includes('***');
    passed += isFailure ? good : Math.max(good, 1);
    failed += isFailure ? Math.max(bad, 1) : 0;
    if (isFailure) output.push(...lines, end);
  }
  if (code !== 0 && failed === 0) return { passed, failed: 1, output: text };
  return { passed, failed, output: output.join('\n') };
}

/**
 * Runs test files, or every *.test.ts of a directory, each in a separate node. (`tap run` does
 * the same, but compiles each file with tsc, which takes longer than most of the tests.)
 *
 * @param {string | string[]} what relative to the root
 * @param {number} jobs how many files at a time
 * @param {{ env?: Record<string, string>, timeoutSeconds?: number }} [options]
 */
export async function runTap(what, jobs, { env, timeoutSeconds = 300 } = {}) {
  const files = typeof what === 'string' ? testFiles(what) : what;
  const total = { passed: 0, failed: 0, output: '' };
  await inParallel(jobs, files, async (file) => {
    const { code, output } = await capture(process.execPath, ['--import=tsx', file], {
      env: { ...env, TAP_TIMEOUT: String(timeoutSeconds) },
      timeoutMs: (timeoutSeconds + 10) * 1000,
    });
    const { passed, failed } = countTap(output, code);
    total.passed += passed;
    total.failed += failed;
    const report = output.replace(/^ *ok \d.*\n/gm, '');
    if (failed > 0) total.output += `${file}:\n${report}\n`;
  });
  return total;
}

/** Runs that many at a time, in order; resolves to their results, in the same order. */
async function inParallel(jobs, items, run) {
  const results = [];
  let next = 0;
  const takeItems = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await run(items[index]);
    }
  };
  await Promise.all(Array.from({ length: jobs }, takeItems));
  return results;
}

function testFiles(directory) {
  return readdirSync(join(root, directory), { recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(directory, name))
    .sort();
}

/** tap ends with "# { total: 6, pass: 4, fail: 1, skip: 1 }"; zeros are left out. */
export function countTap(text, code) {
  const totals = [...text.matchAll(/^# \{ (total: .*?) \}$/gm)].at(-1)?.[1] ?? '';
  const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals)?.[1] ?? 0);
  return { passed: count('pass'), failed: Math.max(count('fail'), Number(code !== 0)) };
}

/**
 * libFuzzer, starting from the regressions and the wire cases, for this many seconds per fuzzer;
 * the corpus stays in the build directory.
 */
export async function runFuzz(seconds) {
  const { code, stdout } = await capture('clang', ['-print-runtime-dir']);
  const runtime = stdout.trim();
  const libraries = code === 0 && existsSync(runtime) ? readdirSync(runtime) : [];
  if (!libraries.some((name) => /^libclang_rt\.fuzzer[-\w.]*\.a$/.test(name))) {
    return skipped('clang with libFuzzer is not installed');
  }
  await buildNative('fuzz');
  const programs = join(root, 'build/fuzz/test/fuzz/native');
  const corpus = (name = '') => [`build/fuzz/corpus${name}`, `test/fuzz/regression${name}`];
  const fuzzers = {
    fuzz_parse: corpus(),
    fuzz_conn: corpus(),
    fuzz_parse_response: corpus('-responses'),
    fuzz_proxies: corpus('-proxies'),
    fuzz_accept_encoding: corpus('-accept-encoding'),
    fuzz_regex: corpus('-regex'),
    fuzz_topics: corpus('-topics'),
    fuzz_ws: corpus('-ws'),
    fuzz_ws_deflate: corpus('-ws-deflate'),
  };
  for (const [directory] of Object.values(fuzzers)) {
    mkdirSync(join(root, directory), { recursive: true });
  }
  await must(join(programs, 'write_seeds'), ['test/wire', 'build/fuzz/corpus']);
  const run = ([fuzzer, directories]) =>
    capture(join(programs, fuzzer), [
      '-dict=test/fuzz/http.dict',
      '-max_len=4096',
      '-verbosity=0',
      '-print_final_stats=1',
      `-max_total_time=${seconds}`,
      '-artifact_prefix=build/fuzz/finding-',
      ...directories,
    ]);
  const runs = await inParallel(2, Object.entries(fuzzers), run);
  const failed = runs.filter(({ code }) => code !== 0);
  return {
    passed: runs.length - failed.length,
    failed: failed.length,
    output: failed.map(({ output }) => output).join(''),
  };
}

/**
 * Runs end-to-end tests with a server whose addon is built with a sanitizer. node itself is not, so
 * it has to preload the sanitizer's runtime.
 *
 * @param {'asan' | 'tsan'} preset
 */
export async function runSanitizedServer(preset, files, jobs) {
  if (process.platform !== 'linux') return skipped('preloading the runtime is for Linux');
  const runtime = (await capture('gcc', [`-print-file-name=lib${preset}.so`])).stdout.trim();
  if (!runtime.startsWith('/')) return skipped(`gcc has no lib${preset}`);
  await buildNative(preset, ['moonring']);
  const reports = join(root, 'build', preset, 'reports');
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports);
  const tsan = `log_path=${reports}/of exitcode=0 atexit_sleep_ms=0 report_thread_leaks=0`;
  const env = {
    MOONRING_ADDON: join(root, 'build', preset, 'moonring.node'),
    MOONRING_TEST_PRELOAD: runtime,
    // node leaks memory when it exits; the C suites check for our leaks.
    ASAN_OPTIONS: 'detect_leaks=0',
    // The I/O thread of a drained reactor has finished, but is not joined at exit.
    TSAN_OPTIONS: tsan,
  };
  const result = await runTap(files, jobs, { env });
  const races = readdirSync(reports)
    .flatMap((name) => readFileSync(join(reports, name), 'utf8').split('='.repeat(18)))
    .filter(isRaceOfAddon);
  return {
    passed: result.passed,
    failed: result.failed + races.length,
    output: [result.output, ...races].join('\n'),
  };
}

/** node is not built with TSan, so much of what it does is reported as a race. */
function isRaceOfAddon(text) {
  const summary = /^SUMMARY: .*$/m.exec(text)?.[0] ?? '';
  const isInNode = summary.includes(`${process.execPath}+`) || summary.includes('/deps/uv/');
  return text.includes('moonring.node') && !isInNode;
}
