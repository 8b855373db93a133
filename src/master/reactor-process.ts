import cluster, { type Worker } from 'node:cluster';
import { messageOf } from '../shared/errors.js';
import { decodeToMaster, type ToMaster, type ToReactor } from '../shared/messages.js';
import type { ChildExit } from './supervision.js';

/** What one reactor process inherits: the master's descriptors appear in it under these numbers. */
export const CHILD_LISTEN_FD = 4;
export const CHILD_CONTROL_FD = 5;

/** Control needs one compiler thread and little heap; requests never touch JavaScript. */
const EXEC_ARGV = ['--v8-pool-size=1', '--max-old-space-size=64'];

export interface ForkOptions {
  /** The compiled src/reactor.ts. */
  readonly script: string;
  /** Shown by ps. */
  readonly slot: number;
  readonly listenFd: number;
  readonly controlFd: number;
  /** On top of the master's environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** Called on the main thread. Nothing follows `onExit`. */
export interface ChildEvents {
  readonly onMessage: (message: ToMaster) => void;
  readonly onUnreadable: (problem: string) => void;
  readonly onDisconnect: () => void;
  readonly onExit: (exit: ChildExit) => void;
}

export interface ReactorProcess {
  /** Lost if the process is on its way out: its exit will be reported. */
  send(message: ToReactor): void;
  kill(): void;
}

export function forkReactor(options: ForkOptions, events: ChildEvents): ReactorProcess {
  const { script, slot, listenFd, controlFd, env } = options;
  // Global to the process, so it is set for each fork.
  cluster.setupPrimary({
    exec: script,
    args: [String(slot)],
    execArgv: EXEC_ARGV,
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', listenFd, controlFd],
  });
  const worker = cluster.fork(env);
  watch(worker, events);
  return {
    send: (message) => {
      if (worker.isConnected()) worker.send(message, ignoreLoss);
    },
    kill: () => {
      worker.process.kill('SIGKILL');
    },
  };
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
  worker.once('exit', (code, signal) => events.onExit({ pid, code, signal }));
  worker.on('error', () => {
    // A process that was never made reports no exit.
    if (pid === null) events.onExit({ pid, code: null, signal: null });
  });
}

function ignoreLoss(): void {}
