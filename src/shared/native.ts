import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { MoonringError, messageOf } from './errors.js';
import type { BossOptions, NativeBoss, NativeStatsPage, StatsLayout } from './native-stats.js';
import type { NativeConfig } from './options.js';

/**
 * What the addon offers. Numbers are bytes, milliseconds or counts; descriptors are plain numbers.
 */
export interface NativeAddon {
  /** Version of the native core. */
  readonly version: string;
  readonly llhttpVersion: string;
  readonly luajitVersion: string;
  /**
   * Throws an Error whose `code` is EADDRINUSE, EACCES, EADDRNOTAVAIL and so on. The caller owns
   * the descriptors.
   */
  openTcpListeners(options: TcpListenerOptions): TcpListeners;
  /** One more socket for an open group; throws like openTcpListeners. */
  joinTcpListeners(options: Omit<TcpListenerOptions, 'count'>): number;
  /** A socket file without a listener is replaced. Throws an Error with a `code`. */
  openUnixListener(options: UnixListenerOptions): number;
  /** Takes a listening socket that was inherited. Throws an Error with a `code`. */
  adoptListener(fd: number): Omit<TcpListeners, 'fds' | 'family'> & { readonly family: 1 | 4 | 6 };
  /** One datagram to a service manager. Throws an Error with a `code`; never blocks. */
  notify(path: string, text: string): void;
  /** Two connected, close-on-exec AF_UNIX ends, owned by the caller. */
  socketPair(): [number, number];
  /** Through a pair; the descriptor stays the caller's too. Throws an Error with a `code`. */
  sendDescriptor(pairFd: number, fd: number): void;
  /** The next one that was sent, close-on-exec and the caller's. Throws; EAGAIN: there is none. */
  receiveDescriptor(pairFd: number): number;
  setCloseOnExec(fd: number): void;
  closeDescriptor(fd: number): void;
  /** Loads the app in a throw-away state and keeps its files as they were then. */
  acceptHandler(app: AppSource, luaRoot: string): AcceptedHandler;
  /**
   * SIGALRM ends this process after so many seconds, 0: it does not. For the time in which code of
   * others has the main thread, and may keep it for ever.
   */
  alarm(seconds: number): void;
  /** "system", or "jemalloc" with its version: the malloc of this process. */
  allocator(): string;
  /** The clock of the stats page. */
  monotonicMs(): number;
  /** Lines for a descriptor, which stays the caller's: only the calls of the writer use it. */
  openLines(fd: number): LineWriter;
  readonly statsLayout: StatsLayout;
  readonly StatsPage: new (options: { readonly slots: number }) => NativeStatsPage;
  readonly Boss: new (options: BossOptions) => NativeBoss;
  readonly Reactor: new (
    options: NativeReactorOptions,
    onEvent: (event: ReactorEvent) => void,
  ) => NativeReactor;
}

/**
 * Writes lines without waiting for a reader. Returns the number of bytes written: fewer than all if a
 * pipe, socket or terminal is full. Throws an Error if nothing can be written; a line of which a
 * part was written is then ended before the next one begins.
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
  /** The files, for any number of reactors; the caller's. -1: reactors load from the disk. */
  readonly appFd: number;
  /** False: they are too many or too large, and only those that were loaded now are kept. */
  readonly isWhole: boolean;
}

/** Paths are absolute. `symbol` is the function of a shared object that handles requests. */
export type AppSource =
  | { readonly kind: 'lua'; readonly path: string }
  | { readonly kind: 'c'; readonly path: string; readonly symbol: string };

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
  /** Through it comes the descriptor of the app's files with each order to load or prepare. */
  readonly appsFd: number;
  /** False: the app is loaded from the disk, and no descriptor comes. */
  readonly isKept: boolean;
  /** Where connections arrive that the boss passes on. */
  readonly inboxFd: number;
  /** The access log without a file: standard output of the master. */
  readonly accessLogFd: number;
  readonly statsFd: number;
  readonly statsSlot: number;
  /** Which of the slot's places on the page this process writes. */
  readonly statsSide: number;
  readonly generation: number;
  /** Bind the I/O thread to this one of the allowed cores, counted from 0; -1: to none. */
  readonly pinCpu: number;
}

