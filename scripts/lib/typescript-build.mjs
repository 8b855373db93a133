import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { say } from './progress.mjs';
import { root } from './root.mjs';
import { must } from './run-command.mjs';

const sources = ['src', 'tsconfig.json', 'node_modules/typescript/package.json'];

/** Compiles src/ to dist/ if anything changed; running tsc to find out would take half a second. */
export async function buildTypeScript() {
  if (newest('dist/master.js') > Math.max(...sources.map(newest))) return;
  say('compiling TypeScript');
  // Output whose source was deleted would still be found by an import.
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  await must(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json']);
}

/** When `path`, or anything in it, was last changed; 0 if it does not exist. */
function newest(path) {
  const stat = statSync(join(root, path), { throwIfNoEntry: false });
  if (!stat?.isDirectory()) return stat?.mtimeMs ?? 0;
  // A directory changes when a file in it is renamed or removed.
  const inside = readdirSync(join(root, path)).map((name) => newest(join(path, name)));
  return Math.max(stat.mtimeMs, ...inside);
}
