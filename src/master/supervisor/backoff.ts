/**
 * When a crashed reactor is started again, and when not any more. Pure: time and chance are
 * arguments.
 */
export interface CrashPolicy {
  /** Starts in a row that never got ready. */
  readonly maxFailedStarts: number;
  /** Crashes within `windowMs`. */
  readonly maxCrashes: number;
  readonly windowMs: number;
  /**
   * Delay before the second restart; it doubles with each crash within the window, up to `capMs`.
   */
  readonly baseMs: number;
  readonly capMs: number;
}

export const CRASH_POLICY: CrashPolicy = {
  maxFailedStarts: 5,
  maxCrashes: 10,
  windowMs: 60_000,
  baseMs: 50,
  capMs: 2000,
};

/** What one slot remembers of its crashes. */
export interface CrashHistory {
  readonly failedStarts: number;
  /** Oldest first, none older than the window. */
  readonly crashedAtMs: readonly number[];
}

export const NO_CRASHES: CrashHistory = { failedStarts: 0, crashedAtMs: [] };

export type Verdict =
  | { readonly type: 'restart'; readonly delayMs: number }
  | { readonly type: 'give-up'; readonly reason: string };

export function addCrash(
  history: CrashHistory,
  crash: { readonly nowMs: number; readonly wasReady: boolean },
  policy: CrashPolicy,
): CrashHistory {
  const recent = history.crashedAtMs.filter((atMs) => crash.nowMs - atMs < policy.windowMs);
  return {
    failedStarts: crash.wasReady ? 0 : history.failedStarts + 1,
    crashedAtMs: [...recent, crash.nowMs],
  };
}

/**
 * `random` is in [0, 1) and takes up to half of the delay away, so that slots do not restart in
 * step.
 */
export function judge(history: CrashHistory, random: number, policy: CrashPolicy): Verdict {
  const crashes = history.crashedAtMs.length;
  if (history.failedStarts >= policy.maxFailedStarts) {
    return { type: 'give-up', reason: `did not start ${history.failedStarts} times in a row` };
  }
  if (crashes >= policy.maxCrashes) {
    const seconds = policy.windowMs / 1000;
    return { type: 'give-up', reason: `crashed ${crashes} times in ${seconds} seconds` };
  }
  // Clients wait at the socket of a reactor that served until now: the first restart is immediate.
  if (crashes <= 1 && history.failedStarts === 0) return { type: 'restart', delayMs: 0 };
  const doublings = Math.max(0, crashes - 2);
  const fullMs = Math.min(policy.capMs, policy.baseMs * 2 ** doublings);
  return { type: 'restart', delayMs: Math.round(fullMs * (1 - random / 2)) };
}
