import { type FSWatcher, watch } from 'node:fs';
import { dirname } from 'node:path';

/** Editors write a file in several steps. */
const SETTLE_MS = 100;

export interface WatchEvents {
  /** A .lua file in the app's directory or below has changed. */
  readonly onChange: () => void;
  /** Changes are not, or no longer, noticed. No reason to stop serving. */
  readonly onProblem: (error: unknown) => void;
}

export function watchFiles(
  appPath: string,
  { onChange, onProblem }: WatchEvents,
): { close(): void } {
  let timer: NodeJS.Timeout | undefined;
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(dirname(appPath), { recursive: true }, (_, name) => {
      if (name?.endsWith('.lua') !== true) return;
      clearTimeout(timer);
      timer = setTimeout(onChange, SETTLE_MS);
    });
    watcher.on('error', onProblem);
  } catch (error) {
    onProblem(error);
  }
  return {
    close: () => {
      clearTimeout(timer);
      watcher?.close();
    },
  };
}
