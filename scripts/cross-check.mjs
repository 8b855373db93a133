/*
 * What can be said about other machines from this one: builds the C core for 64-bit ARM on Linux
 * and runs its tests under qemu-user, and compiles it for macOS. Says what could not be done.
 *
 *     node scripts/cross-check.mjs [directory]
 *
 * The directory (a folder of the system's temporary one) keeps what was installed.
 */
import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { checkArm64Linux } from './cross/arm64-linux.mjs';
import { checkMacos } from './cross/macos.mjs';
import { runMain } from './lib/setup-error.mjs';

const work = resolve(process.argv[2] ?? join(tmpdir(), 'moonring-cross'));

await runMain(async () => {
  mkdirSync(work, { recursive: true });
  const parts = [
    ['arm64 Linux under qemu-user', await checkArm64Linux(work)],
    ['macOS, compiled only', await checkMacos(work)],
  ];
  for (const [name, { passed, failed, skipped }] of parts) {
    const said = skipped ? `not done: ${skipped}` : `${passed} passed, ${failed} failed`;
    process.stdout.write(`${name}: ${said}\n`);
  }
  const sum = (what) => parts.reduce((total, [, result]) => total + result[what], 0);
  const ran = sum('passed') + sum('failed');
  if (ran === 0) process.stdout.write('skipped: neither could be done here\n');
  else process.stdout.write(`${sum('passed')} checks passed, ${sum('failed')} failed\n`);
  process.exitCode = sum('failed') > 0 ? 1 : 0;
});
