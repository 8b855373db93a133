/** The signals that the master takes as orders. Its reactors hear of them from it alone. */
export const MASTER_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR1'] as const;

export type MasterSignal = (typeof MASTER_SIGNALS)[number];
