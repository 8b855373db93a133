/*
 * Only installs the system packages: an administrator runs it once, so that npm
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
