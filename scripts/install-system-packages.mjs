/*
 * Installs the system packages and does nothing else: what an administrator runs once, so that npm
 * start and npm test need no root.
 */
import { runMain } from './lib/setup-error.mjs';
import { buildNeeds, testNeeds } from './lib/system-needs.mjs';
import { ensureSystemPackages } from './lib/system-packages.mjs';

await runMain(() => ensureSystemPackages([...buildNeeds, ...testNeeds]));
