/*
 * From a fresh clone to a server that can be started: system packages, npm packages, native build,
 * TypeScript build. A package installed by npm needs only the first and the third step. Every
 * step first checks whether there is anything to do.
 */
import { buildNative, requireWritableBuild } from './lib/native-build.mjs';
import { requireNode } from './lib/node-version.mjs';
import { ensureHeaderPackages, ensureNpmPackages } from './lib/npm-packages.mjs';
import { findPrebuilt, hasPrebuilt } from './lib/prebuilt.mjs';
import { say } from './lib/progress.mjs';
import { isClone } from './lib/root.mjs';
import { buildNeeds, testNeeds } from './lib/system-needs.mjs';
import { ensureSystemPackages } from './lib/system-packages.mjs';
import { buildTypeScript } from './lib/typescript-build.mjs';

/** What `npm start` needs. The addon and the JavaScript are built side by side. */
export async function setUpServer() {
  if (!isClone) {
    await setUpAddon();
    return;
  }
  requireNode();
  await ensureSystemPackages(buildNeeds);
  await ensureNpmPackages();
  await Promise.all([buildNative('release', ['moonring']), buildTypeScript()]);
}

/**
 * What `npm start` needs if packages/ has an addon for this machine and these sources: no system
 * package and no compiler. False: there is none.
 */
export async function setUpPrebuilt() {
  if (!isClone || process.env.MOONRING_ADDON || !hasPrebuilt()) return false;
  requireNode();
  await ensureNpmPackages();
  await buildTypeScript();
  const path = await findPrebuilt();
  if (path === null) return false;
  say(`the addon is ${path}`);
  process.env.MOONRING_ADDON = path;
  return true;
}

/** What `moonring build` does. */
export async function setUpAddon() {
  requireNode();
  requireWritableBuild();
  await ensureSystemPackages(buildNeeds);
  if (!isClone) await ensureHeaderPackages();
  await buildNative('release', ['moonring']);
}

/** What every test suite needs; each suite runs the builds that it uses. */
export async function setUpTests() {
  requireNode();
  await ensureSystemPackages([...buildNeeds, ...testNeeds]);
  await ensureNpmPackages();
}
