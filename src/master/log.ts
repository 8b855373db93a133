import { destination, pino } from 'pino';
import type { LogFields, Logger, LogLevel } from '../shared/logger.js';

export interface MasterLog {
  readonly log: Logger;
  /** Written at every level: programs wait for this line. */
  readonly announce: (fields: LogFields, message: string) => void;
}

/**
 * JSON lines on standard output, each written before the call returns, so that an exit loses none.
 */
export function openLog(level: LogLevel): MasterLog {
  const output = destination({ dest: 1, sync: true });
  const base = { pid: process.pid };
  const lines = pino({ base, level: level === 'off' ? 'silent' : level }, output);
  const announcements = pino({ base, level: 'info' }, output);
  return {
    log: (lineLevel, fields, message) => lines[lineLevel](fields, message),
    announce: (fields, message) => announcements.info(fields, message),
  };
}
