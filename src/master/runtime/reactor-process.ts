import cluster, { type Worker } from 'node:cluster';
import { MoonringError, messageOf } from '../../shared/errors.js';
import { decodeToMaster, type ToMaster, type ToReactor } from '../../shared/messages.js';
import type { NativeAddon } from '../../shared/native.js';
import { readLines } from '../log/line-input.js';
import type { OutputStream } from '../log/log.js';
import type { ChildExit } from '../supervisor/state.js';

/** What one reactor process inherits: the master's descriptors appear in it under these numbers. */
export const CHILD_CONTROL_FD = 4;
export const CHILD_STATS_FD = 5;
export const CHILD_INBOX_FD = 6;
/** Its own standard output is a pipe to the log. */
export const CHILD_STDOUT_FD = 7;
/** Its end of a pair of its own: through it come the files of the app. */
export const CHILD_APPS_FD = 8;
/** Any number of listeners, so they come last. */
const CHILD_LISTEN_FD = 9;

/** Control needs one compiler thread and little heap; requests never touch JavaScript. */
const EXEC_ARGV = ['--v8-pool-size=1', '--max-old-space-size=64'];

/** Enough for what a dead process has left in its channel, should another one hold that open. */
const LAST_WORDS_MS = 250;

/** Descriptors of the master. */
export interface Inherited {
  /** `null` for one that has been closed. */
  readonly listenFds: readonly (number | null)[];
  readonly controlFd: number;
  readonly statsFd: number;
  readonly inboxFd: number;
}

/** The numbers of the listeners in the reactor. */
export function listenersInChild(count: number): number[] {
  return Array.from({ length: count }, (_, i) => CHILD_LISTEN_FD + i);
}

export interface ForkOptions {
  readonly native: Pick<NativeAddon, 'socketPair' | 'sendDescriptor' | 'closeDescriptor'>;
  /** The compiled src/reactor.ts. */
  readonly script: string;
  /** Shown by ps. */
  readonly slot: number;
  readonly inherited: Inherited;
  /** On top of the master's environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** Called on the main thread. Only lines may follow `onExit`. */
export interface ChildEvents {
  readonly onMessage: (message: ToMaster) => void;
  readonly onUnreadable: (problem: string) => void;
  readonly onDisconnect: () => void;
  readonly onExit: (exit: ChildExit) => void;
  /** A line that the process wrote. */
  readonly onLine: (line: string, stream: OutputStream) => void;
}

export interface ReactorProcess {
  /** Lost if the process is on its way out: its exit will be reported. */
  send(message: ToReactor): void;
  /** Before the message that it belongs to. Throws an Error. */
  sendApp(appFd: number): void;
  signal(signal: 'SIGKILL' | 'SIGABRT'): void;
}

/** A worker's cluster module forks no workers: its parent would be asked for every socket. */
export function refuseClusterWorker(): void {
  if (!cluster.isWorker) return;
  const message =
    'this process is a node:cluster worker (NODE_UNIQUE_ID is set), where Moonring cannot start its ' +
    'own: run one process that is not (with pm2: exec_mode "fork", instances 1)';
  throw new MoonringError('ERR_MOONRING_CONFIG', message);
}

export function forkReactor(options: ForkOptions, events: ChildEvents): ReactorProcess {
  const { native, script, slot, inherited, env } = options;
  const [apps, appsInChild] = native.socketPair();
  const { listenFds, controlFd, statsFd, inboxFd } = inherited;
  // Global to the process, so it is set for each fork.
  cluster.setupPrimary({
    exec: script,
    args: [String(slot)],
    execArgv: EXEC_ARGV,
    serialization: 'advanced',
    stdio: [
      'ignore',
      'pipe',
      'pipe',
      'ipc',
      controlFd,
      statsFd,
      inboxFd,
      process.stdout.fd,
      appsInChild,
      ...listenFds.map((fd) => fd ?? 'ignore'),
    ],
  });
  const worker = forkOrClose(native, [apps, appsInChild], env);
  native.closeDescriptor(appsInChild);
  let isOpen = true;
  watch(worker, {
    ...events,
    onExit: (exit) => {
      if (isOpen) native.closeDescriptor(apps);
      isOpen = false;
      events.onExit(exit);
    },
  });
  return {
    sendApp: (appFd) => {
      if (isOpen) native.sendDescriptor(apps, appFd);
    },
    send: (message) => {
      if (worker.isConnected()) worker.send(message, ignoreLoss);
    },
    signal: (signal) => {
      worker.process.kill(signal);
    },
  };
}

function forkOrClose(
  native: ForkOptions['native'],
  fds: readonly number[],
  env: ForkOptions['env'],
): Worker {
  try {
    return cluster.fork(env);
  } catch (error) {
    for (const fd of fds) native.closeDescriptor(fd);
    throw error;
  }
}

function watch(worker: Worker, events: ChildEvents): void {
  const pid = worker.process.pid ?? null;
  worker.on('message', (value: unknown) => {
    let message: ToMaster;
    try {
      message = decodeToMaster(value);
    } catch (error) {
      events.onUnreadable(messageOf(error));
      return;
    }
    events.onMessage(message);
  });
  worker.on('disconnect', events.onDisconnect);
  worker.once('exit', (code, signal) => {
    afterLastWords(worker, () => events.onExit({ pid, code, signal }));
  });
  worker.on('error', () => {
    // A process that could not be created reports no exit.
    if (pid === null) events.onExit({ pid, code: null, signal: null });
  });
  // Nor has it no pipes either, whatever the type says.
  if (pid === null) return;
  for (const stream of ['stdout', 'stderr'] as const) {
    const pipe = worker.process[stream];
    if (pipe !== null) readLines(pipe, (line) => events.onLine(line, stream));
  }
}

/**
 * One SIGCHLD tells of all children that have died by then, also of those whose last messages have
 * not been read: without them a clean end looks like a crash.
 */
function afterLastWords(worker: Worker, then: () => void): void {
  if (!worker.isConnected()) {
    then();
    return;
  }
  const end = () => {
    clearTimeout(timer);
    worker.off('disconnect', end);
    then();
  };
  const timer = setTimeout(end, LAST_WORDS_MS);
  worker.on('disconnect', end);
}

function ignoreLoss(): void {}
