import type { ResolvedConfig } from '../../shared/config.js';
import { MoonringError } from '../../shared/errors.js';
import { appOf } from '../reload/generation.js';
import { watchFiles } from '../reload/watch.js';

/** With --dev a server whose app does not load waits for a fix instead of exiting. */

export interface FirstLoad<T> {
  readonly start: (resolved: ResolvedConfig) => Promise<T>;
  /** The current configuration. Throws a MoonringError. */
  readonly reread: () => ResolvedConfig;
  /** Resolves at the first signal. */
  readonly signalled: Promise<unknown>;
  readonly write: (text: string) => void;
}

/** The result of `start`; null: a signal came first. Rejects as `start` does without --dev. */
export async function startOnceItLoads<T>(
  resolved: ResolvedConfig,
  { start, reread, signalled, write }: FirstLoad<T>,
): Promise<T | null> {
  let current = resolved;
  for (;;) {
    let changed: ReturnType<typeof nextChange>;
    try {
      return await start(current);
    } catch (error) {
      const isOfApp = error instanceof MoonringError && error.code === 'ERR_MOONRING_HANDLER';
      if (!isOfApp || !current.config.dev) throw error;
      changed = nextChange(current);
      write(`moonring: ${error.message}\nmoonring: waiting for a file of the app to be saved\n`);
    }
    const isChanged = await Promise.race([changed.happened, signalled.then(() => false)]);
    changed.close();
    if (!isChanged) return null;
    current = reread();
  }
}

/** Throws ERR_MOONRING_HANDLER if there is no app at all. */
function nextChange(resolved: ResolvedConfig) {
  const app = appOf(resolved);
  let watcher: { close(): void } | undefined;
  const happened = new Promise<boolean>((resolve, reject) => {
    watcher = watchFiles(() => ({ app, config: resolved.file }), {
      onChange: () => resolve(true),
      onProblem: reject,
    });
  });
  return { happened, close: () => watcher?.close() };
}
