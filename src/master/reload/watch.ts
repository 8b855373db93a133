import { createHash } from 'node:crypto';
import {
  type FSWatcher,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
  watch,
} from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import type { AppSource } from '../../shared/native.js';

/** Changes come in bursts: editors write in steps, and deployments replace many files. */
const SETTLE_MS = 100;
/** All are read again after a change, and each takes an inotify watch. */
const MAX_DIRECTORIES = 1024;
/** Most links on the way to a file; more are taken for a loop. */
const MAX_LINKS = 40;

export interface WatchEvents {
  /** The content of these files has changed, and for a moment nothing more has. */
  readonly onChange: (files: readonly string[]) => void;
  /** Changes are not, or no longer, noticed. The server goes on. */
  readonly onProblem: (error: unknown) => void;
}

/** What is on disk: the files by path, and the directories in which a change can show. */
interface Scan {
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
 * Watches what a reload would load: the .lua files in the directory of the app and below, without
 * node_modules and names with a dot in front, or the shared object. Directories are watched, not
 * files, so that a file may be replaced by another one (an editor's or a deployment's rename), and
 * also those of the links on the way (`current -> r2`, `..data`). Contents are compared.
 */
export function watchFiles(
  app: () => AppSource,
  { onChange, onProblem }: WatchEvents,
): { close(): void } {
  const watchers = new Map<string, FSWatcher>();
  let timer: NodeJS.Timeout | undefined;
  let last = scan(app(), null);
  let reported = last;
  follow(last);
  if (!last.isWhole) {
    onProblem(new Error(`more than ${MAX_DIRECTORIES} directories: some changes go unnoticed`));
  }

  function look(): void {
    timer = undefined;
    const now = scan(app(), last);
    const isSettled = changesBetween(last, now).length === 0;
    last = now;
    // What happened before a directory was watched shows in the next look.
    if (follow(now) || !isSettled) {
      arm();
      return;
    }
    const files = changesBetween(reported, now);
    reported = now;
    if (files.length > 0) onChange(files);
  }

  function arm(): void {
    timer ??= setTimeout(look, SETTLE_MS);
  }

  /** Whether a directory was added. A directory that was replaced is another one. */
  function follow({ directories }: Scan): boolean {
    const wanted = new Map([...directories].flatMap((path) => identified(path)));
    for (const [id, watcher] of watchers) {
      if (wanted.has(id)) continue;
      watcher.close();
      watchers.delete(id);
    }
    const added = [...wanted].filter(([id]) => !watchers.has(id));
    return added.filter(([id, path]) => open(id, path)).length > 0;
  }

  function open(id: string, path: string): boolean {
    try {
      const watcher = watch(path, arm);
      watcher.on('error', (error) => {
        watchers.delete(id);
        onProblem(error);
      });
      watchers.set(id, watcher);
      return true;
    } catch (error) {
      onProblem(error);
      return false;
    }
  }

  return {
    close: () => {
      clearTimeout(timer);
      for (const watcher of watchers.values()) watcher.close();
    },
  };
}

function changesBetween(before: Scan, after: Scan): string[] {
  const paths = new Set([...before.files.keys(), ...after.files.keys()]);
  return [...paths].filter(
    (path) => before.files.get(path)?.digest !== after.files.get(path)?.digest,
  );
}

function scan(app: AppSource, before: Scan | null): Scan {
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
      if (entry.name.endsWith('.lua')) addFile(path, isLink);
      else if (entry.isDirectory() || (isLink && isDirectory(path))) walk(path);
    }
  }

  addFile(app.path, true);
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
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    const signature = [dev, ino, size, mtimeNs, ctimeNs].join(' ');
    if (signature === before?.signature) return before;
    return { signature, digest: createHash('sha1').update(readFileSync(path)).digest('hex') };
  });
}

/** A directory that is there, with what tells it from its replacement. */
function identified(path: string): [string, string][] {
  const stats = attempt(() => statSync(path));
  return stats?.isDirectory() ? [[`${stats.dev} ${stats.ino}`, path]] : [];
}

function isDirectory(path: string): boolean {
  return attempt(() => statSync(path))?.isDirectory() ?? false;
}

/** Files come and go while they are looked at. */
function attempt<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
}
