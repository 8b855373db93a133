import { closeSync, openSync } from 'node:fs';
import { pino } from 'pino';
import { MoonringError, messageOf } from '../../shared/errors.js';
import type { LogFields, Logger, LogLevel } from '../../shared/logger.js';
import type { NativeAddon } from '../../shared/native.js';
import { type LineOutput, lineOutput } from './line-output.js';
import { type TerminalOptions, terminalOutput } from './terminal.js';

export interface MasterLog {
  readonly log: Logger;
  /** Written to standard output at every level: programs wait for this line. */
  readonly announce: (fields: LogFields, message: string) => void;
  /** A line that reactor `reactor` wrote: a record as it is, anything else inside one. */
  readonly relay: (reactor: number, line: string) => void;
  /** Opens the log file anew, after it was moved away. */
  readonly reopen: () => void;
  /**
   * Waits as the end of the process does for who reads, and closes the log file: what is logged
   * later is lost there.
   */
  readonly close: () => void;
}

/** How long the end of the process waits for who reads the log. */
const LAST_LINES_MS = 500;

export interface LogOptions {
  readonly level: LogLevel;
  /** `null`: standard output. */
  readonly file: string | null;
  /** Standard output is one, and a person reads there instead of a program. */
  readonly terminal: TerminalOptions | null;
}

/**
 * JSON lines in a file, or on standard output, each written before the call returns if the reader
 * keeps up. Throws ERR_MOONRING_CONFIG.
 */
export function openLog(
  native: Pick<NativeAddon, 'openLines'>,
  { level, file, terminal }: LogOptions,
): MasterLog {
  const plain = lineOutput(native.openLines(1));
  const stdout = terminal === null ? plain : terminalOutput(plain, terminal);
  const kept = file === null ? null : openFile(native, file);
  const output = kept?.output ?? stdout;
  const flush = () => {
    for (const each of [plain, kept?.output]) each?.flush(LAST_LINES_MS);
  };
  process.once('exit', flush);
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
      try {
        kept?.reopen();
      } catch (error) {
        lines.error({ error: messageOf(error) }, 'the log file cannot be opened anew');
      }
    },
    close: () => {
      process.off('exit', flush);
      flush();
      kept?.close();
    },
  };
}

interface LogFile {
  readonly output: LineOutput;
  /** The file under that name as it is now. Throws, and keeps the old one, if there is none. */
  reopen(): void;
  /** What is written later goes nowhere, nor to another file that got the same number. */
  close(): void;
}

function openFile(native: Pick<NativeAddon, 'openLines'>, file: string): LogFile {
  const open = () => {
    const fd = openSync(file, 'a');
    return { fd, write: native.openLines(fd) };
  };
  let current: ReturnType<typeof open> | null;
  try {
    current = open();
  } catch (cause) {
    const sentence = `the log file cannot be opened: ${messageOf(cause)}`;
    throw new MoonringError('ERR_MOONRING_CONFIG', sentence, { cause });
  }
  return {
    output: lineOutput((lines) => current?.write(lines) ?? lines.length),
    reopen: () => {
      if (current === null) return;
      const next = open();
      closeSync(current.fd);
      current = next;
    },
    close: () => {
      if (current !== null) closeSync(current.fd);
      current = null;
    },
  };
}

/** Reactors write whole records, and nothing but records while they are well. */
function isRecord(line: string): boolean {
  return line.startsWith('{"level":') && line.endsWith('}');
}
