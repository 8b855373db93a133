import type { StatusReport } from '../admin/status.js';

/** Human-readable figures, in few characters. Pure. */

export function formatNumber(value: number | null): string {
  if (value === null) return '–';
  if (value < 10 && !Number.isInteger(value)) return value.toFixed(1);
  if (value < 100_000) return Math.round(value).toLocaleString('en-US');
  return value < 10_000_000 ? `${Math.round(value / 1000)}k` : `${Math.round(value / 1e6)}m`;
}

export function formatMs(ms: number | null): string {
  if (ms === null) return '–';
  if (ms < 10) return `${ms.toFixed(2)}ms`;
  if (ms < 1000) return `${Math.round(ms)}ms`;
  return ms < 100_000 ? `${(ms / 1000).toFixed(1)}s` : formatSpan(ms / 1000);
}

const UNITS = ['', 'K', 'M', 'G', 'T'];

/** With powers of 1024. */
export function formatBytes(bytes: number | null): string {
  if (bytes === null) return '–';
  let [value, unit] = [bytes, 0];
  for (; value >= 1000 && unit < UNITS.length - 1; unit++) value /= 1024;
  const digits = unit === 0 || value >= 10 ? 0 : 1;
  return `${value.toFixed(digits)}${UNITS[unit]}`;
}

/** The two largest units. */
export function formatSpan(seconds: number): string {
  const whole = Math.floor(seconds);
  const parts = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'm'],
    [whole % 60, 's'],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  if (first === -1) return '0s';
  return parts
    .slice(first, first + 2)
    .map(([count, unit]) => `${count}${unit}`)
    .join(' ');
}

/** Percentage of one CPU between two reports; `null` if the process did not exist, or has
 * changed. */
export function cpuShare(
  report: StatusReport,
  earlier: StatusReport | null,
  name: string,
): number | null {
  const find = (at: StatusReport | null) => at?.processes.find(({ process }) => process === name);
  const [now, then] = [find(report), find(earlier)];
  const seconds = report.uptimeSeconds - (earlier?.uptimeSeconds ?? 0);
  if (now === undefined || then === undefined || seconds <= 0) return null;
  const used = now.cpuSeconds - then.cpuSeconds;
  return used < 0 ? null : used / seconds;
}

/**
 * Client text without terminal control sequences, one column per character.
 */
export function printable(text: string): string {
  return text.replace(/[^ -~–…]/g, '?');
}

/** The growth of a count per second between two reports; `null` without an earlier one. */
export function perSecond(
  report: StatusReport,
  earlier: StatusReport | null,
  count: (report: StatusReport) => number,
): number | null {
  const seconds = report.uptimeSeconds - (earlier?.uptimeSeconds ?? 0);
  if (earlier === null || seconds <= 0) return null;
  return Math.max(0, count(report) - count(earlier)) / seconds;
}
