/*
 * npm run packages: builds the addon for every platform from sources with known hashes, and packs
 * npm's tarballs into packages/. The same sources give the same tarballs.
 *
 *     npm run packages                          all platforms
 *     npm run packages -- linux-x64-gnu         only these
 *
 * It needs python3 with pip, cargo, perl, make, cmake, ninja, pkg-config, and apt-get for one
 * source.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

import { requireNode } from '../lib/node-version.mjs';
import { ensureNpmPackages } from '../lib/npm-packages.mjs';
import { packagesDirectory } from '../lib/prebuilt.mjs';
import { runMain, SetupError } from '../lib/setup-error.mjs';
import { packageNeeds } from '../lib/system-needs.mjs';
import { ensureSystemPackages } from '../lib/system-packages.mjs';
import { buildTypeScript } from '../lib/typescript-build.mjs';
import { buildAddonFor } from './addon.mjs';
import { writeLicenses } from './licenses.mjs';
import { packAddon, packMain } from './pack.mjs';
import { bringSources } from './sources.mjs';
import { targets } from './targets.mjs';

await runMain(async () => {
  const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(targets);
  const unknown = chosen.find((name) => !Object.hasOwn(targets, name));
  if (unknown !== undefined)
    throw new SetupError(`there is no target "${unknown}": ${Object.keys(targets).join(', ')}`);
  requireNode();
  await ensureSystemPackages(packageNeeds);
  await ensureNpmPackages();
  await bringSources();
  mkdirSync(packagesDirectory, { recursive: true });
  const tarballs = [];
  for (const name of chosen) {
    const addon = await buildAddonFor(name, targets[name]);
    const options = { licenses: writeLicenses };
    tarballs.push(await packAddon(name, targets[name], addon, options));
  }
  await buildTypeScript();
  tarballs.push(await packMain());
  const lines = tarballs.map((path) => {
    const hash = createHash('sha256').update(readFileSync(path)).digest('hex');
    process.stdout.write(`${(statSync(path).size / 1000).toFixed(0).padStart(7)} kB  ${path}\n`);
    return `${hash}  ${basename(path)}\n`;
  });
  writeFileSync(join(packagesDirectory, 'SHA256SUMS'), lines.join(''));
});
