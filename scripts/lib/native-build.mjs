import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { join } from 'node:path';

import { say } from './progress.mjs';
import { isClone, root } from './root.mjs';
import { must } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';

/**
 * Builds one preset of CMakePresets.json; Ninja builds what has changed.
 *
 * @param {'release' | 'debug' | 'asan' | 'tsan' | 'fuzz'} preset
 * @param {string[]} [targets] all of them when left out
 */
export async function buildNative(preset, targets = []) {
  const directory = join(root, 'build', preset);
  dropForeignCache(directory);
  const ninja = join(directory, 'build.ninja');
  if (!isNewer(ninja, join(root, 'CMakePresets.json'))) {
    say(`building the native ${preset} preset`);
    const settings = preset === 'fuzz' ? [] : ['-DMOONRING_BUILD_ADDON=ON'];
    // Warnings are errors in our CI; a user's compiler may have more warnings.
    if (!isClone) settings.push('-DMOONRING_WERROR=OFF');
    await must('cmake', ['--preset', preset, ...settings]);
    utimesSync(ninja, new Date(), new Date());
  }
  const choice = targets.length > 0 ? ['--target', ...targets] : [];
  await must('cmake', ['--build', directory, ...choice]);
}

/**
 * Rejects a package whose build directory is not writable, before anything is installed for it.
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

/** CMake does not notice a changed preset. */
function isNewer(path, other) {
  return existsSync(path) && statSync(path).mtimeMs > statSync(other).mtimeMs;
}

/** A build directory contains absolute paths, so it is removed after the tree was moved. */
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
