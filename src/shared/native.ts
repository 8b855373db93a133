import { createRequire } from 'node:module';
import { buildCommand, findAddon, nameOf } from './addon-file.js';
import { MoonringError, messageOf } from './errors.js';
import type { NativeDictionary } from './native-shared.js';
import type { BossOptions, NativeBoss, NativeStatsPage, StatsLayout } from './native-stats.js';
import type { NativeTopics } from './native-topics.js';
import type { NativeConfig } from './options.js';

/**
 * The addon's interface. Numbers are bytes, milliseconds or counts; descriptors are plain numbers.
 */
export interface NativeAddon {
  /** Version of the native core. */
  readonly version: string;
  readonly llhttpVersion: string;
  readonly luajitVersion: string;
  /** Whether `--handler-timeout` interrupts a loop compiled by LuaJIT; determined by running
   * one. */
  interruptsCompiled(): boolean;
  /**
   * Throws an Error whose `code` is EADDRINUSE, EACCES, EADDRNOTAVAIL and so on. The caller owns
   * the descriptors.
   */
  openTcpListeners(options: TcpListenerOptions): TcpListeners;
  /** One more socket for an open group; throws like openTcpListeners. */
  joinTcpListeners(options: Omit<TcpListenerOptions, 'count'>): number;
  /** A socket file without a listener is replaced. Throws an Error with a `code`. */
  openUnixListener(options: UnixListenerOptions): number;
  /** Adopts an inherited listening socket. Throws an Error with a `code`. */
  adoptListener(fd: number): Omit<TcpListeners, 'fds' | 'family'> & { readonly family: 1 | 4 | 6 };
  /** One datagram to a service manager. Throws an Error with a `code`; never blocks. */
  notify(path: string, text: string): void;
  /** Two connected, close-on-exec AF_UNIX ends, owned by the caller. */
  socketPair(): [number, number];
  /** Sends it through a pair; the caller keeps its copy. Throws an Error with a `code`. */
  sendDescriptor(pairFd: number, fd: number): void;
  /** Receives the next one, close-on-exec and owned by the caller. Throws; EAGAIN: there is
   * none. */
  receiveDescriptor(pairFd: number): number;
  /** A descriptor of sealed memory with this content; owned by the caller. */
  storeSealed(content: Buffer): number;
  /** Checks them as a reactor would. `null`, or what is wrong. */
  checkCertificates(content: Buffer): string | null;
  setCloseOnExec(fd: number): void;
  closeDescriptor(fd: number): void;
  /** Loads the app in a temporary state and keeps its files as of then. */
  acceptHandler(app: AppSource, luaRoot: string, shared: readonly SharedSize[]): AcceptedHandler;
  /**
   * SIGALRM ends this process after this many seconds, 0: never. For the time in which user code
   * runs on the main thread, and may never return.
   */
  alarm(seconds: number): void;
  /** Reaps keepers of dead reactors that this process inherited: for PID 1. */
  reapKeepers(): void;
  /** "system", or "jemalloc" with its version: the malloc of this process. */
  allocator(): string;
  /** The clock of the stats page. */
  monotonicMs(): number;
  /** A line writer for a descriptor, which the caller keeps: only the writer's calls use it. */
  openLines(fd: number): LineWriter;
  readonly statsLayout: StatsLayout;
  readonly StatsPage: new (options: { readonly slots: number }) => NativeStatsPage;
  readonly SharedDictionary: new (name: string, size: number) => NativeDictionary;
  readonly Topics: new (slots: number, size: number) => NativeTopics;
  readonly Boss: new (options: BossOptions) => NativeBoss;
  readonly Reactor: new (
    options: NativeReactorOptions,
    onEvent: (event: ReactorEvent) => void,
  ) => NativeReactor;
}

/**
 * Writes lines without waiting for a reader. Returns the number of bytes written: fewer than all if a
 * pipe, socket or terminal is full. Throws an Error if nothing can be written; a partly written
 * line is then ended before the next one begins.
 */
