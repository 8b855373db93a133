import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { MoonringError, messageOf } from '../../shared/errors.js';
import { packageRoot, version } from '../../shared/package-info.js';

/** `moonring init`: writes a service to start from, from the files in templates/service. */

const TEMPLATES = join(packageRoot, 'templates', 'service');

/** Names that npm would not pack, or would interpret itself. */
const RENAMED: Readonly<Record<string, string>> = {
  'package.json.in': 'package.json',
  'luarc.json': '.luarc.json',
  dockerignore: '.dockerignore',
  gitignore: '.gitignore',
};

export interface InitInputs {
  /** Absolute; created if it does not exist. */
  readonly directory: string;
  readonly cwd: string;
}

/** Returns what to tell the user. Throws ERR_MOONRING_USAGE for a directory that is not empty. */
export function initService({ directory, cwd }: InitInputs): string {
  const name = packageName(basename(directory));
  requireEmpty(directory);
  const written = readdirSync(TEMPLATES)
    .map((file) => {
      const text = readFileSync(join(TEMPLATES, file), 'utf8');
      const target = RENAMED[file] ?? file;
      const whole = text.replaceAll('@NAME@', name).replaceAll('@RANGE@', `^${version}`);
      writeFile(join(directory, target), whole);
      return target;
    })
    .sort();
  const place = relative(cwd, directory);
  const enter = place === '' ? '' : `  cd ${place.startsWith('..') ? directory : place}\n`;
  return `moonring: ${directory} has ${written.join(', ')}. Next:\n${enter}  npm install\n  npm run dev\n`;
}

/** What npm accepts as a name. */
function packageName(text: string): string {
  const name = text
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[._-]+|-+$/g, '');
  return name === '' || name === 'moonring' || name === 'node_modules' ? 'service' : name;
}

function requireEmpty(directory: string): void {
  const refuse = (problem: string) =>
    new MoonringError('ERR_MOONRING_USAGE', `init: ${directory} ${problem}`);
  const stats = statSync(directory, { throwIfNoEntry: false });
  if (stats === undefined) {
    try {
      mkdirSync(directory, { recursive: true });
    } catch (error) {
      throw refuse(`cannot be made: ${messageOf(error)}`);
    }
    return;
  }
  if (!stats.isDirectory()) throw refuse('is not a directory');
  let names: string[];
  try {
    // Files left by `git init` and file managers do not count.
    names = readdirSync(directory).filter((name) => name !== '.git' && name !== '.DS_Store');
  } catch (error) {
    throw refuse(`cannot be read: ${messageOf(error)}`);
  }
  if (names.length === 0) return;
  const some = names.slice(0, 3).join(', ') + (names.length > 3 ? ', …' : '');
  throw refuse(`is not empty (${some}): nothing was written, name a new or an empty directory`);
}

/** Never overwrites a file created meanwhile. */
function writeFile(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: 'wx' });
  } catch (error) {
    throw new MoonringError(
      'ERR_MOONRING_USAGE',
      `init: ${path} cannot be written: ${messageOf(error)}`,
    );
  }
}
