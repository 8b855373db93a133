import { lstatSync, unlinkSync } from 'node:fs';
import { type Address, formatAddress } from '../../shared/addresses.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import type { NativeAddon } from '../../shared/native.js';
import type { Config } from '../../shared/options.js';

type Sockets = Pick<
  NativeAddon,
  'openTcpListeners' | 'openUnixListener' | 'adoptListener' | 'joinTcpListeners' | 'closeDescriptor'
>;

export interface ListenPlan {
  readonly config: Pick<Config, 'host' | 'port' | 'uds' | 'udsMode' | 'backlog'>;
  /** Sockets to open per host: one per reactor, or one for the boss. */
  readonly tcpCount: number;
  /** Descriptors from a service manager; they replace all others. */
  readonly inheritedFds: readonly number[];
  /** Where host and port were set, for the error. */
  readonly origins: readonly string[];
}

/** Sockets of one address and port, one per reactor. */
export interface TcpGroup {
  readonly fds: readonly number[];
  /** As bound. */
  readonly host: string;
  readonly port: number;
}

export interface Listeners {
  readonly tcp: readonly TcpGroup[];
  /** Sockets that all reactors share: Unix sockets, and what a service manager opened. */
  readonly sharedFds: readonly number[];
  /** Where clients connect, the first listener first. */
  readonly addresses: readonly Address[];
  /** Removes the file of the Unix socket, if it is still ours. */
  readonly removeSocketFile: () => void;
}

/** With several hosts, a port that is free on the first one may be in use on another. */
const FREE_PORT_TRIES = 16;

/**
 * Opens the listening sockets. They belong to the master for its whole life: a crash or a restart
 * of a reactor closes none, so no waiting connection is lost. Throws ERR_MOONRING_LISTEN.
 */
export function openListeners(native: Sockets, plan: ListenPlan): Listeners {
  const { uds, udsMode, backlog, port } = plan.config;
  if (plan.inheritedFds.length > 0) return adopt(native, plan.inheritedFds);
  if (port === 'off' && uds === null) {
    const message = 'there is nothing to listen on: --port off needs --uds';
    throw new MoonringError('ERR_MOONRING_USAGE', message);
  }
  // The Unix socket last: a failure before it leaves no file behind.
  const tcp = port === 'off' ? [] : openTcp(native, plan, port);
  const unixFds =
    uds === null
      ? []
      : [
          attempt({ type: 'unix', path: uds }, [], () =>
            native.openUnixListener({ path: uds, mode: udsMode, backlog }),
          ),
        ];
  return {
    tcp,
    sharedFds: unixFds,
    addresses: [
      ...tcp.map(({ host, port }) => ({ type: 'tcp', host, port }) as const),
      ...(uds === null ? [] : [{ type: 'unix', path: uds } as const]),
    ],
    removeSocketFile: uds === null ? () => {} : socketFileRemover(uds),
  };
}

/** A group per host, all on the same port. */
function openTcp(native: Sockets, plan: ListenPlan, port: number): TcpGroup[] {
  const { host: hosts } = plan.config;
  for (let tries = 1; ; tries++) {
    const groups: TcpGroup[] = [];
    try {
      for (const host of hosts) groups.push(openGroup(native, plan, host, groups[0]?.port ?? port));
      return groups;
    } catch (error) {
      for (const { fds } of groups) for (const fd of fds) native.closeDescriptor(fd);
      const isTaken = error instanceof MoonringError && errnoOf(error.cause) === 'EADDRINUSE';
      if (port !== 0 || groups.length === 0 || !isTaken || tries === FREE_PORT_TRIES) throw error;
    }
  }
}

function openGroup(native: Sockets, plan: ListenPlan, host: string, port: number): TcpGroup {
  const { tcpCount: count, origins } = plan;
  const { backlog } = plan.config;
  const { fds, ...bound } = attempt({ type: 'tcp', host, port }, origins, () =>
    native.openTcpListeners({ host, port, backlog, count }),
  );
  return { fds, host: bound.address, port: bound.port };
}

/** One more socket for a group. Throws ERR_MOONRING_LISTEN. */
export function joinListeners(native: Sockets, { host, port }: TcpGroup, backlog: number): number {
  return attempt({ type: 'tcp', host, port }, [], () =>
    native.joinTcpListeners({ host, port, backlog }),
  );
}

/** Opens the socket of the admin listener, which only its owner may use. */
export function openAdminSocket(native: Sockets, path: string) {
  const fd = attempt({ type: 'unix', path }, [], () =>
    native.openUnixListener({ path, mode: 0o600, backlog: 16 }),
  );
  return { fd, removeFile: socketFileRemover(path) };
}

/**
 * Removes the socket file that exists now. By the end the path may name another server's socket, or
 * a file that was put there: these stay. To be called while the socket is open, because the number
 * of a file that is gone may be given to the next one.
 */
function socketFileRemover(path: string): () => void {
  const examine = () => {
    try {
      return lstatSync(path, { bigint: true });
    } catch {
      return null;
    }
  };
  const ours = examine();
  return () => {
    const now = examine();
    if (now === null || now.dev !== ours?.dev || now.ino !== ours.ino) return;
    try {
      unlinkSync(path);
    } catch {
      // Another process was faster, or the directory is read-only now.
    }
  };
}

function adopt(native: Sockets, fds: readonly number[]): Listeners {
  const addresses = fds.map((fd): Address => {
    try {
      const { family, address, port } = native.adoptListener(fd);
      return family === 1 ? { type: 'unix', path: address } : { type: 'tcp', host: address, port };
    } catch (cause) {
      const message = `descriptor ${fd} from LISTEN_FDS is not a listening socket: ${messageOf(cause)}`;
      throw new MoonringError('ERR_MOONRING_LISTEN', message, { cause });
    }
  });
  return { tcp: [], sharedFds: fds, addresses, removeSocketFile: () => {} };
}

function attempt<T>(address: Address, origins: readonly string[], open: () => T): T {
  try {
    return open();
  } catch (cause) {
    const origin = origins.length === 0 ? '' : ` (set by ${origins.join(' and ')})`;
    const message = listenProblem(cause, address, '--port (0 picks a free one)') + origin;
    throw new MoonringError('ERR_MOONRING_LISTEN', message, { cause });
  }
}

/** Why an address cannot be listened on. `option` chooses another one. */
export function listenProblem(cause: unknown, address: Address, option: string): string {
  const where = formatAddress(address);
  const isTcp = address.type === 'tcp';
  switch (errnoOf(cause)) {
    case 'EADDRINUSE':
      return `${where} is in use by another program: stop it, or choose another ${isTcp ? option : 'path'}`;
    case 'EACCES':
      return isTcp
        ? `no permission to listen on ${where}: choose a port above 1023, or give node CAP_NET_BIND_SERVICE`
        : `no permission to create ${where}`;
    case 'EADDRNOTAVAIL':
      return `${isTcp ? address.host : where} is not an address of this machine: choose another --host (* for all addresses)`;
    case 'ENOTSOCK':
      return `${where} exists and is not a socket: choose another path`;
    default:
      return `cannot listen on ${where}: ${messageOf(cause)}`;
  }
}

function errnoOf(cause: unknown): unknown {
  return cause instanceof Error && 'code' in cause ? cause.code : null;
}