export type LineWriter = (lines: Buffer) => number;

export interface TcpListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly backlog: number;
  /** Sockets in the SO_REUSEPORT group. */
  readonly count: number;
}

export interface UnixListenerOptions {
  readonly path: string;
  readonly mode: number;
  readonly backlog: number;
}

export interface TcpListeners {
  readonly fds: readonly number[];
  /** As bound: "127.0.0.1", "::1". */
  readonly address: string;
  readonly port: number;
  readonly family: 4 | 6;
}

export interface AcceptedHandler {
  /** `null`: it is fine. Names file and line. */
  readonly problem: string | null;
  /** The files, for any number of reactors; owned by the caller. -1: reactors load from disk. */
  readonly appFd: number;
  /** False: they are too many or too large, and only those just loaded are kept. */
  readonly isWhole: boolean;
}

/**
 * Paths are absolute. `compat`: the API available to handlers besides moonring. `symbol` is the
 * function of a shared object that handles requests.
 */
export type AppSource =
  | { readonly kind: 'lua'; readonly path: string; readonly compat?: 'ngx' }
  | { readonly kind: 'c'; readonly path: string; readonly symbol: string };

/** Shared memory that handlers use by name. */
export interface SharedMemory {
  readonly kind: SharedMemoryKind;
  readonly name: string;
}

export type SharedMemoryKind = 'dictionary' | 'topics';

/** Memory of the master's behind a descriptor. */
export interface SharedRegion extends SharedMemory {
  readonly fd: number;
}

/** Memory for a handler that is only checked: private, freed with the process. */
export interface SharedSize extends SharedMemory {
  readonly size: number;
}

export interface ReactorOptions extends NativeConfig {
  readonly app: AppSource;
  /** Directory of the `moonring.*` Lua modules. */
  readonly luaRoot: string;
  /** Number of the reactor, for log lines. */
  readonly index: number;
  /** The reactor process's own copies; closing them leaves the master's open. */
  readonly listenFds: readonly number[];
  /** The reactor's end of the control pair: its end of file means that the master died. */
  readonly controlFd: number;
  /** Delivers the descriptor of the app's files with each order to load or prepare. */
  readonly appsFd: number;
  /** False: the app is loaded from disk, and no descriptor is sent. */
  readonly isKept: boolean;
  /**
   * The port for TLS: the descriptor of the certificates follows that of the app. 0: no TLS, and no
   * descriptor.
   */
  readonly tlsPort: number;
  /** Where connections from the boss arrive. */
  readonly inboxFd: number;
  /** The access log without a file: standard output of the master. */
  readonly accessLogFd: number;
  /** Of this many requests without a trace, one has a span, on standard output; 0: no spans. */
  readonly traceSample: number;
  /** Memory that outlives reactors: mapped by each of them. */
  readonly sharedRegions: readonly SharedRegion[];
  /** Of the master's topics; empty: the reactor has its own topics. */
  readonly topicsFds: readonly number[];
  readonly statsFd: number;
  readonly statsSlot: number;
  /** Which of the slot's places on the page this process writes. */
  readonly statsSide: number;
  readonly generation: number;
  /** Bind the I/O thread to this one of the allowed cores, counted from 0; -1: to none. */
  readonly pinCpu: number;
}

/** With the descriptor received through `appsFd`, owned by the addon from then on; -1: none. */
export interface NativeReactorOptions extends ReactorOptions {
  readonly appFd: number;
  readonly tlsFd: number;
}

export type ReactorFailure = 'HANDLER' | 'SYSTEM' | 'INVALID' | 'NOMEM';

/** What a process has reached: four fifths of its memory limit, or all of it. */
export type MemoryMark = 'near' | 'limit';

