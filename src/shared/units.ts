/**
 * Human-readable sizes (`64k`) and durations (`30s`). Strict: one spelling, whole numbers. A parser
 * returns the value, or a problem, to which the caller prepends the location of the text.
 */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problem: string };

const SIZE_UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };
const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

export function parsed<T>(value: T): Parsed<T> {
  return { ok: true, value };
}

export function problem(text: string): Parsed<never> {
  return { ok: false, problem: text };
}

/** A whole number without sign, spaces, exponent or separators. */
export function parseCount(text: string): Parsed<number> {
  if (!/^\d{1,15}$/.test(text)) return problem(`"${text}" is not a whole number`);
  return parsed(Number(text));
}

/** Bytes: a whole number, or one with `k`, `m` or `g` (powers of 1024). */
export function parseSize(text: string): Parsed<number> {
  const bytes = scale(text, SIZE_UNITS);
  return bytes === null
    ? problem(`"${text}" is not a size: write bytes, or a whole number with k, m or g, like 64k`)
    : parsed(bytes);
}

/** Milliseconds: a whole number with `ms`, `s`, `m` or `h`, or a bare `0`. */
export function parseDuration(text: string): Parsed<number> {
  if (text === '0') return parsed(0);
  const durationMs = scale(text, DURATION_UNITS);
  if (durationMs !== null) return parsed(durationMs);
  const hint = /^\d{1,9}$/.test(text)
    ? `has no unit: write ${text}s or ${text}ms`
    : 'is not a duration: write a whole number with ms, s, m or h, like 500ms or 30s';
  return problem(`"${text}" ${hint}`);
}

function scale(text: string, units: Readonly<Record<string, number>>): number | null {
  const match = /^(\d{1,12})([a-z]{0,2})$/.exec(text);
  const factor = match ? units[match[2] ?? ''] : undefined;
  if (!match || factor === undefined) return null;
  const value = Number(match[1]) * factor;
  return Number.isSafeInteger(value) ? value : null;
}

/** The shortest text that parses to `bytes`. */
export function formatSize(bytes: number): string {
  return shortest(bytes, SIZE_UNITS);
}

/** The shortest text that parses to `durationMs`. */
export function formatDuration(durationMs: number): string {
  return durationMs === 0 ? '0' : shortest(durationMs, DURATION_UNITS);
}

function shortest(value: number, units: Readonly<Record<string, number>>): string {
  const fitting = Object.entries(units).filter(([, factor]) => value % factor === 0);
  const [unit, factor] = fitting.at(value === 0 ? 0 : -1) ?? ['', 1];
  return `${value / factor}${unit}`;
}
