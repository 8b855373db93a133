import { join } from 'node:path';

import { buildNative } from './native-build.mjs';
import { root } from './root.mjs';
import { capture } from './run-command.mjs';

/**
 * Builds the addon with a sanitizer, for a node that preloads the sanitizer's runtime, because node
 * itself is not built with it: `{ env }` for the tests that start servers, or, where it cannot be
 * had, the result of a suite that was skipped.
 *
 * @param {string} library the runtime: libasan.so
 * @param {string} preset of CMakePresets.json
 */
export async function buildSanitizedAddon(library, preset) {
  if (process.platform !== 'linux') return skipped('the preload is written for Linux');
  const runtime = (await capture('gcc', [`-print-file-name=${library}`])).stdout.trim();
  if (!runtime.startsWith('/')) return skipped(`gcc has no ${library.replace(/\.so$/, '')}`);
  await buildNative(preset);
  return {
    env: {
      MOONRING_ADDON: join(root, 'build', preset, 'moonring.node'),
      MOONRING_TEST_PRELOAD: runtime,
    },
  };
}

function skipped(reason) {
  return { passed: 0, failed: 0, output: '', skipped: reason };
}
