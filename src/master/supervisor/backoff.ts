/**
 * When a crashed reactor is restarted, and when its slot counts as being in a crash loop. Pure:
 * time and randomness are arguments.
 */
export interface CrashPolicy {
  /** This many consecutive starts that never got ready make a crash loop, */
  readonly maxFailedStarts: number;
  /** and so do crashes within `windowMs`. */
  readonly maxCrashes: number;
  readonly windowMs: number;
  /** Delay before the second restart; it doubles with each crash, up to `capMs`. */
  readonly baseMs: number;
  readonly capMs: number;
  /** In a crash loop it starts at `capMs` and doubles up to this. */
  readonly loopCapMs: number;
}

export const CRASH_POLICY: CrashPolicy = {
  maxFailedStarts: 5,
  maxCrashes: 10,
  windowMs: 60_000,
  baseMs: 50,
  capMs: 2000,
  loopCapMs: 30_000,
};

/** The crashes that count for a slot. */
export interface CrashHistory {
  readonly failedStarts: number;
  /** Oldest first, none older than the window. */
  readonly crashedAtMs: readonly number[];
  readonly loop: { readonly reason: string; readonly crashes: number } | null;
}

export const NO_CRASHES: CrashHistory = { failedStarts: 0, crashedAtMs: [], loop: null };

export function addCrash(
  before: CrashHistory,
  { nowMs, wasReady }: { readonly nowMs: number; readonly wasReady: boolean },
  policy: CrashPolicy,
): CrashHistory {
  const recent = before.crashedAtMs.filter((atMs) => nowMs - atMs < policy.windowMs);
  const history = {
    failedStarts: wasReady ? 0 : before.failedStarts + 1,
    crashedAtMs: [...recent, nowMs],
  };
  const lastMs = before.crashedAtMs.at(-1) ?? -Infinity;
  // It ends when a reactor has served for a whole window after its delay.
  const goesOn = nowMs - lastMs < policy.windowMs + policy.loopCapMs;
  const reason = loopReason(history, policy) ?? (goesOn ? before.loop?.reason : undefined);
  if (reason === undefined) return { ...history, loop: null };
  return { ...history, loop: { reason, crashes: (before.loop?.crashes ?? 0) + 1 } };
}

function loopReason(
  { failedStarts, crashedAtMs }: Omit<CrashHistory, 'loop'>,
  { maxFailedStarts, maxCrashes, windowMs }: CrashPolicy,
): string | undefined {
  if (failedStarts >= maxFailedStarts) return `did not start ${failedStarts} times in a row`;
  const crashes = crashedAtMs.length;
  if (crashes < maxCrashes) return undefined;
  return `crashed ${crashes} times in ${windowMs / 1000} seconds`;
}

/** `random` in [0, 1) shortens the delay by up to half, so that slots do not restart in step. */
export function restartDelayMs(history: CrashHistory, random: number, policy: CrashPolicy): number {
  const { failedStarts, crashedAtMs, loop } = history;
  // Clients are waiting at the socket of a reactor that was serving: the first restart is
  // immediate.
  if (loop === null && crashedAtMs.length <= 1 && failedStarts === 0) return 0;
  const fullMs =
    loop === null
      ? Math.min(policy.capMs, policy.baseMs * 2 ** Math.max(0, crashedAtMs.length - 2))
      : Math.min(policy.loopCapMs, policy.capMs * 2 ** (loop.crashes - 1));
  return Math.round(fullMs * (1 - random / 2));
}

/** When a reactor that uses too much memory is replaced again, if its predecessor soon did too. */
export interface RenewalPolicy {
  /** A reactor that lasts this long is replaced at once. */
  readonly windowMs: number;
  /** Delay before replacing the second one that does not; it doubles with each, up to `capMs`. */
  readonly baseMs: number;
  readonly capMs: number;
}

export const RENEWAL_POLICY: RenewalPolicy = { windowMs: 60_000, baseMs: 10_000, capMs: 600_000 };

/** The replacements of a slot because of memory. */
export interface Renewals {
  readonly lastMs: number;
  /** Consecutive ones of reactors that did not last. */
  readonly quick: number;
  /** The wait for the next one has been reported. */
  readonly isTold: boolean;
}

export const NO_RENEWALS: Renewals = { lastMs: -Infinity, quick: 0, isTold: false };

/** How long until the next replacement is allowed; 0: now. */
export function renewalDelayMs(before: Renewals, nowMs: number, policy: RenewalPolicy): number {
  if (before.quick === 0) return 0;
  return Math.max(0, before.lastMs + backoffMs(before, policy) - nowMs);
}

/** There is one now. */
export function addRenewal(before: Renewals, nowMs: number, policy: RenewalPolicy): Renewals {
  const lastedMs = nowMs - before.lastMs - backoffMs(before, policy);
  return {
    lastMs: nowMs,
    quick: lastedMs >= policy.windowMs ? 1 : before.quick + 1,
    isTold: false,
  };
}

function backoffMs({ quick }: Renewals, { baseMs, capMs }: RenewalPolicy): number {
  return quick === 0 ? 0 : Math.min(capMs, baseMs * 2 ** (quick - 1));
}
