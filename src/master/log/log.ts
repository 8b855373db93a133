import { closeSync, constants, openSync, statSync } from 'node:fs';
import { pino } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { MoonringError, messageOf } from '../../shared/errors.js';
import {
  type LineLevel,
  type LogFields,
  type Logger,
  type LogLevel,
  parseRecord,
} from '../../shared/logger.js';
import type { NativeAddon } from '../../shared/native.js';
import { type LineOutput, type LogOutput, lineOutput } from './line-output.js';

export interface MasterLog {
  readonly log: Logger;
  /** Written to standard output at every level: programs wait for this line. */
  readonly announce: (fields: LogFields, message: string) => void;
  /** A line from a reactor: a record unchanged, anything else as the text of one. */
  readonly relay: (reactor: number, line: string, stream: OutputStream) => void;
  /** After a reload; the ready line is written at every level. */
  readonly setLevel: (level: LogLevel) => void;
  /** Reopens the log file after it was renamed. */
  readonly reopen: () => void;
  /**
   * Waits for the reader as at the end of the process, and closes the log file: later records are
   * lost.
   */
  readonly close: () => void;
}

export type OutputStream = 'stdout' | 'stderr';

/** How long the end of the process waits for the reader of the log. */
const LAST_LINES_MS = 500;

export interface LogOptions {
  readonly level: LogLevel;
  /** `null`: standard output. */
  readonly file: string | null;
  /** Standard output is a terminal: the log is formatted for people. */
  readonly terminal: { readonly colour: boolean } | null;
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
  const stdout = terminal === null ? plain : terminalOutput(plain, terminal.colour);
  const kept = file === null ? null : openFile(native, file);
  const output = kept?.output ?? stdout;
  const flush = () => {
    for (const each of [plain, kept?.output]) each?.flush(LAST_LINES_MS);
  };
  process.once('exit', flush);
  const base = { pid: process.pid };
  const lines = pino({ base, level: pinoLevel(level) }, output);
  const announcements = pino({ base, level: 'info' }, stdout);
  return {
    log: (lineLevel, fields, message) => lines[lineLevel](fields, message),
    announce: (fields, message) => announcements.info(fields, message),
    relay: (reactor, line, stream) => {
      if (isRecord(line)) output.write(`${line}\n`);
      else relayText(lines, reactor, line, stream);
    },
    setLevel: (changed) => {
      lines.level = pinoLevel(changed);
    },
    reopen: () => {
      try {
        kept?.reopen();
      } catch (error) {
        lines.error({ err: error }, 'the log file cannot be reopened');
      }
    },
    close: () => {
      process.off('exit', flush);
      flush();
      kept?.close();
    },
  };
}

/** The interface required of the program's logger: pino's, or a similar one. */
export type PinoLogger = Readonly<Record<LineLevel, (fields: LogFields, message: string) => void>>;

/** Every record goes to `logger`, which has its own level and destination. */
export function forwardLog(logger: PinoLogger): MasterLog {
  return {
    log: (level, fields, message) => logger[level](fields, message),
    announce: (fields, message) => logger.info(fields, message),
    relay: (reactor, line, stream) => {
      const record = isRecord(line) ? parseRecord(line) : null;
      if (record !== null) logger[record.level](record.fields, record.message);
      else relayText(logger, reactor, line, stream);
    },
    setLevel: () => {},
    reopen: () => {},
    close: () => {},
  };
}

/** Formats a JSON line for people; written before the call returns. */
export function terminalOutput(output: LogOutput, colour: boolean): LogOutput {
  const format = prettyFactory({ colorize: colour, ignore: 'hostname', singleLine: true });
  return { write: (line) => output.write(format(line)) };
}

function pinoLevel(level: LogLevel): string {
  return level === 'off' ? 'silent' : level;
}

/**
 * A FIFO is opened for reading as well: opening it only for writing blocks until there is a reader,
 * and a reader that exits would break the pipe. Lines that do not fit wait, as in every output.
 */
function openLogFile(file: string): number {
  const { O_APPEND, O_CREAT, O_NOCTTY, O_RDWR, O_WRONLY } = constants;
  const isFifo = statSync(file, { throwIfNoEntry: false })?.isFIFO() === true;
  return openSync(file, (isFifo ? O_RDWR : O_WRONLY | O_APPEND | O_CREAT) | O_NOCTTY, 0o666);
}

interface LogFile {
  readonly output: LineOutput;
  /** Opens the file that currently has the name. If that fails, throws and keeps the old one. */
  reopen(): void;
  /** Lines written later are dropped: the descriptor may belong to another file. */
  close(): void;
}

function openFile(native: Pick<NativeAddon, 'openLines'>, file: string): LogFile {
  const open = () => {
    const fd = openLogFile(file);
    return { fd, write: native.openLines(fd) };
  };
  let current: ReturnType<typeof open> | null;
  try {
    current = open();
  } catch (cause) {
    const message = `the log file cannot be opened: ${messageOf(cause)}`;
    throw new MoonringError('ERR_MOONRING_CONFIG', message, { cause });
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

/** Output that did not come through a reactor's log. */
function relayText(log: PinoLogger, reactor: number, text: string, stream: OutputStream): void {
  if (text === '') return;
  if (stream === 'stdout') log.info({ reactor, text }, 'reactor wrote to standard output');
  else log.error({ reactor, text }, 'reactor wrote to standard error');
}

/** The native log of a reactor writes whole records. */
function isRecord(line: string): boolean {
  return line.startsWith('{"level":') && line.endsWith('}');
}