/** With the descriptor that came through `appsFd`, the addon's from then on; -1: none came. */
export interface NativeReactorOptions extends ReactorOptions {
  readonly appFd: number;
}

export type ReactorFailure = 'HANDLER' | 'SYSTEM' | 'INVALID' | 'NOMEM';

/** Arrives on the JS thread. After `drained` or `failed` nothing follows. */
export type ReactorEvent =
  | { readonly type: 'loaded' }
  | { readonly type: 'ready' }
  /** The drain timed out with open requests. `drained` follows. */
  | { readonly type: 'cut' }
  /** What `prepare` came to. `null`: `switchOver` may follow. */
  | { readonly type: 'prepared'; readonly generation: number; readonly problem: string | null }
  /** The I/O thread has ended and nothing is open any more. */
  | { readonly type: 'drained' }
  /** The reactor could not start. For HANDLER the message names file and line. */
  | { readonly type: 'failed'; readonly code: ReactorFailure; readonly message: string }
  /** A handler has blocked the event loop for twice the handler timeout. */
  | { readonly type: 'stuck' }
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
   * Leaves without closing anything: stops accepting, gives idle connections to the boss at once
   * and busy ones after their response. After `timeoutMs` closes the rest; then `drained`.
   */
  handOver(timeoutMs: number): void;
  /** Reopens the access log. */
  reopenLogs(): void;
  /**
   * Loads the next generation of a Lua handler beside the current one; takes the descriptor over.
   * `null`: `prepared` follows; otherwise why it cannot begin (an earlier load has not ended).
   */
  prepare(appFd: number, generation: number): string | null;
  /** All threads go over to what is prepared. False: nothing is. */
  switchOver(generation: number): boolean;
  /** Forgets what is, or is being, prepared. */
  discard(): void;
  /** Closes everything and joins the I/O thread. */
  stop(): void;
}

const EXPECTED = ['openTcpListeners', 'adoptListener', 'allocator', 'Boss', 'Reactor'] as const;

/**
 * Loads the addon: the file that `override` (MOONRING_ADDON) names, or the release build of this
 * package. Throws ERR_MOONRING_ADDON, whose message has the command that builds it.
 */
export function loadNative(packageRoot: string, override: string | undefined): NativeAddon {
  const path = addonPath(packageRoot, override);
  if (!existsSync(path)) {
    const advice = override
      ? 'MOONRING_ADDON names it'
      : `build it with ${buildCommand(packageRoot)}`;
    throw addonError(`the native addon ${path} does not exist: ${advice}`);
  }
  let addon: unknown;
  try {
    addon = createRequire(import.meta.url)(path);
  } catch (cause) {
    throw addonError(`the native addon ${path} does not load: ${messageOf(cause)}`, { cause });
  }
  if (!isAddon(addon)) {
    const advice = `build it with ${buildCommand(packageRoot)}`;
    throw addonError(`${path} is not the addon of this version: ${advice}`);
  }
  return addon;
}

export function addonPath(packageRoot: string, override: string | undefined): string {
  return override || join(packageRoot, 'build', 'release', 'moonring.node');
}

/** A clone has the sources of everything, an installed package those of the addon. */
function buildCommand(packageRoot: string): string {
  return existsSync(join(packageRoot, 'src'))
    ? '"npm run build", or let "npm start" install what is missing and build it'
    : '"npx moonring build"';
}

/**
 * The addon is ours and typed by its documentation; this only tells a stale or foreign file apart.
 */
function isAddon(addon: unknown): addon is NativeAddon {
  if (typeof addon !== 'object' || addon === null) return false;
  const members = addon as Readonly<Record<string, unknown>>;
  return EXPECTED.every((name) => typeof members[name] === 'function');
}

function addonError(message: string, options?: { readonly cause: unknown }): MoonringError {
  return new MoonringError('ERR_MOONRING_ADDON', message, options);
}
