import { join } from 'node:path';

import { buildNative } from './native-build.mjs';
import { root } from './root.mjs';
import { capture } from './run-command.mjs';
import { runTapFiles } from './run-tap.mjs';

/** Bounded on purpose: what sends the most different bytes. */
const files = [
  'test/wire/cases-over-tcp.test.ts',
  'test/e2e/bodies-of-every-size.test.ts',
  'test/e2e/refusal-reaches-a-sender.test.ts',
  'test/e2e/mutated-requests.test.ts',
  'test/e2e/drain-exits-zero.test.ts',
];

/**
 * Runs tests against the server with the addon under AddressSanitizer inside node. The sanitizer's
 * runtime has to be preloaded, because node is not built with it.
 */
export async function runAsanServer() {
  if (process.platform !== 'linux') return skipped('the preload is written for Linux');
  const runtime = (await capture('gcc', ['-print-file-name=libasan.so'])).stdout.trim();
  if (!runtime.startsWith('/')) return skipped('gcc has no libasan');
  await buildNative('asan-addon');
  const env = {
    MOONRING_ADDON: join(root, 'build/asan-addon/moonring.node'),
    MOONRING_TEST_PRELOAD: runtime,
    // Node itself leaves memory behind at its exit; the C suites look for leaks of ours.
    ASAN_OPTIONS: 'detect_leaks=0',
  };
  return runTapFiles(files, 1, { env, timeoutSeconds: 120 });
}

function skipped(reason) {
  return { passed: 0, failed: 0, output: '', skipped: reason };
}
