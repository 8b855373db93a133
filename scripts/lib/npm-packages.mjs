import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { say } from './progress.mjs';
import { root } from './root.mjs';
import { mustWithRetry } from './run-command.mjs';

/** Makes node_modules what package-lock.json says, unless npm's own record says that it is. */
export async function ensureNpmPackages() {
  const wanted = readPackages('package-lock.json');
  const found = readPackages('node_modules/.package-lock.json');
  // Optional packages are for other systems: they may be absent, but not at another version.
  const matches = Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === '' || (found[path] ? found[path].version === version : optional === true),
  );
  if (matches && Object.keys(found).every((path) => path in wanted)) return;
  say('npm ci');
  const npm = process.env.npm_execpath;
  const command = npm?.endsWith('.js') ? [process.execPath, npm] : ['npm'];
  const [first, ...rest] = [...command, 'ci', '--include=dev', '--no-audit', '--no-fund'];
  await mustWithRetry(first, [...rest, '--no-progress']);
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(join(root, path), 'utf8')).packages;
  } catch {
    return {};
  }
}
