import type { Environment } from '../../shared/config.js';
import type { Logger } from '../../shared/logger.js';
import type { NativeAddon } from '../../shared/native.js';

/** What systemd and its like give to a service: listening sockets, and a socket to report to. */

/** Descriptors from 3 on, meant for one process. */
const FIRST_FD = 3;
const MOST = 64;

/** Not for the processes that we start. */
export const SERVICE_VARIABLES = [
  'LISTEN_PID',
  'LISTEN_FDS',
  'LISTEN_FDNAMES',
  'NOTIFY_SOCKET',
] as const;

/** What the service manager has opened for the process `pid`; none if they are another's. */
export function inheritedListeners(env: Environment, pid: number): number[] {
  if (env['LISTEN_PID'] !== String(pid)) return [];
  const count = Number(env['LISTEN_FDS']);
  if (!Number.isInteger(count) || count < 1 || count > MOST) return [];
  return Array.from({ length: count }, (_, i) => FIRST_FD + i);
}

/** Reports the state; does nothing without a service manager. */
export function makeNotifier(
  native: Pick<NativeAddon, 'notify'>,
  path: string | undefined,
  log: Logger,
): (text: string) => void {
  let last = '';
  return (text) => {
    if (path === undefined || path === '' || text === last) return;
    last = text;
    try {
      native.notify(path, text);
    } catch (error) {
      log('warn', { err: error, text }, 'the service manager could not be notified');
    }
  };
}
