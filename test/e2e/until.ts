import { setTimeout as delay } from 'node:timers/promises';

const INTERVAL_MS = 5;
/** Reached only by a failure, so it is long enough for a busy machine and a sanitizer. */
export const PATIENCE_MS = 60_000;

/**
 * Polls `probe` until it returns something other than undefined or false. For conditions without
 * an event, like the exit of a process that is not our child. Rejects with `what` after
 * `timeoutMs`.
 */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = PATIENCE_MS,
): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadlineMs) throw new Error(`after ${timeoutMs} ms still not: ${what}`);
    await delay(INTERVAL_MS);
  }
}

/** `promise`, or a rejection with `what` after `timeoutMs`. */
export async function within<T>(
  what: string,
  promise: Promise<T>,
  timeoutMs = PATIENCE_MS,
): Promise<T> {
  const cancel = new AbortController();
  const late = delay(timeoutMs, undefined, { signal: cancel.signal }).then(() => {
    throw new Error(`after ${timeoutMs} ms still not: ${what}`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel.abort();
  }
}
