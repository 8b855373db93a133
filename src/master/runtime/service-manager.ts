import type { Environment } from '../../shared/config.js';
import type { Logger } from '../../shared/logger.js';
import type { NativeAddon } from '../../shared/native.js';

/** What systemd and similar managers provide to a service: listening sockets, and a socket to
 * report to. */

/** Descriptors from 3 on, meant for one process. */
const FIRST_FD = 3;
const MOST = 64;

/** Not for processes that we start. */
export const SERVICE_VARIABLES = [
  'LISTEN_PID',
  'LISTEN_FDS',
  'LISTEN_FDNAMES',
  'NOTIFY_SOCKET',
  'WATCHDOG_PID',
  'WATCHDOG_USEC',
] as const;

export interface InheritedListener {
  readonly fd: number;
  /** Of `FileDescriptorName=`; `''` if there is none. */
  readonly name: string;
}

/** The sockets opened by the service manager for the process `pid`; none if they are for
 * another. */
export function inheritedListeners(env: Environment, pid: number): InheritedListener[] {
  if (env['LISTEN_PID'] !== String(pid)) return [];
  const count = Number(env['LISTEN_FDS']);
  if (!Number.isInteger(count) || count < 1 || count > MOST) return [];
  const names = (env['LISTEN_FDNAMES'] ?? '').split(':');
  return Array.from({ length: count }, (_, i) => ({ fd: FIRST_FD + i, name: names[i] ?? '' }));
}

/** Reports to the service manager; does nothing without one. */
export interface ServiceManager {
  ready(): void;
  reloading(): void;
  /** Successful or not; does nothing without a preceding `reloading`. */
  reloaded(): void;
  stopping(): void;
  /** From now on reports that it is alive, as often as required, while `isAlive`. */
  watch(isAlive: () => boolean): void;
  close(): void;
}

export interface ServiceManagerInputs {
  readonly native: Pick<NativeAddon, 'notify' | 'monotonicMs'>;
  readonly env: Environment;
  readonly pid: number;
  readonly log: Logger;
}

export function serviceManager({ native, env, pid, log }: ServiceManagerInputs): ServiceManager {
  const path = env['NOTIFY_SOCKET'] ?? '';
  const everyMs = watchdogMs(env, pid);
  let state: 'starting' | 'ready' | 'reloading' | 'stopping' = 'starting';
  let watchdog: NodeJS.Timeout | undefined;

  function notify(text: string): void {
    if (path === '') return;
    try {
      native.notify(path, text);
    } catch (error) {
      log('warn', { err: error, text }, 'the service manager could not be notified');
    }
  }

  return {
    ready: () => {
      state = 'ready';
      notify('READY=1');
    },
    reloading: () => {
      if (state !== 'ready') return;
      state = 'reloading';
      // The time tells the manager that this is about its signal, not an earlier one.
      notify(`RELOADING=1\nMONOTONIC_USEC=${Math.round(native.monotonicMs() * 1000)}`);
    },
    reloaded: () => {
      if (state !== 'reloading') return;
      state = 'ready';
      notify('READY=1');
    },
    stopping: () => {
      if (state === 'stopping') return;
      state = 'stopping';
      notify('STOPPING=1');
    },
    watch: (isAlive) => {
      if (everyMs === null || path === '') return;
      const beat = () => {
        if (isAlive()) notify('WATCHDOG=1');
      };
      beat();
      watchdog = setInterval(beat, everyMs).unref();
    },
    close: () => clearInterval(watchdog),
  };
}

/** Half of the manager's watchdog timeout; `null`: no watchdog. */
function watchdogMs(env: Environment, pid: number): number | null {
  const watched = env['WATCHDOG_PID'];
  if (watched !== undefined && watched !== String(pid)) return null;
  const text = env['WATCHDOG_USEC'] ?? '';
  const everyMs = /^\d{1,15}$/.test(text) ? Number(text) / 2000 : 0;
  // Times beyond the range of Node's timers would fire at once; they are weeks long.
  return everyMs < 1 ? null : Math.min(everyMs, 86_400_000);
}
