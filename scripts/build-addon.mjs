/*
 * Run by `moonring build`: installs the system packages and builds the native addon, for a package
 * installed by npm. It is a command, not an install script, because npm does not run those of
 * dependencies.
 */
import { join } from 'node:path';

import { say } from './lib/progress.mjs';
import { root } from './lib/root.mjs';
import { runMain } from './lib/setup-error.mjs';
import { setUpAddon } from './setup.mjs';

await runMain(async () => {
  await setUpAddon();
  say(`the native addon is built: ${join(root, 'build', 'release', 'moonring.node')}`);
});
