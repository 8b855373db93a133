import { lstatSync, unlinkSync } from 'node:fs';
import { type Address, formatAddress } from '../../shared/addresses.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import type { NativeAddon } from '../../shared/native.js';
import type { Config } from '../../shared/options.js';
import type { InheritedListener } from './service-manager.js';
import { requireAddresses } from './startable.js';

type Sockets = Pick<
  NativeAddon,
  'openTcpListeners' | 'openUnixListener' | 'adoptListener' | 'joinTcpListeners' | 'closeDescriptor'
>;

export interface ListenPlan {
  readonly config: Pick<Config, 'host' | 'port' | 'uds' | 'udsMode' | 'backlog'>;
  /** Sockets to open per host: one per reactor, or one for the boss. */
  readonly tcpCount: number;
  /** From a service manager; except for those of the admin listener they replace all others. */
  readonly inherited: readonly InheritedListener[];
  /** Where host and port were set, for the error. */
  readonly origins: readonly string[];
  /** `null`: TLS is not spoken. */
  readonly tlsPort: number | null;
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
  /** As bound, of all listeners that have it; `null`: none speaks TLS. */
  readonly tlsPort: number | null;
  /** Where clients connect, the first listener first. */
  readonly addresses: readonly Address[];
  /** Removes the Unix socket's file, if it is still ours. */
  readonly removeSocketFile: () => void;
  /** Of the admin listener, from a service manager: in place of its addresses. */
  readonly admin: readonly InheritedAdmin[];
}

export interface InheritedAdmin {
  readonly fd: number;
  readonly address: Address;
}

/** With several hosts, a port that is free on the first one may be in use on another. */
const FREE_PORT_TRIES = 16;

/**
 * Opens the listening sockets. The master keeps them for its whole life: a crash or restart of a
 * reactor closes none, so no waiting connection is lost. Throws ERR_MOONRING_LISTEN.
 */
export function openListeners(native: Sockets, plan: ListenPlan): Listeners {
  const { uds, udsMode, backlog, port } = plan.config;
  const { tlsPort } = plan;
  const { admin, served } = adopt(native, plan.inherited);
  if (served.length > 0) return { ...inheritedOnly(served, tlsPort), admin };
  requireAddresses(plan.config, tlsPort);
  // The Unix socket last: a failure before it leaves no file behind.
  const plain = port === 'off' ? [] : openTcp(native, plan, port, '--port');
  const secure = tlsPort === null ? [] : openTcp(native, plan, tlsPort, '--tls-port');
  const tcp = [...plain, ...secure];
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
    tlsPort: secure[0]?.port ?? null,
    addresses: [
      ...tcp.map(({ host, port }) => ({ type: 'tcp', host, port }) as const),
      ...(uds === null ? [] : [{ type: 'unix', path: uds } as const]),
    ],
    removeSocketFile: uds === null ? () => {} : socketFileRemover(uds),
    admin,
  };
}

/** A group per host, all on the same port. */
function openTcp(native: Sockets, plan: ListenPlan, port: number, option: string): TcpGroup[] {
  const { host: hosts } = plan.config;
  for (let tries = 1; ; tries++) {
    const groups: TcpGroup[] = [];
    try {
      for (const host of hosts) {
        groups.push(openGroup(native, plan, { host, port: groups[0]?.port ?? port, option }));
      }
      return groups;
    } catch (error) {
      for (const { fds } of groups) for (const fd of fds) native.closeDescriptor(fd);
      const isTaken = error instanceof MoonringError && errnoOf(error.cause) === 'EADDRINUSE';
      if (port !== 0 || groups.length === 0 || !isTaken || tries === FREE_PORT_TRIES) throw error;
    }
  }
}

interface GroupPlan {
  readonly host: string;
  readonly port: number;
  /** Chooses the port. */
  readonly option: string;
}

function openGroup(native: Sockets, plan: ListenPlan, group: GroupPlan): TcpGroup {
  const { host, port, option } = group;
  const { tcpCount: count, origins } = plan;
  const { backlog } = plan.config;
  const { fds, ...bound } = attempt(
    { type: 'tcp', host, port },
    origins,
    () => native.openTcpListeners({ host, port, backlog, count }),
    option,
  );
  return { fds, host: bound.address, port: bound.port };
}

