/*
 * npm's tarballs, in packages/: one for each platform, and the package itself with these as
 * optional dependencies. npm gives every file in a tarball the same date and owner, so that the
 * same files give the same tarball.
 */
import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

import { packagesDirectory, sourceHash } from '../lib/prebuilt.mjs';
import { root } from '../lib/root.mjs';
import { must } from '../lib/run-command.mjs';
import { workDirectory } from './sources.mjs';
import { targets } from './targets.mjs';

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/**
 * Packs the addon of one target. Returns the tarball's path.
 *
 * @param {string} name
 * @param {import('./targets.mjs').Target} target
 * @param {string} addon
 * @param {{ directory?: string, licenses?: (directory: string) => void }} [options]
 */
export async function packAddon(name, target, addon, options = {}) {
  const { directory: parent = packagesDirectory, licenses } = options;
  const directory = join(parent, name);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  cpSync(addon, join(directory, 'moonring.node'));
  chmodSync(join(directory, 'moonring.node'), 0o755);
  licenses?.(join(directory, 'LICENSES'));
  const { os, cpu, libc, note } = target;
  const where = `${os} ${cpu}${libc ? ` (${libc})` : ''}`;
  writeJson(directory, {
    name: `@moonring/${name}`,
    version: manifest.version,
    description: `The native addon of moonring for ${where}`,
    license: manifest.license,
    author: manifest.author,
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
    engines: manifest.engines,
    main: 'moonring.node',
    files: ['LICENSES', 'moonring.node'],
    // Yarn keeps packages in archives, from which nothing can be loaded.
    preferUnplugged: true,
    moonring: { sources: sourceHash() },
  });
  const text = [
    `# @moonring/${name}`,
    `The native addon of moonring for ${where}. Install`,
    '`moonring`: it depends on this package. `LICENSES/` has the licences of what is inside.',
    ...(note ? ['', note] : []),
  ];
  writeFileSync(join(directory, 'README.md'), `${text.join('\n')}\n`);
  return pack(directory, parent);
}

/** Packs the package itself, for every platform. Returns the tarball's path. */
export async function packMain() {
  const list = ['pack', '--dry-run', '--json', '--ignore-scripts'];
  const [{ files }] = JSON.parse((await must('npm', list)).stdout);
  const directory = join(workDirectory, 'moonring');
  rmSync(directory, { recursive: true, force: true });
  for (const { path } of files) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    cpSync(join(root, path), join(directory, path));
  }
  const { scripts: _, ...rest } = manifest;
  // A clone has none of them, so that it can be installed before they are published.
  const names = Object.keys(targets).map((name) => [`@moonring/${name}`, manifest.version]);
  writeJson(directory, { ...rest, optionalDependencies: Object.fromEntries(names) });
  return pack(directory, packagesDirectory);
}

async function pack(directory, destination) {
  const args = ['pack', directory, '--json', '--ignore-scripts', '--pack-destination'];
  const [{ filename }] = JSON.parse((await must('npm', [...args, destination])).stdout);
  return join(destination, basename(filename));
}

function writeJson(directory, value) {
  writeFileSync(join(directory, 'package.json'), `${JSON.stringify(value, null, 2)}\n`);
}
