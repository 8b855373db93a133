import { closeSync, constants, openSync } from 'node:fs';
import { isatty } from 'node:tty';
import { MASTER_SIGNALS, type MasterSignal } from '../../shared/signals.js';

/** `hangup` is SIGHUP from the terminal that the program was started on, when it is closed. */
export type Received = MasterSignal | 'hangup';

/**
 * All of them are handled, even those that do nothing: Node would end at SIGHUP and open its
 * inspector at SIGUSR1.
 */
export function watchSignals(onSignal: (signal: Received) => void): void {
  // With nohup, or as a service, none of them is a terminal.
  const onTerminal = [0, 1, 2].some((fd) => isatty(fd)) && hasTerminal();
  for (const signal of MASTER_SIGNALS) {
    const handle = () => {
      onSignal(signal === 'SIGHUP' && onTerminal && !hasTerminal() ? 'hangup' : signal);
    };
    process.on(signal, once(handle));
  }
}

/** A closed terminal is no process's controlling terminal any more. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', constants.O_RDONLY | constants.O_NOCTTY | constants.O_NONBLOCK));
    return true;
  } catch {
    return false;
  }
}

/**
 * One order may arrive twice in the same instant: timeout(1) signals its child, then the group that
 * the child is in. What was sent before the first was handled is read in the next turn of the event
 * loop; after that turn a signal is a new order.
 */
function once(handle: () => void): () => void {
  let handling = false;
  return () => {
    if (handling) return;
    handling = true;
    handle();
    setImmediate(() => setImmediate(() => (handling = false)));
  };
}
