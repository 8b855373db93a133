import { EventEmitter } from 'node:events';
import { resolveConfig } from '../shared/config.js';
import { MoonringError } from '../shared/errors.js';
import type { ServerOptions } from '../shared/options.js';
import type { Status } from './admin/status.js';
import type { PinoLogger } from './log/log.js';
import { refuseClusterWorker } from './runtime/effects.js';
import { type ReadyFields, type RunningMaster, startMaster } from './runtime/run.js';
import type { ChildExit, Failure, ReloadResult } from './supervisor/state.js';

/** The keys of the config file, and what only a program can give. */
export interface CreateServerOptions extends ServerOptions {
  /**
   * Gets every record instead of `logFile`, the access log excepted. `logLevel` is the level of the
   * reactors; the logger has its own.
   */
  readonly logger?: PinoLogger;
}

/** Listeners are called outside of the server's own work: an error they throw is uncaught. */
export interface ServerEvents {
  readonly ready: [ready: ReadyFields];
  /** A reload has ended, well or not. */
  readonly reloaded: [result: ReloadResult];
  /** A reactor process has ended, whether that was ordered or not. */
  readonly exit: [reactor: number, exit: ChildExit];
  /** A drain or a stop has begun. */
  readonly stopping: [];
  /** It has ended; `null` for a clean end. */
  readonly end: [error: MoonringError | null];
}

/**
 * One server, which can be started once. Its reactors are processes of their own. Orders may be
 * given twice: `drain`, `stop` and `close` all wait for the same end.
 */
export interface Server extends AsyncDisposable {
  /**
   * Resolves when every reactor takes connections. Rejects with a MoonringError: a handler that
   * does not load, an address in use.
   */
  start(): Promise<ReadyFields>;
  /**
   * Checks configuration and handler and lets all reactors go over to them, or none; connections
   * stay open. `replaced` says whether Lua states were exchanged or processes.
   * Rejects with the code of what failed if the old generation keeps serving, even in one reactor
   * only: ERR_MOONRING_HANDLER, ERR_MOONRING_CONFIG, ERR_MOONRING_PROTOCOL, or ERR_MOONRING_CONTROL
   * if the server cannot reload now.
   */
  reload(): Promise<Omit<ReloadResult, 'failure'>>;
  /** More or fewer reactors. Throws ERR_MOONRING_CONTROL with the reason if that cannot be. */
  scale(processes: number): void;
  /** Ends gracefully, within drain-delay and drain-timeout. Rejects if something was cut. */
  drain(): Promise<void>;
  /** Ends at once. */
  stop(): Promise<void>;
  /** As `drain`; a server that was not started, or has ended, is closed already. */
  close(): Promise<void>;
  /** Everything the master knows; no reactor is asked. */
  stats(): Status;
  on<E extends keyof ServerEvents>(event: E, listener: (...args: ServerEvents[E]) => void): this;
  off<E extends keyof ServerEvents>(event: E, listener: (...args: ServerEvents[E]) => void): this;
}

type State =
  | { readonly tag: 'new' }
  | { readonly tag: 'starting'; readonly launched: Promise<RunningMaster> }
  | { readonly tag: 'running'; readonly master: RunningMaster }
  | { readonly tag: 'ended' };

/**
 * A server with these options, which a reload reads again. Variables and signals are not read: they belong to the program
 * around it. Throws ERR_MOONRING_CONFIG for wrong options, and in a node:cluster worker.
 */
export function createServer(options: CreateServerOptions = {}): Server {
  refuseClusterWorker();
  const resolved = resolve(options);
  const events: EventEmitter<{ [E in keyof ServerEvents]: [...ServerEvents[E]] }> =
    new EventEmitter();
  let state: State = { tag: 'new' };

  async function start(): Promise<ReadyFields> {
    if (state.tag !== 'new') throw usage('a server can be started once');
    let onReady: (ready: ReadyFields) => void = () => {};
    const ready = new Promise<ReadyFields>((done) => {
      onReady = done;
    });
    const launched = startMaster({
      resolved,
      reread: () => resolve(options),
      env: process.env,
      logger: options.logger,
      inheritedFds: [],
      hooks: () => ({
        onReady: (fields) => {
          onReady(fields);
          events.emit('ready', fields);
        },
        onStopping: () => events.emit('stopping'),
        onReloaded: (result) => events.emit('reloaded', result),
        onExited: (reactor, exit) => events.emit('exit', reactor, exit),
        onEnd: (failure) => events.emit('end', errorOf(failure)),
      }),
    });
    state = { tag: 'starting', launched };
    const master = await launched.catch((error: unknown) => {
      state = { tag: 'ended' };
      throw error;
    });
    state = { tag: 'running', master };
    const failed = master.ended.then((failure) => {
      state = { tag: 'ended' };
      throw errorOf(failure) ?? usage('it was stopped before it was ready');
    });
    failed.catch(() => {});
    return Promise.race([ready, failed]);
  }

  /** Throws ERR_MOONRING_USAGE if it was not started or has ended. */
  function running(): RunningMaster {
    if (state.tag !== 'running') throw usage('the server does not run');
    return state.master;
  }

  async function started(): Promise<RunningMaster> {
    return state.tag === 'starting' ? state.launched : running();
  }

  async function drain(): Promise<void> {
    const master = await started();
    master.drain();
    const error = errorOf(await master.ended);
    if (error !== null) throw error;
  }

  async function close(): Promise<void> {
    if (state.tag === 'new') state = { tag: 'ended' };
    // A start that fails rejects there; nothing is left to close.
    if (state.tag === 'starting') await state.launched.catch(() => {});
    if (state.tag !== 'ended') await drain();
  }

  const server: Server = {
    start,
    reload: async () => {
      const { failure, ...result } = await (await started()).reload();
      if (failure !== null) throw new MoonringError(failure.code, failure.message);
      return result;
    },
    scale: (processes) => {
      const problem = running().scale(processes);
      if (problem !== null) throw new MoonringError('ERR_MOONRING_CONTROL', problem);
    },
    drain,
    stop: async () => {
      const master = await started();
      master.stop();
      await master.ended;
    },
    close,
    stats: () => running().status(),
    on: (event, listener) => {
      events.on(event, listener as never);
      return server;
    },
    off: (event, listener) => {
      events.off(event, listener as never);
      return server;
    },
    [Symbol.asyncDispose]: close,
  };
  return server;
}

function errorOf(failure: Failure | null): MoonringError | null {
  return failure === null ? null : new MoonringError(failure.code, failure.message);
}

function resolve(options: CreateServerOptions) {
  // Read like a config file of that name in the working directory.
  const file = { path: 'createServer', text: JSON.stringify(options, dataOnly) };
  return resolveConfig({ flags: {}, env: {}, file, cwd: process.cwd() });
}

/** JSON would leave out what is not data. */
function dataOnly(key: string, value: unknown): unknown {
  if (key === 'logger') return undefined;
  if (!['function', 'symbol', 'bigint'].includes(typeof value)) return value;
  throw new MoonringError(
    'ERR_MOONRING_CONFIG',
    `createServer: ${key} cannot be a ${typeof value}`,
  );
}

function usage(message: string): MoonringError {
  return new MoonringError('ERR_MOONRING_USAGE', message);
}
