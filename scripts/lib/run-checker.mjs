import { capture } from './run-command.mjs';

/**
 * Runs a program that judges the tree. It counts as one test, unless it says how many checks it
 * made ("12 checks passed, 1 failed") or that it could not judge ("skipped: why").
 */
export async function runChecker(command, args) {
  const { code, output } = await capture(command, args);
  const skipped = /^skipped: (.*)$/m.exec(output)?.[1];
  if (code === 0 && skipped) return { passed: 0, failed: 0, output, skipped };
  const counts = /^(\d+) checks passed, (\d+) failed$/m.exec(output);
  const passed = counts ? Number(counts[1]) : Number(code === 0);
  const failed = counts ? Number(counts[2]) : Number(code !== 0);
  return { passed, failed: code !== 0 && failed === 0 ? 1 : failed, output };
}
