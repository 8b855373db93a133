import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { say } from './progress.mjs';
import { root } from './root.mjs';
import { mustWithRetry } from './run-command.mjs';

/**
 * Makes node_modules what package-lock.json says; npm's own record of what it installed tells
 * whether it is.
 */
export async function ensureNpmPackages() {
  if (nodeModulesMatchLock()) return;
  say('npm ci');
  const npm = process.env.npm_execpath;
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--no-progress'];
  if (npm?.endsWith('.js')) await mustWithRetry(process.execPath, [npm, ...args]);
  else await mustWithRetry('npm', args);
}

function nodeModulesMatchLock() {
  const wanted = readPackages(join(root, 'package-lock.json'));
  const found = readPackages(join(root, 'node_modules', '.package-lock.json'));
  if (!wanted || !found) return false;
  // Optional packages are for other systems: they may be absent, but not at another version.
  const complete = Object.entries(wanted).every(
    ([path, entry]) =>
      path === '' ||
      (found[path] ? found[path].version === entry.version : entry.optional === true),
  );
  return complete && Object.keys(found).every((path) => path in wanted);
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return null;
  }
}
