import type { MasterSignal } from './supervision.js';

/** All of them are taken even where nothing is to be done: Node ends at SIGHUP and opens its inspector at SIGUSR1. */
const SIGNALS: readonly MasterSignal[] = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR1'];

export function watchSignals(onSignal: (signal: MasterSignal) => void): void {
  for (const signal of SIGNALS) process.on(signal, () => onSignal(signal));
}
