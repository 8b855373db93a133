/*
 * Longer tests of shared dictionaries than in `npm test`: processes killed in the middle of calls,
 * values of random sizes against a model, and histories of eight processes that Porcupine, a Go
 * module, checks for linearizability.
 *
 *     node scripts/shared-check.mjs [seconds against the model]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, runChecks } from './lib/checks.mjs';
import { buildNative } from './lib/native-build.mjs';
import { root } from './lib/root.mjs';
import { capture } from './lib/run-command.mjs';

const kills = 10_000;
const histories = 20;
const seconds = process.argv[2] ?? '600';
const program = (name) => join(root, 'build/debug/test/native', `test_${name}`);

await buildNative('debug', ['test_shared_processes', 'test_shared_model', 'test_record_shared']);
const { code: missing } = await capture('go', ['version']);

await runChecks(async (check) => {
  await check(`${kills} kills in the middle of calls`, () =>
    succeeds(program('shared_processes'), [], { MOONRING_KILLS: String(kills) }),
  );
  await check(`random sizes against a model for ${seconds} s`, () =>
    succeeds(program('shared_model'), [], { MOONRING_SECONDS: seconds }),
  );
  if (missing) {
    process.stdout.write('linearizability is not checked: Go is not installed\n');
    return;
  }
  await check(`${histories} histories of 8 processes are linearizable`, checkHistories);
});

async function checkHistories() {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-linearizability-'));
  try {
    const checker = join(directory, 'checker');
    await succeeds('go', ['build', '-C', join(root, 'test/linearizability'), '-o', checker, '.']);
    for (let i = 0; i < histories; i++) {
      await succeeds('sh', ['-c', '"$1" 3000 | "$2"', 'sh', program('record_shared'), checker]);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function succeeds(command, args, env = {}) {
  const { code, output } = await capture(command, args, { env });
  expect(code === 0, `${command} ended with ${code}:\n${output}`);
}
