import { watch } from 'node:fs';
import { dirname } from 'node:path';

/** Editors write a file in several steps. */
const SETTLE_MS = 100;

/** Calls back when a .lua file in the app's directory or below has changed. */
export function watchFiles(appPath: string, onChange: () => void): { close(): void } {
  let timer: NodeJS.Timeout | undefined;
  const watcher = watch(dirname(appPath), { recursive: true }, (_, name) => {
    if (name?.endsWith('.lua') !== true) return;
    clearTimeout(timer);
    timer = setTimeout(onChange, SETTLE_MS);
  });
  // A directory that cannot be watched is no reason to stop serving.
  watcher.on('error', () => {});
  return {
    close: () => {
      clearTimeout(timer);
      watcher.close();
    },
  };
}
