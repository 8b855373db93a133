/*
 * Checks the layout of the C and C++ files with clang-format, or with --write puts it right.
 *
 * Versions of clang-format differ in details, so one of them decides: the one that Debian 12 ships.
 * With another version nothing is checked, and that is said.
 */

import { capture } from './lib/run-command.mjs';
import { listFiles } from './lib/source-files.mjs';

const decidingVersion = 14;

const version = await capture('clang-format', ['--version']);
const major = Number(/version (\d+)/.exec(version.stdout)?.[1]);
const write = process.argv.includes('--write');

if (write || major === decidingVersion) {
  const files = listFiles('.').filter((path) => /\.(c|h|cc)$/.test(path));
  const mode = write ? ['-i'] : ['--dry-run', '-Werror'];
  const { code, output } = await capture('clang-format', [...mode, '--style=file', ...files]);
  const crooked = files.filter((path) => output.includes(`${path}:`));
  for (const path of crooked) {
    process.stdout.write(`${path}: not laid out as .clang-format says: npm run format\n`);
  }
  if (crooked.length === 0) process.stdout.write(output);
  process.exitCode = code;
} else {
  process.stdout.write(
    `skipped: clang-format ${decidingVersion} decides and this is ${major || 'none'}\n`,
  );
}