/** Arrives on the JS thread. After `drained` or `failed` nothing follows. */
export type ReactorEvent =
  | { readonly type: 'loaded' }
  | { readonly type: 'ready' }
  /** The drain timed out with open requests. `drained` follows. */
  | { readonly type: 'cut' }
  /** The result of `prepare`. `null`: `switchOver` may follow. */
  | { readonly type: 'prepared'; readonly generation: number; readonly problem: string | null }
  /** The I/O thread has ended and nothing is open any more. */
  | { readonly type: 'drained' }
  /** The reactor could not start. For HANDLER the message names file and line. */
  | { readonly type: 'failed'; readonly code: ReactorFailure; readonly message: string }
  /** A handler has blocked the event loop for twice the handler timeout. */
  | { readonly type: 'stuck' }
  /** The process is near `memoryLimit`, reported once a second; or has reached it. */
  | { readonly type: 'memory'; readonly mark: MemoryMark; readonly residentBytes: number }
  /** The master died; the I/O thread has begun to drain. */
  | { readonly type: 'orphaned' };

export interface NativeReactor {
  /** Loads the handler; then `loaded`, or `failed`. Nothing is accepted yet. */
  load(): void;
  /** Accepts connections; then `ready`. Throws an Error if nothing is loaded. */
  serve(): void;
  /**
   * Stops accepting, finishes open requests, after `timeoutMs` closes the rest; then `drained`.
   */
  drain(timeoutMs: number): void;
  /**
   * Retires without closing connections: stops accepting, passes idle ones to the boss at once and
   * busy ones after their response. After `timeoutMs` closes the rest; then `drained`.
   */
  handOver(timeoutMs: number): void;
  /** Reopens the access log. */
  reopenLogs(): void;
  /**
   * Loads the next generation of a Lua handler beside the current one; takes over the descriptor.
   * `null`: `prepared` follows; otherwise why it cannot start (an earlier load has not ended).
   */
  prepare(appFd: number, generation: number): string | null;
  /** All threads switch to the prepared generation. False: there is none. */
  switchOver(generation: number): boolean;
  /** Discards what is, or is being, prepared. */
  discard(): void;
  /** New connections use these certificates; takes over the descriptor. `null`, or why not. */
  setCertificates(tlsFd: number): string | null;
  /** Closes everything and joins the I/O thread. */
  stop(): void;
}

const EXPECTED = ['openTcpListeners', 'adoptListener', 'allocator', 'Boss', 'Reactor'] as const;

/**
 * Loads the addon: the file named by `override` (MOONRING_ADDON), the release build of this
 * package, or that of the platform package. Throws ERR_MOONRING_ADDON, whose message says where it
 * was searched for and what to do.
 */
export function loadNative(packageRoot: string, override: string | undefined): NativeAddon {
  const found = findAddon(packageRoot, override);
  if (found.path === null) throw addonError(found.problem);
  const { path } = found;
  let addon: unknown;
  try {
    addon = createRequire(import.meta.url)(path);
  } catch (cause) {
    const advice = found.from === 'package' ? ` on ${nameOf()}` : '';
    const why = messageOf(cause);
    const need = OPENSSL_MISSING.test(why) ? ' (it needs a node that is built with OpenSSL 3)' : '';
    throw addonError(`the native addon ${path} does not load${advice}: ${why}${need}`, { cause });
  }
  if (!isAddon(addon)) {
    const advice = `build it with ${buildCommand(packageRoot)}`;
    throw addonError(`${path} is not the addon for this version: ${advice}`);
  }
  return addon;
}

/** The addon is not linked with OpenSSL: its functions come from node. */
const OPENSSL_MISSING =
  /(undefined symbol: |symbol not found.*'_)(BIO|CRYPTO|ERR|EVP|OPENSSL|PEM|RAND|SSL|X509)_/;

/**
 * The addon is ours and its type is documented; this only detects a stale or foreign file.
 */
function isAddon(addon: unknown): addon is NativeAddon {
  if (typeof addon !== 'object' || addon === null) return false;
  const members = addon as Readonly<Record<string, unknown>>;
  return EXPECTED.every((name) => typeof members[name] === 'function');
}

function addonError(message: string, options?: { readonly cause: unknown }): MoonringError {
  return new MoonringError('ERR_MOONRING_ADDON', message, options);
}
