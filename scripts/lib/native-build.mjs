import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { say } from './progress.mjs';
import { isClone, root } from './root.mjs';
import { must } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';

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
    // The preset is as strict as our own CI; somebody else's CI has a compiler that we do not know.
    const settings = isClone ? [] : ['-DMOONRING_WERROR=OFF'];
    await must('cmake', ['--preset', preset, ...settings]);
  }
  const choice = targets.length > 0 ? ['--target', ...targets] : [];
  await must('cmake', ['--build', directory, ...choice]);
}

/**
 * Refuses a package whose build directory cannot be written, before anything is installed for it.
 *
 * @param {string} [top] the package
 */
export function requireWritableBuild(top = root) {
  const directory = join(top, 'build', 'release');
  try {
    mkdirSync(directory, { recursive: true });
    accessSync(directory, constants.W_OK);
  } catch (error) {
    throw new SetupError(
      `the addon is built in ${directory}, which cannot be written (${error.code}): run this as ` +
        'the user who installed the package, or install it where you may write.',
    );
  }
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
