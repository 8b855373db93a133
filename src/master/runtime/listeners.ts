import { type Address, formatAddress } from '../../shared/addresses.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import type { NativeAddon } from '../../shared/native.js';
import type { Config } from '../../shared/options.js';

type Sockets = Pick<
  NativeAddon,
  'openTcpListeners' | 'openUnixListener' | 'adoptListener' | 'joinTcpListeners'
>;

export interface ListenPlan {
  readonly config: Pick<Config, 'host' | 'port' | 'uds' | 'udsMode' | 'backlog'>;
  /** TCP sockets to open: one a reactor, or one for the boss. */
  readonly tcpCount: number;
  /** Descriptors from a service manager; they replace all others. */
  readonly inheritedFds: readonly number[];
  /** Where host and port were set, for the error. */
  readonly origins: readonly string[];
}

export interface Listeners {
  /** Sockets of one port, one a reactor. */
  readonly tcpFds: readonly number[];
  /** Sockets that all reactors share: Unix sockets, and what a service manager opened. */
  readonly sharedFds: readonly number[];
  /** Where clients connect, the first listener first. */
  readonly addresses: readonly Address[];
  /** The file that is ours to remove. */
  readonly socketPath: string | null;
}

/**
 * Opens the listening sockets. They belong to the master for its whole life: a crash or a restart
 * of a reactor closes none, so no waiting connection is lost. Throws ERR_MOONRING_LISTEN with a
 * sentence.
 */
export function openListeners(native: Sockets, plan: ListenPlan): Listeners {
  const { host, port, uds, udsMode, backlog } = plan.config;
  if (plan.inheritedFds.length > 0) return adopt(native, plan.inheritedFds);
  if (port === 'off' && uds === null) {
    const sentence = 'there is nothing to listen on: --port off needs --uds';
    throw new MoonringError('ERR_MOONRING_USAGE', sentence);
  }
  // The Unix socket first: whatever fails then leaves no file behind.
  const tcp =
    port === 'off'
      ? null
      : attempt({ type: 'tcp', host, port }, plan.origins, () =>
          native.openTcpListeners({ host, port, backlog, count: plan.tcpCount }),
        );
  const unixFds =
    uds === null
      ? []
      : [
          attempt({ type: 'unix', path: uds }, [], () =>
            native.openUnixListener({ path: uds, mode: udsMode, backlog }),
          ),
        ];
  return {
    tcpFds: tcp?.fds ?? [],
    sharedFds: unixFds,
    addresses: [
      ...(tcp === null ? [] : [{ type: 'tcp', host: tcp.address, port: tcp.port } as const]),
      ...(uds === null ? [] : [{ type: 'unix', path: uds } as const]),
    ],
    socketPath: uds,
  };
}

/** One more socket on the port that the others share. Throws ERR_MOONRING_LISTEN. */
export function joinListeners(native: Sockets, address: Address, backlog: number): number {
  if (address.type === 'unix') throw new TypeError('a Unix socket has no group');
  const { host, port } = address;
  return attempt(address, [], () => native.joinTcpListeners({ host, port, backlog }));
}

/** Opens the socket of the admin listener, which only its owner may use. */
export function openAdminSocket(native: Sockets, path: string): number {
  return attempt({ type: 'unix', path }, [], () =>
    native.openUnixListener({ path, mode: 0o600, backlog: 16 }),
  );
}

function adopt(native: Sockets, fds: readonly number[]): Listeners {
  const addresses = fds.map((fd): Address => {
    try {
      const { family, address, port } = native.adoptListener(fd);
      return family === 1 ? { type: 'unix', path: address } : { type: 'tcp', host: address, port };
    } catch (cause) {
      const sentence = `descriptor ${fd} from LISTEN_FDS is not a listening socket: ${messageOf(cause)}`;
      throw new MoonringError('ERR_MOONRING_LISTEN', sentence, { cause });
    }
  });
  return { tcpFds: [], sharedFds: fds, addresses, socketPath: null };
}

function attempt<T>(address: Address, origins: readonly string[], open: () => T): T {
  try {
    return open();
  } catch (cause) {
    const origin = origins.length === 0 ? '' : ` (set by ${origins.join(' and ')})`;
    const sentence = listenSentence(cause, address, '--port (0 picks a free one)') + origin;
    throw new MoonringError('ERR_MOONRING_LISTEN', sentence, { cause });
  }
}

/** Why an address cannot be listened on. `option` chooses another one. */
export function listenSentence(cause: unknown, address: Address, option: string): string {
  const where = formatAddress(address);
  const isTcp = address.type === 'tcp';
  switch (errnoOf(cause)) {
    case 'EADDRINUSE':
      return isTcp
        ? `${where} is in use by another program: stop it, or choose another ${option}`
        : `${where} is served by another program: stop it, or choose another path`;
    case 'EACCES':
      return isTcp
        ? `no permission to listen on ${where}: choose a port above 1023, or give this program the right to`
        : `no permission to make ${where}`;
    case 'EADDRNOTAVAIL':
      return `${isTcp ? address.host : where} is not an address of this machine: choose another --host (0.0.0.0 for all)`;
    case 'ENOTSOCK':
      return `${where} exists and is not a socket: choose another path`;
    default:
      return `cannot listen on ${where}: ${messageOf(cause)}`;
  }
}

function errnoOf(cause: unknown): unknown {
  return cause instanceof Error && 'code' in cause ? cause.code : null;
}
