import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { say } from './progress.mjs';
import { root } from './root.mjs';
import { must } from './run-command.mjs';

/**
 * Builds one preset of CMakePresets.json. Ninja does what has changed and nothing else, so no stamp
 * is kept here.
 *
 * @param {'release' | 'debug' | 'asan' | 'tsan'} preset
 * @param {string[]} [targets] all of them when left out
 */
export async function buildNative(preset, targets = []) {
  const directory = join(root, 'build', preset);
  dropForeignCache(directory);
  if (!existsSync(join(directory, 'build.ninja'))) {
    say(`building the native ${preset} preset`);
    await must('cmake', ['--preset', preset]);
  }
  const choice = targets.length > 0 ? ['--target', ...targets] : [];
  await must('cmake', ['--build', directory, ...choice]);
}

/**
 * A build directory remembers absolute paths: after the tree was moved or copied, it has to be made
 * anew.
 */
function dropForeignCache(directory) {
  let cache = '';
  try {
    cache = readFileSync(join(directory, 'CMakeCache.txt'), 'utf8');
  } catch {
    return;
  }
  if (cache.includes(`\nCMAKE_HOME_DIRECTORY:INTERNAL=${root}\n`)) return;
  rmSync(directory, { recursive: true });
}
