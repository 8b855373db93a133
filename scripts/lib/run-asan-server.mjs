import { runTapFiles } from './run-tap.mjs';
import { buildSanitizedAddon } from './sanitized-addon.mjs';

/** Bounded on purpose: what sends the most different bytes. */
const files = [
  'test/wire/cases-over-tcp.test.ts',
  'test/e2e/bodies-of-every-size.test.ts',
  'test/e2e/refusal-reaches-a-sender.test.ts',
  'test/e2e/mutated-requests.test.ts',
  'test/e2e/drain-exits-zero.test.ts',
];

/** Runs tests against the server with the addon under AddressSanitizer inside node. */
export async function runAsanServer() {
  const addon = await buildSanitizedAddon('libasan.so', 'asan-addon');
  if (addon.skipped) return addon;
  // Node itself leaves memory behind at its exit; the C suites look for leaks of ours.
  const env = { ...addon.env, ASAN_OPTIONS: 'detect_leaks=0' };
  return runTapFiles(files, 1, { env, timeoutSeconds: 120 });
}
