/** These end the master: the first drains, the second stops at once, the third kills. */
export const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const;

/** Orders in other servers. Here they are logged; by default Node would exit or be stopped. */
export const FOREIGN_SIGNALS = ['SIGUSR2', 'SIGTTIN', 'SIGTTOU'] as const;

/** The signals handled by the master. Only the master tells reactors about them. */
export const MASTER_SIGNALS = [...STOP_SIGNALS, 'SIGHUP', 'SIGUSR1', ...FOREIGN_SIGNALS] as const;

export type StopSignal = (typeof STOP_SIGNALS)[number];
export type MasterSignal = (typeof MASTER_SIGNALS)[number];
/** `hangup`: the terminal that started the server was closed. */
export type ReceivedSignal = MasterSignal | 'hangup';
