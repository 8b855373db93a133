import type { ProcessStats, ServingRecord, StatsSnapshot } from '../../shared/native-stats.js';
import type { Child, ServingNote } from './state.js';

/**
 * Heartbeats: the I/O thread of each reactor writes one per turn, and one per second when idle.
 * Pure.
 */
export interface LostHeartbeat {
  readonly child: Child;
  readonly silentMs: number;
  readonly serving: readonly ServingNote[];
}

/**
 * The children whose last heartbeat is older than `graceMs` (0: none). Silence counts from
 * `awakeSinceMs` at the earliest: while the master was stopped, so were the reactors.
 */
export function lostHeartbeats(
  snapshot: StatsSnapshot,
  children: readonly Child[],
  { graceMs, awakeSinceMs }: { readonly graceMs: number; readonly awakeSinceMs: number },
): LostHeartbeat[] {
  if (graceMs === 0) return [];
  const awakeMs = snapshot.takenMs - awakeSinceMs;
  return children.flatMap((child) => {
    const stats = processOf(snapshot, child);
    const silentMs = stats === null ? 0 : Math.min(awakeMs, silenceOf(stats, snapshot.takenMs));
    if (stats === null || silentMs <= graceMs) return [];
    const records = stats.threads.flatMap(({ serving }) => (serving === null ? [] : [serving]));
    return [{ child, silentMs, serving: servingNotes(records, snapshot.takenMs) }];
  });
}

/** When heartbeats were last checked, and since when the master has run without a pause. */
export interface Attention {
  readonly lookedAtMs: number;
  readonly awakeSinceMs: number;
}

/** A check that comes much too late: the master was stopped in between (docker pause, Ctrl-Z). */
export function attentionAt(nowMs: number, everyMs: number, before: Attention): Attention {
  const slept = nowMs - before.lookedAtMs > 2 * everyMs;
  return { lookedAtMs: nowMs, awakeSinceMs: slept ? nowMs : before.awakeSinceMs };
}

export function processOf(
  snapshot: StatsSnapshot,
  child: Pick<Child, 'slot' | 'side'>,
): ProcessStats | null {
  const slot = snapshot.slots.find((each) => each.slot === child.slot);
  return slot?.processes.find((each) => each.side === child.side) ?? null;
}

/** 0 for a process whose I/O thread has not run yet. */
export function silenceOf({ threads }: ProcessStats, nowMs: number): number {
  const io = threads.find(({ thread }) => thread === 0);
  return io === undefined || io.heartbeatMs === 0 ? 0 : Math.max(0, nowMs - io.heartbeatMs);
}

/** Requests held by handlers that no thread was running. */
export function waitingOf(
  stats: ProcessStats | null,
  states: readonly string[],
  serving: readonly ServingNote[],
): number {
  const handling = stats?.connections[states.indexOf('handling')] ?? 0;
  return Math.max(0, handling - serving.filter(({ thread }) => thread > 0).length);
}

export function servingNotes(records: readonly ServingRecord[], nowMs: number): ServingNote[] {
  return records.map(({ thread, method, path, startedMs }) => {
    return { thread, method, path, forMs: Math.max(0, Math.round(nowMs - startedMs)) };
  });
}
