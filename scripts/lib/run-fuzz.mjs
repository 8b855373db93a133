import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { hasCommand } from './find-file.mjs';
import { buildNative } from './native-build.mjs';
import { root } from './root.mjs';
import { capture, must } from './run-command.mjs';

const programs = 'build/fuzz/test/fuzz/native';
const corpus = 'build/fuzz/corpus';

/**
 * Runs libFuzzer for a while: from the regressions and the requests of the wire documents on. The
 * corpus stays in the build directory, so that the next run begins where this one ended.
 *
 * @param {number} seconds
 */
export async function runFuzz(seconds) {
  const missing = await whyNot();
  if (missing) return { passed: 0, failed: 0, output: '', skipped: missing };
  await buildNative('fuzz');
  mkdirSync(join(root, corpus), { recursive: true });
  await must(join(root, programs, 'write_seeds'), ['test/wire', corpus]);
  const { code, output } = await capture(join(root, programs, 'fuzz_conn'), [
    '-dict=test/fuzz/http.dict',
    '-max_len=4096',
    '-verbosity=0',
    '-print_final_stats=1',
    `-max_total_time=${seconds}`,
    '-artifact_prefix=build/fuzz/finding-',
    corpus,
    'test/fuzz/regression',
  ]);
  return { passed: Number(code === 0), failed: Number(code !== 0), output };
}

async function whyNot() {
  if (!hasCommand('clang')) return 'clang is not installed';
  const { code, stdout } = await capture('clang', ['-print-runtime-dir']);
  const directory = stdout.trim();
  const has = code === 0 && existsSync(directory) && readdirSync(directory).some(isLibFuzzer);
  return has ? null : 'this clang has no libFuzzer';
}

function isLibFuzzer(name) {
  return /^libclang_rt\.fuzzer[-\w.]*\.a$/.test(name);
}
