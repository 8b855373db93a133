/*
 * Addons built in this clone by `npm run packages`, in packages/<target>: `npm start` uses one
 * for this machine that was built from exactly these sources.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { root } from './root.mjs';

export const packagesDirectory = join(root, 'packages');

const inPackages = (name) => `scripts/packages/${name}`;

/** The sources of an addon. */
const ingredients = [
  'CMakeLists.txt',
  'cmake',
  'lua',
  'native',
  'package-lock.json',
  ...['CMakeLists.txt', 'jit_frame.c', 'zig.cmake', 'zig-darwin.cmake'].map(inPackages),
  ...['addon.mjs', 'sources.mjs', 'targets.mjs'].map(inPackages),
];

/** Changes with every source file of an addon. */
export function sourceHash() {
  const hash = createHash('sha256');
  const add = (path) => {
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(root, path)))
      .update('\0');
  };
  for (const path of ingredients) {
    const entries = /\./.test(path)
      ? [path]
      : readdirSync(join(root, path), { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(root.length + 1))
          .sort();
    entries.forEach(add);
  }
  return hash.digest('hex');
}

/** True if packages/ has any. */
export const hasPrebuilt = () => existsSync(packagesDirectory);

/** The path of an addon for this machine and these sources, or null. The JavaScript is compiled. */
export async function findPrebuilt() {
  const addonFile = pathToFileURL(join(root, 'dist', 'shared', 'addon-file.js'));
  const { platformSuffix } = await import(addonFile.href);
  const directory = join(packagesDirectory, platformSuffix());
  const manifest = join(directory, 'package.json');
  if (!existsSync(manifest)) return null;
  const { moonring } = JSON.parse(readFileSync(manifest, 'utf8'));
  return moonring?.sources === sourceHash() ? join(directory, 'moonring.node') : null;
}
