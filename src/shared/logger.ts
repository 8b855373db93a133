/**
 * The shape of a log line, shared by the master's pino, the reactors and the native core. Reactors
 * must not load pino (start-up time and memory), so this file names no logging library.
 */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'fatal', 'off'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LineLevel = Exclude<LogLevel, 'off'>;
export type LogFields = Readonly<Record<string, unknown>>;

/** Writes one line, or nothing if the level is filtered. */
export type Logger = (level: LineLevel, fields: LogFields, message: string) => void;

const LEVEL_NUMBERS: Readonly<Record<LineLevel, number>> = {
  debug: 20,
  info: 30,
  warn: 40,
  error: 50,
  fatal: 60,
};

const LINE_LEVELS = Object.keys(LEVEL_NUMBERS) as LineLevel[];

export interface LinePrefix {
  readonly nowMs: number;
  readonly pid: number;
}

/** One JSON line as pino writes it, with its newline. */
export function formatLogLine(
  level: LineLevel,
  { nowMs, pid }: LinePrefix,
  fields: LogFields,
  message: string,
): string {
  return `${JSON.stringify({ level: LEVEL_NUMBERS[level], time: nowMs, pid, ...fields, msg: message })}\n`;
}

/** The parts of a reactor's line, without the time, which the logger adds; `null` for other text. */
export function parseRecord(
  line: string,
): { readonly level: LineLevel; readonly fields: LogFields; readonly message: string } | null {
  try {
    const { level: number, time: _, msg, pid: reactorPid, ...fields } = JSON.parse(line);
    const level = LINE_LEVELS.find((name) => LEVEL_NUMBERS[name] === number);
    if (level === undefined) return null;
    return { level, fields: { reactorPid, ...fields }, message: String(msg) };
  } catch {
    return null;
  }
}
