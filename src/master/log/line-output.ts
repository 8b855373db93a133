import { messageOf } from '../../shared/errors.js';
import { formatLogLine } from '../../shared/logger.js';
import type { LineWriter } from '../../shared/native.js';

/** The destination of log lines: a file, standard output, or a terminal. */
export interface LogOutput {
  write(line: string): void;
}

export interface LineOutput extends LogOutput {
  /** Writes pending lines, for at most `waitMs`: for the end of the process. */
  flush(waitMs: number): void;
}

/** Bytes that may wait for a slow reader. */
const PENDING_MAX = 256 * 1024;
const RETRY_MS = 50;
const NAP_MS = 5;

/**
 * Lines for a file, pipe or terminal that may be full: each is written before the call returns if
 * there is room, otherwise it waits; when too many are waiting it is dropped and counted. So a log
 * that is not read delays nothing.
 */
export function lineOutput(take: LineWriter): LineOutput {
  let pending: Buffer = Buffer.alloc(0);
  let lost = 0;
  let reason = '';
  let retry: NodeJS.Timeout | undefined;

  function write(line: string): void {
    const bytes = Buffer.from(line);
    if (pending.length + bytes.length > PENDING_MAX) {
      lost++;
      reason = 'the reader is too slow';
    } else {
      pending = pending.length === 0 ? bytes : Buffer.concat([pending, bytes]);
    }
    send();
  }

  function send(): void {
    try {
      if (pending.length > 0) offer();
      if (pending.length === 0 && lost > 0) sayLost();
    } catch (error) {
      lost += linesIn(pending);
      reason = messageOf(error);
      pending = Buffer.alloc(0);
    }
    if (pending.length === 0 || retry !== undefined) return;
    retry = setTimeout(() => {
      retry = undefined;
      send();
    }, RETRY_MS).unref();
  }

  function offer(): void {
    pending = pending.subarray(take(pending));
  }

  function sayLost(): void {
    const prefix = { nowMs: Date.now(), pid: process.pid };
    const record = formatLogLine('warn', prefix, { lost, reason }, 'log lines were lost');
    pending = Buffer.from(record);
    offer();
    lost = 0;
  }

  function flush(waitMs: number): void {
    const untilMs = performance.now() + waitMs;
    const nap = new Int32Array(new SharedArrayBuffer(4));
    for (send(); pending.length > 0 && performance.now() < untilMs; send()) {
      Atomics.wait(nap, 0, 0, NAP_MS);
    }
  }

  return { write, flush };
}

function linesIn(bytes: Buffer): number {
  return bytes.reduce((lines, byte) => lines + (byte === 10 ? 1 : 0), 0);
}
