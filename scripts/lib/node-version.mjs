import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { root } from './root.mjs';
import { SetupError } from './setup-error.mjs';

/**
 * Rejects a Node older than the `engines` of package.json, before anything is installed for it. npm
 * only warns.
 *
 * @param {string} [version] of the Node in question
 */
export function requireNode(version = process.versions.node) {
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const needed = Number(/^>=(\d+)$/.exec(engines.node)[1]);
  if (Number.parseInt(version, 10) >= needed) return;
  throw new SetupError(
    `Node ${needed} or newer is needed, and this is ${version}. Debian 13 has one; for Debian 12, ` +
      'take one from nodejs.org or NodeSource, and start again.',
  );
}