/** One more socket for a group. Throws ERR_MOONRING_LISTEN. */
export function joinListeners(native: Sockets, { host, port }: TcpGroup, backlog: number): number {
  return attempt({ type: 'tcp', host, port }, [], () =>
    native.joinTcpListeners({ host, port, backlog }),
  );
}

/** Opens the admin listener's socket, which only its owner may use. */
export function openAdminSocket(native: Sockets, path: string) {
  const fd = attempt({ type: 'unix', path }, [], () =>
    native.openUnixListener({ path, mode: 0o600, backlog: 16 }),
  );
  return { fd, removeFile: socketFileRemover(path) };
}

/**
 * Removes the socket file that exists now. At the end the path may name another server's socket, or
 * another file: these stay. Must be called while the socket is open, because the inode number of a
 * removed file may be reused.
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
      // Another process was faster, or the directory has become read-only.
    }
  };
}

/** The descriptor names with a meaning; others are names of socket units. */
const [HTTPS, ADMIN] = ['https', 'admin'];

interface Inherited extends InheritedListener {
  readonly address: Address;
}

function adopt(native: Sockets, inherited: readonly InheritedListener[]) {
  const all = inherited.map(({ fd, name }): Inherited => {
    try {
      const { family, address, port } = native.adoptListener(fd);
      const isUnix = family === 1;
      return {
        fd,
        name,
        address: isUnix ? { type: 'unix', path: address } : { type: 'tcp', host: address, port },
      };
    } catch (cause) {
      const message = `descriptor ${fd} from LISTEN_FDS is not a listening socket: ${messageOf(cause)}`;
      throw new MoonringError('ERR_MOONRING_LISTEN', message, { cause });
    }
  });
  const admin = all.filter(({ name }) => name === ADMIN);
  for (const { address } of admin) requirePrivate(address);
  return { admin, served: all.filter(({ name }) => name !== ADMIN) };
}

/** It accepts orders: by default systemd creates sockets that all users may write to. */
function requirePrivate(address: Address): void {
  if (address.type !== 'unix' || address.path === '') return;
  const mode = lstatSync(address.path, { throwIfNoEntry: false })?.mode ?? 0;
  if ((mode & 0o002) === 0) return;
  const message = `every user can control the server through ${address.path}: set SocketMode=0600 in its socket unit`;
  throw new MoonringError('ERR_MOONRING_LISTEN', message);
}

/** TLS is used on the port of those named https; without any, on the port of the option. */
function inheritedOnly(
  served: readonly Inherited[],
  tlsPort: number | null,
): Omit<Listeners, 'admin'> {
  const named = served.flatMap(({ fd, name, address }) => {
    if (name !== HTTPS) return [];
    if (address.type === 'tcp') return [{ fd, port: address.port }];
    throw new MoonringError(
      'ERR_MOONRING_LISTEN',
      `descriptor ${fd} from LISTEN_FDS is called https, but TLS is spoken on TCP only`,
    );
  });
  const ports = new Set(named.map(({ port }) => port));
  const [port = tlsPort] = ports;
  if (named.length > 0 && tlsPort === null) {
    const message = 'a descriptor from LISTEN_FDS is called https: this needs --tls-cert';
    throw new MoonringError('ERR_MOONRING_USAGE', message);
  }
  if (ports.size > 1) {
    const message = `TLS is spoken on one port, and descriptors called https have ${[...ports].join(', ')}`;
    throw new MoonringError('ERR_MOONRING_LISTEN', message);
  }
  return {
    tcp: [],
    sharedFds: served.map(({ fd }) => fd),
    tlsPort: port,
    addresses: served.map(({ address }) => address),
    removeSocketFile: () => {},
  };
}

function attempt<T>(
  address: Address,
  origins: readonly string[],
  open: () => T,
  option = '--port',
): T {
  try {
    return open();
  } catch (cause) {
    const origin = origins.length === 0 ? '' : ` (set by ${origins.join(' and ')})`;
    const message = listenProblem(cause, address, `${option} (0 picks a free one)`) + origin;
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
