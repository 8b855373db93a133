import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import type { AppSource } from '../../shared/native.js';

/** The files of an app, as they are on disk. */

/** All are read again after a change, and each takes an inotify watch. */
export const MAX_DIRECTORIES = 1024;
/** Most links on the way to a file; more are taken for a loop. */
const MAX_LINKS = 40;

const LUA = /\.lua$/;
/** Modules of Lua in C. */
const OBJECTS = /\.(so|dylib)$/;

/** What is on disk: the files by path, and the directories in which a change can show. */
export interface Scan {
  readonly files: ReadonlyMap<string, File>;
  readonly directories: ReadonlySet<string>;
  /** Not more than `MAX_DIRECTORIES`. */
  readonly isWhole: boolean;
}

interface File {
  /** The same as before: its content was not read again. */
  readonly signature: string;
  readonly digest: string;
}

/**
 * Differs if a module in C beside a Lua app does: in a process that has loaded one, another one of
 * its name is never loaded.
 */
export function objectsBeside(app: AppSource): string[] {
  if (app.kind !== 'lua') return [];
  const { files } = scan({ app, config: null }, null, OBJECTS);
  const objects = [...files].filter(([path]) => OBJECTS.test(path));
  return objects.map(([path, { digest }]) => `${path} ${digest}`).sort();
}

/** What a reload reads: the files of the app, and the configuration. */
export interface Sources {
  readonly app: AppSource;
  readonly config: string | null;
}

/** `before` saves reading what has not changed since. */
export function scanSources(sources: Sources, before: Scan | null): Scan {
  const all = new RegExp(`${LUA.source}|${OBJECTS.source}`);
  return scan(sources, before, all);
}

function scan({ app, config }: Sources, before: Scan | null, ending: RegExp): Scan {
  const files = new Map<string, File>();
  const directories = new Set<string>();
  const visited = new Set<string>();
  let isWhole = true;

  function addFile(path: string, mayBeLink: boolean): void {
    if (mayBeLink) for (const found of directoriesOnTheWay(path)) directories.add(found);
    const file = readIfChanged(path, before?.files.get(path));
    if (file !== null) files.set(path, file);
  }

  function walk(directory: string): void {
    const real = attempt(() => realpathSync(directory));
    if (real === null || visited.has(real)) return;
    if (visited.size === MAX_DIRECTORIES) {
      isWhole = false;
      return;
    }
    visited.add(real);
    directories.add(real);
    const entries = attempt(() => readdirSync(directory, { withFileTypes: true })) ?? [];
    for (const entry of entries) {
      const path = join(directory, entry.name);
      if (entry.name.startsWith('.') || entry.name === 'node_modules') continue;
      const isLink = entry.isSymbolicLink();
      if (ending.test(entry.name)) addFile(path, isLink);
      else if (entry.isDirectory() || (isLink && isDirectory(path))) walk(path);
    }
  }

  addFile(app.path, true);
  if (config !== null) addFile(config, true);
  if (app.kind === 'lua') walk(dirname(app.path));
  // The directory itself may be replaced.
  directories.add(dirname(dirname(app.path)));
  return { files, directories, isWhole };
}

/** Those in which the file and every link on the way to it have their names. */
function directoriesOnTheWay(path: string): string[] {
  const found: string[] = [];
  let at: string = sep;
  let rest = path.split(sep).filter(Boolean);
  while (rest.length > 0) {
    const [name = '', ...further] = rest;
    const next = join(at, name);
    const target = found.length < MAX_LINKS ? attempt(() => readlinkSync(next)) : null;
    if (target !== null || further.length === 0) found.push(at);
    if (target === null) [at, rest] = [next, further];
    else [at, rest] = [sep, [...resolve(at, target).split(sep).filter(Boolean), ...further]];
  }
  return found;
}

function readIfChanged(path: string, before: File | undefined): File | null {
  return attempt(() => {
    const stats = statSync(path, { bigint: true });
    // A FIFO would wait for its writer.
    if (!stats.isFile()) return null;
    const { dev, ino, size, mtimeNs, ctimeNs } = stats;
    const signature = [dev, ino, size, mtimeNs, ctimeNs].join(' ');
    if (signature === before?.signature) return before;
    return { signature, digest: createHash('sha1').update(readFileSync(path)).digest('hex') };
  });
}

function isDirectory(path: string): boolean {
  return attempt(() => statSync(path))?.isDirectory() ?? false;
}

/** Files come and go while they are looked at. */
export function attempt<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
}
