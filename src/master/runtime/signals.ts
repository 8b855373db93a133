import { MASTER_SIGNALS, type MasterSignal } from '../../shared/signals.js';

/**
 * All of them are taken even where nothing is to be done: Node ends at SIGHUP and opens its
 * inspector at SIGUSR1.
 */
export function watchSignals(onSignal: (signal: MasterSignal) => void): void {
  for (const signal of MASTER_SIGNALS)
    process.on(
      signal,
      once(() => onSignal(signal)),
    );
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
