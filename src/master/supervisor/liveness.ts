import type { ProcessStats, ServingRecord, StatsSnapshot } from '../../shared/native-stats.js';
import type { Child, ServingNote } from './supervision.js';

/**
 * Who is busy and who is dead: the IO thread of each reactor writes a heartbeat at every turn, and
 * once a second when it has nothing to do. Pure.
 */
export interface Silence {
  readonly child: Child;
  readonly silentMs: number;
  readonly serving: readonly ServingNote[];
}

/** The children that have given no sign of life for `graceMs`; 0: never any. */
export function silentChildren(
  snapshot: StatsSnapshot,
  children: readonly Child[],
  graceMs: number,
): Silence[] {
  if (graceMs === 0) return [];
  return children.flatMap((child) => {
    const stats = processOf(snapshot, child);
    const silentMs = stats === null ? 0 : silenceOf(stats, snapshot.takenMs);
    if (stats === null || silentMs <= graceMs) return [];
    const records = stats.threads.flatMap(({ serving }) => (serving === null ? [] : [serving]));
    return [{ child, silentMs, serving: servingNotes(records, snapshot.takenMs) }];
  });
}

export function processOf(snapshot: StatsSnapshot, child: Child): ProcessStats | null {
  const slot = snapshot.slots.find((each) => each.slot === child.slot);
  return slot?.processes.find((each) => each.side === child.side) ?? null;
}

/** 0 for a process whose IO thread has not run yet. */
export function silenceOf({ threads }: ProcessStats, nowMs: number): number {
  const io = threads.find(({ thread }) => thread === 0);
  return io === undefined || io.heartbeatMs === 0 ? 0 : Math.max(0, nowMs - io.heartbeatMs);
}

export function servingNotes(records: readonly ServingRecord[], nowMs: number): ServingNote[] {
  return records.map(({ thread, method, path, startedMs }) => {
    return { thread, method, path, forMs: Math.max(0, Math.round(nowMs - startedMs)) };
  });
}
