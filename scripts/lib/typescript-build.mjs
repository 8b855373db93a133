import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { say } from './progress.mjs';
import { root } from './root.mjs';
import { must } from './run-command.mjs';
import { fingerprint, readStamp, writeStamp } from './stamp.mjs';

const stampPath = 'dist/.stamp';

/**
 * Compiles src/ to dist/. tsc takes half a second to find out that nothing changed; the stamp takes
 * none.
 */
export async function buildTypeScript() {
  const wanted = fingerprint(['src', 'tsconfig.json', 'node_modules/typescript/package.json']);
  if (readStamp(stampPath) === wanted && existsSync(join(root, 'dist', 'master.js'))) return;
  say('compiling TypeScript');
  // Without its output, tsc's record of what it has written is a lie.
  if (!existsSync(join(root, 'dist', 'master.js')))
    rmSync(join(root, 'dist'), { recursive: true, force: true });
  removeOrphans('');
  await must(process.execPath, [
    join(root, 'node_modules/typescript/bin/tsc'),
    '-p',
    'tsconfig.json',
  ]);
  writeStamp(stampPath, wanted);
}

/** Output whose source is gone would still be found by an import. */
function removeOrphans(directory) {
  const output = join(root, 'dist', directory);
  if (!existsSync(output)) return;
  for (const entry of readdirSync(output, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) {
      removeOrphans(path);
      continue;
    }
    const source = path.replace(/(\.d\.ts|\.js)(\.map)?$/, '.ts');
    if (source !== path && !existsSync(join(root, 'src', source))) rmSync(join(root, 'dist', path));
  }
}
