import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { say } from './progress.mjs';
import { root } from './root.mjs';
import { mustWithRetry } from './run-command.mjs';

/**
 * Installs node_modules as in package-lock.json, unless npm's record says that it is up to date.
 */
export async function ensureNpmPackages() {
  const wanted = readPackages('package-lock.json');
  const found = readPackages('node_modules/.package-lock.json');
  // Optional packages are for other systems: they may be absent, but not have another version.
  const matches = Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === '' || (found[path] ? found[path].version === version : optional === true),
  );
  if (matches && Object.keys(found).every((path) => path in wanted)) return;
  say('npm ci');
  await npm('ci', '--include=dev');
}

/** Packages whose files are compiled into the addon: the server does not need them at run time. */
const HEADERS = ['mime-db', 'node-addon-api', 'node-api-headers'];

/**
 * For an addon that is built where npm has unpacked the package: they go beside it, for CMake's
 * node.
 */
export async function ensureHeaderPackages() {
  const directory = join(root, 'build', 'npm');
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const wanted = HEADERS.map((name) => `${name}@${devDependencies[name]}`);
  if (!HEADERS.every((name) => existsSync(join(directory, 'node_modules', name)))) {
    say(`npm install ${wanted.join(' ')}`);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'package.json'), '{"private":true}\n');
    await npm('install', '--prefix', directory, '--ignore-scripts', '--prefer-offline', ...wanted);
  }
  process.env.NODE_PATH = join(directory, 'node_modules');
}

async function npm(...args) {
  const path = process.env.npm_execpath;
  const command = path?.endsWith('.js') ? [process.execPath, path] : ['npm'];
  const [first, ...rest] = [...command, ...args, '--no-audit', '--no-fund', '--no-progress'];
  await mustWithRetry(first, rest);
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(join(root, path), 'utf8')).packages;
  } catch {
    return {};
  }
}
