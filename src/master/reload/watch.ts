import { type FSWatcher, statSync, watch } from 'node:fs';
import { attempt, MAX_DIRECTORIES, type Scan, type Sources, scanSources } from './files.js';

/** Changes come in bursts: editors write in steps, and deployments replace many files. */
const SETTLE_MS = 100;

export interface WatchEvents {
  /** These files have changed, and nothing else for a moment. */
  readonly onChange: (files: readonly string[]) => void;
  /** Changes are not, or no longer, noticed. The server keeps running. */
  readonly onProblem: (error: unknown) => void;
}

/**
 * Watches what a reload would read: the config file, the shared object, or the .lua files and C
 * modules in the app's directory and below, except node_modules and names that begin with a dot.
 * Directories are watched, not files, so that a file may be replaced (by an editor's or a
 * deployment's rename), including those of links in the path (`current -> r2`, `..data`). Contents
 * are compared.
 */
export function watchFiles(
  sources: () => Sources,
  { onChange, onProblem }: WatchEvents,
): { close(): void } {
  const watchers = new Map<string, FSWatcher>();
  let timer: NodeJS.Timeout | undefined;
  let last = scanSources(sources(), null);
  let reported = last;
  follow(last);
  if (!last.isWhole) {
    onProblem(new Error(`more than ${MAX_DIRECTORIES} directories: some changes go unnoticed`));
  }

  function look(): void {
    timer = undefined;
    const now = scanSources(sources(), last);
    const isSettled = changesBetween(last, now).length === 0;
    last = now;
    // Changes before a directory was watched show up in the next scan.
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

  /** Whether a directory was added. A replaced directory counts as a new one. */
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

/** An existing directory, with its identity. */
function identified(path: string): [string, string][] {
  const stats = attempt(() => statSync(path));
  return stats?.isDirectory() ? [[`${stats.dev} ${stats.ino}`, path]] : [];
}
