import type { Environment } from '../../shared/config.js';

/** Socket activation as systemd does it: descriptors from 3 on, meant for one process. Pure. */
const FIRST_FD = 3;
const MOST = 64;

/** What the service manager has opened for the process `pid`; none if it meant another one. */
export function inheritedListeners(env: Environment, pid: number): number[] {
  if (env['LISTEN_PID'] !== String(pid)) return [];
  const count = Number(env['LISTEN_FDS']);
  if (!Number.isInteger(count) || count < 1 || count > MOST) return [];
  return Array.from({ length: count }, (_, i) => FIRST_FD + i);
}

/** Not for the processes that we start. */
export const ACTIVATION_VARIABLES = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES'] as const;
