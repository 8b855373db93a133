/** These end the master: the first drains, the second stops at once, the third kills. */
export const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const;

/** Orders to other servers. Here they are logged, where Node would end or be stopped. */
export const FOREIGN_SIGNALS = ['SIGUSR2', 'SIGTTIN', 'SIGTTOU'] as const;

/** The signals that the master takes. Its reactors hear of them from it alone. */
export const MASTER_SIGNALS = [...STOP_SIGNALS, 'SIGHUP', 'SIGUSR1', ...FOREIGN_SIGNALS] as const;

export type StopSignal = (typeof STOP_SIGNALS)[number];
export type MasterSignal = (typeof MASTER_SIGNALS)[number];
/** `hangup`: the terminal that the server was started on has been closed. */
export type ReceivedSignal = MasterSignal | 'hangup';
