import { EventEmitter } from 'node:events';
import { join } from 'node:path';
import { resolveConfig } from '../shared/config.js';
import { MoonringError } from '../shared/errors.js';
import type { ServerOptions } from '../shared/options.js';
import type { Status } from './admin/status.js';
import { masterInputs } from './cli/program.js';
import {
  type ReadyFields,
  type ReloadResult,
  type RunningMaster,
  startMaster,
} from './runtime/run.js';
import type { ChildExit } from './supervisor/state.js';

/** What a server tells the program around it. */
export interface ServerEvents {
  readonly ready: [ready: ReadyFields];
  /** A reload has ended, well or not. */
  readonly reloaded: [result: ReloadResult];
  /** A reactor process has ended, asked or not. */
  readonly exit: [reactor: number, exit: ChildExit];
  /** A drain or a stop has begun. */
  readonly stopping: [];
  /** It has ended; `null` for a clean end. */
  readonly end: [error: MoonringError | null];
}

/** One server, which can be started once. Its reactors are processes of their own. */
export interface Server {
  /**
   * Resolves when every reactor takes connections. Rejects with a MoonringError: bad options,
   * a handler that does not load, an address in use.
   */
  start(): Promise<ReadyFields>;
  /**
   * Checks the handler and replaces all reactors, or none; connections stay open. Rejects with
   * ERR_MOONRING_HANDLER if the old generation keeps serving, be it in one reactor only.
   */
  reload(): Promise<{ readonly generation: number }>;
  /** More or fewer reactors. Throws ERR_MOONRING_CONTROL with the reason if not now. */
  scale(processes: number): void;
  /** Ends gracefully, within drain-delay and drain-timeout. Rejects if something was cut. */
  drain(): Promise<void>;
  /** Ends at once. */
  stop(): Promise<void>;
  /** Everything the master knows; asks no reactor. */
  stats(): Status;
  on<E extends keyof ServerEvents>(event: E, listener: (...args: ServerEvents[E]) => void): this;
  off<E extends keyof ServerEvents>(event: E, listener: (...args: ServerEvents[E]) => void): this;
}

type State =
  | { readonly tag: 'new' }
  | { readonly tag: 'running'; readonly master: RunningMaster }
  | { readonly tag: 'ended' };

/**
 * A server with these options, those of the config file. Neither variables nor signals are looked
 * at: they belong to the program around it. It uses node:cluster, so it must run in a process that
 * is not a cluster worker.
 */
export function createServer(options: ServerOptions = {}): Server {
  const events: Emitter = new EventEmitter();
  let state: State = { tag: 'new' };

  async function start(): Promise<ReadyFields> {
    if (state.tag !== 'new') throw usage('a server can be started once');
    state = { tag: 'ended' };
    const { master, ready } = await launch(options, events);
    state = { tag: 'running', master };
    const failed = endOf(master).then((error) => {
      state = { tag: 'ended' };
      events.emit('end', error);
      throw error ?? usage('it was stopped before it was ready');
    });
    failed.catch(() => {});
    return Promise.race([ready, failed]);
  }

  function running(): RunningMaster {
    if (state.tag !== 'running') throw usage('the server does not run');
    return state.master;
  }

  const server: Server = {
    start,
    reload: async () => {
      const { failure, generation } = await running().reload();
      if (failure !== null) throw new MoonringError(failure.code, failure.message);
      return { generation };
    },
    scale: (processes) => {
      const problem = running().scale(processes);
      if (problem !== null) throw new MoonringError('ERR_MOONRING_CONTROL', problem);
    },
    drain: async () => {
      const master = running();
      master.drain();
      const error = await endOf(master);
      if (error !== null) throw error;
    },
    stop: async () => {
      const master = running();
      master.stop();
      await master.ended;
    },
    stats: () => running().status(),
    on: (event, listener) => {
      events.on(event, listener as never);
      return server;
    },
    off: (event, listener) => {
      events.off(event, listener as never);
      return server;
    },
  };
  return server;
}

type Emitter = EventEmitter<{ [E in keyof ServerEvents]: [...ServerEvents[E]] }>;

async function launch(options: ServerOptions, events: Emitter) {
  const common = await masterInputs(resolve(options), process.env, () => resolve(options));
  let onReady: (ready: ReadyFields) => void = () => {};
  const ready = new Promise<ReadyFields>((done) => {
    onReady = done;
  });
  const master = await startMaster({
    ...common,
    inheritedFds: [],
    hooks: {
      onReady: (fields) => {
        onReady(fields);
        events.emit('ready', fields);
      },
      onStopping: () => events.emit('stopping'),
      onReloaded: (result) => events.emit('reloaded', result),
      onExited: (reactor, exit) => events.emit('exit', reactor, exit),
    },
  });
  return { master, ready };
}

async function endOf(master: RunningMaster): Promise<MoonringError | null> {
  const failure = await master.ended;
  return failure === null ? null : new MoonringError(failure.code, failure.message);
}

function resolve(options: ServerOptions) {
  const cwd = process.cwd();
  // The options are a config file that was never written down.
  const file = { path: join(cwd, 'createServer'), text: JSON.stringify(options) };
  return resolveConfig({ flags: {}, env: {}, file, cwd });
}

function usage(sentence: string): MoonringError {
  return new MoonringError('ERR_MOONRING_USAGE', sentence);
}
