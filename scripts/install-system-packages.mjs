/*
 * Installs the system packages and does nothing else: what an administrator runs once, so that npm
 * start and npm test need no root.
 */
import { say } from './lib/progress.mjs';
import { runMain } from './lib/setup-error.mjs';
import { buildNeeds, testNeeds } from './lib/system-needs.mjs';
import { ensureSystemPackages } from './lib/system-packages.mjs';

await runMain(async () => {
  await ensureSystemPackages([...buildNeeds, ...testNeeds]);
  say('every system package is there');
});
