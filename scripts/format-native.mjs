/*
 * Checks the format of the C and C++ files with clang-format, or with --write formats them.
 *
 * Versions of clang-format differ in details. Debian 12's version decides; other versions check
 * nothing.
 */
import { capture } from './lib/run-command.mjs';

const decidingVersion = 14;

const version = await capture('clang-format', ['--version']);
const major = Number(/version (\d+)/.exec(version.stdout)?.[1]);
const write = process.argv.includes('--write');

if (write || major === decidingVersion) {
  const list = ['ls-files', '--cached', '--others', '--exclude-standard', '*.c', '*.h', '*.cc'];
  const existing = await capture('sh', [
    '-c',
    `git ${list.map((each) => `'${each}'`).join(' ')} | xargs ls -d`,
  ]);
  const files = existing.stdout.trim().split('\n');
  const mode = write ? ['-i'] : ['--dry-run', '-Werror'];
  const { code, output } = await capture('clang-format', [...mode, '--style=file', ...files]);
  const unformatted = files.filter((path) => output.includes(`${path}:`));
  for (const path of unformatted) process.stdout.write(`${path}: run npm run format\n`);
  if (unformatted.length === 0) process.stdout.write(output);
  process.exitCode = code;
} else {
  process.stdout.write(
    `skipped: clang-format ${decidingVersion} decides and this is ${major || 'none'}\n`,
  );
}
