// What a reactor holds, and how long it takes to be rid of what an attack has cost.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const INTERVAL_MS = 50;
const REST_MS = 3000;

export function descriptors(pid) {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Resident memory in MiB. */
export function residentMib(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)[1]) / 1024;
}

export function usage(pid) {
  return { descriptors: descriptors(pid), residentMib: residentMib(pid) };
}

/**
 * Waits until the process is back to the descriptors of `before`, and to its memory plus
 * `slackMib`, or for `patienceMs`. Freed memory has REST_MS in any case to become less still.
 * Returns what it holds then, and how long it took.
 */
export async function settle(pid, before, { slackMib, patienceMs }) {
  const begin = performance.now();
  for (;;) {
    const now = usage(pid);
    const tookMs = performance.now() - begin;
    const more = now.residentMib - before.residentMib;
    const isBack = now.descriptors <= before.descriptors && more <= slackMib;
    const isDone = isBack && (more < 1 || tookMs >= REST_MS);
    if (isDone || tookMs > patienceMs) return { ...now, tookMs };
    await delay(INTERVAL_MS);
  }
}

/** Resolves once `condition` is true, with whether it became so in time. */
export async function becomes(condition, patienceMs) {
  const end = performance.now() + patienceMs;
  while (!condition()) {
    if (performance.now() > end) return false;
    await delay(INTERVAL_MS);
  }
  return true;
}
