import { destination, pino } from 'pino';
import { MoonringError, messageOf } from '../shared/errors.js';
import type { LogFields, Logger, LogLevel } from '../shared/logger.js';
import { type LogOutput, type TerminalOptions, terminalOutput } from './terminal.js';

export interface MasterLog {
  readonly log: Logger;
  /** Written to standard output at every level: programs wait for this line. */
  readonly announce: (fields: LogFields, message: string) => void;
  /** A line that reactor `reactor` wrote: a record as it is, anything else inside one. */
  readonly relay: (reactor: number, line: string) => void;
  /** Opens the log file anew, after it was moved away. */
  readonly reopen: () => void;
}

/**
 * JSON lines in `file`, or on standard output, each written before the call returns, so that an
 * exit loses none. `terminal`: standard output is one, and a person reads there instead of a
 * program. Throws ERR_MOONRING_CONFIG.
 */
export function openLog(
  level: LogLevel,
  file: string | null,
  terminal: TerminalOptions | null = null,
): MasterLog {
  const descriptor = destination({ dest: 1, sync: true });
  const stdout = terminal === null ? descriptor : terminalOutput(descriptor, terminal);
  const output: LogOutput = file === null ? stdout : openFile(file);
  const base = { pid: process.pid };
  const lines = pino({ base, level: level === 'off' ? 'silent' : level }, output);
  const announcements = pino({ base, level: 'info' }, stdout);
  return {
    log: (lineLevel, fields, message) => lines[lineLevel](fields, message),
    announce: (fields, message) => announcements.info(fields, message),
    relay: (reactor, line) => {
      if (isRecord(line)) output.write(`${line}\n`);
      else if (line !== '') lines.error({ reactor, text: line }, 'reactor wrote to standard error');
    },
    reopen: () => {
      if (file !== null) output.reopen?.();
    },
  };
}

function openFile(file: string) {
  try {
    return destination({ dest: file, sync: true, append: true });
  } catch (cause) {
    const sentence = `the log file cannot be opened: ${messageOf(cause)}`;
    throw new MoonringError('ERR_MOONRING_CONFIG', sentence, { cause });
  }
}

/** Reactors write whole records, and nothing but records while they are well. */
function isRecord(line: string): boolean {
  return line.startsWith('{"level":') && line.endsWith('}');
}
