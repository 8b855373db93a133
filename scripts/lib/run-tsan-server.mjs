import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { root } from './root.mjs';
import { runTapFiles } from './run-tap.mjs';
import { buildSanitizedAddon } from './sanitized-addon.mjs';

/** What lets the most threads meet: workers, scaling, reload, drain. */
const files = [
  'test/e2e/control-socket.test.ts',
  'test/e2e/stuck-handlers.test.ts',
  'test/e2e/background-tasks.test.ts',
  'test/e2e/drain-under-load.test.ts',
];
const BORDER = '==================';

/**
 * Runs tests against the server with the addon under ThreadSanitizer inside node. node is not built
 * with it, so much of what it does looks like a race: only reports in which the addon takes part
 * count.
 */
export async function runTsanServer() {
  const addon = await buildSanitizedAddon('libtsan.so', 'tsan-addon');
  if (addon.skipped) return addon;
  const reports = join(root, 'build/tsan-addon/reports');
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports);
  const env = {
    ...addon.env,
    // The I/O thread of a reactor that has drained is over, and nobody joins it at the exit.
    TSAN_OPTIONS: `log_path=${join(reports, 'of')} exitcode=0 atexit_sleep_ms=0 report_thread_leaks=0`,
  };
  const result = await runTapFiles(files, 1, { env, timeoutSeconds: 240 });
  const ours = reportsIn(reports).filter(isOurs);
  return {
    passed: result.passed,
    failed: result.failed + ours.length,
    output: [result.output, ...ours].join('\n'),
  };
}

function reportsIn(directory) {
  return readdirSync(directory).flatMap((name) =>
    readFileSync(join(directory, name), 'utf8').split(BORDER),
  );
}

/** The addon takes part, and the access is not one of node's own, which a call of ours led to. */
function isOurs(text) {
  const summary = /^SUMMARY: .*$/m.exec(text)?.[0] ?? '';
  const isNodes = summary.includes(`${process.execPath}+`) || summary.includes('/deps/uv/');
  return text.includes('moonring.node') && !isNodes;
}
