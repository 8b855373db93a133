import { EventEmitter } from 'node:events';
import { type ResolvedConfig, resolveConfig } from '../shared/config.js';
import { MoonringError, messageOf } from '../shared/errors.js';
import type { NativeTopics } from '../shared/native-topics.js';
import type { ServerOptions } from '../shared/options.js';
import type { StatusReport } from './admin/status.js';
import type { PinoLogger } from './log/log.js';
import { refuseClusterWorker } from './runtime/effects.js';
import { type ReadyFields, type RunningMaster, startMaster } from './runtime/run.js';
import type { SharedDictionary } from './shared-dictionary.js';
import type { ChildExit, Failure, ReloadResult } from './supervisor/state.js';

/** The keys of the config file, and settings that only a program can pass. */
export interface CreateServerOptions extends ServerOptions {
  /**
   * Gets every record instead of `logFile`, the access log excepted. `logLevel` is the level of the
   * reactors; the logger has its own.
   */
  readonly logger?: PinoLogger;
}

/** Listeners are called outside the server's own work: errors they throw are uncaught. */
export interface ServerEvents {
  readonly ready: [ready: ReadyFields];
  /** A reload has ended, successfully or not. */
  readonly reloaded: [result: ReloadResult];
  /** A reactor process has ended, whether ordered or not. */
  readonly exit: [reactor: number, exit: ChildExit];
  /** A drain or a stop has begun. */
  readonly stopping: [];
  /** It has ended; `null` for a clean end. */
  readonly end: [error: MoonringError | null];
}

/**
 * A server, which can be started once. Its reactors are separate processes. Orders may be repeated:
 * `drain`, `stop` and `close` all wait for the same end.
 */
export interface Server extends AsyncDisposable {
  /**
   * Resolves when every reactor accepts connections. Rejects with a MoonringError: a handler that
   * does not load, an address in use.
   */
  start(): Promise<ReadyFields>;
  /**
   * Checks configuration and handler and switches all reactors to them, or none; connections stay
   * open. `replaced` says whether Lua states or processes were replaced. Rejects with the code of
   * the failure if the old generation keeps serving, even in only one reactor:
   * ERR_MOONRING_HANDLER, ERR_MOONRING_CONFIG, ERR_MOONRING_PROTOCOL, or ERR_MOONRING_CONTROL if
   * the server cannot reload now.
   */
  reload(): Promise<Omit<ReloadResult, 'failure'>>;
  /** Changes the number of reactors. Throws ERR_MOONRING_CONTROL with the reason if that is not
   * possible. */
  scale(processes: number): void;
  /** Ends gracefully, within drain-delay and drain-timeout. Rejects if something was cut. */
  drain(): Promise<void>;
  /** Ends at once. */
  stop(): Promise<void>;
  /** Like `drain`; a server that was not started, or has ended, is already closed. */
  close(): Promise<void>;
  /**
   * Delivers a message to every current subscription to the topic, in all reactors and in this
   * program: text as UTF-8. Never waits. Throws ERR_MOONRING_USAGE for a topic without 1 to 255
   * bytes, a message of more than 65536, and if the server is not running.
   */
  publish(topic: string, message: string | Uint8Array): void;
  /**
   * Subscribes to messages that handlers and this program publish from now on, each publisher's in
   * order. `lost`: messages of the topic before this one that were overwritten because this program
   * was too far behind. Ends with the server; it does not keep the program alive. Throws like
   * `publish`.
   */
  subscribe(topic: string, listener: (message: Buffer, lost: number) => void): TopicSubscription;
  /** Everything the master knows; no reactor is asked. */
  stats(): StatusReport;
  /**
   * The dictionary that handlers get from moonring.shared(name), from the start of the server to
   * its end. Throws ERR_MOONRING_SHARED for a name that is not in the option `shared`.
   */
  shared(name: string): SharedDictionary;
  on<E extends keyof ServerEvents>(event: E, listener: (...args: ServerEvents[E]) => void): this;
  off<E extends keyof ServerEvents>(event: E, listener: (...args: ServerEvents[E]) => void): this;
}

export interface TopicSubscription extends Disposable {
  /** No more messages. Calling it twice is harmless. */
  close(): void;
}

type State =
  | { readonly tag: 'new' }
  | { readonly tag: 'starting'; readonly launched: Promise<RunningMaster> }
  | { readonly tag: 'running'; readonly master: RunningMaster }
  | { readonly tag: 'ended' };

/**
 * Creates a server with these options, which a reload reads again. Environment variables and
 * signals are left to the surrounding program. Throws ERR_MOONRING_CONFIG for wrong options, and in
 * a node:cluster worker.
 */
export function createServer(options: CreateServerOptions = {}): Server {
  refuseClusterWorker();
  return serverOf(() => resolve(options), options.logger);
}

/** The same with a configuration from elsewhere, which `read` reads: now and at a reload. */
export function serverOf(read: () => ResolvedConfig, logger: PinoLogger | undefined): Server {
  const resolved = read();
  const events: EventEmitter<{ [E in keyof ServerEvents]: [...ServerEvents[E]] }> =
    new EventEmitter();
  let state: State = { tag: 'new' };

  async function start(): Promise<ReadyFields> {
    if (state.tag !== 'new') throw usage('a server can be started only once');
    let onReady: (ready: ReadyFields) => void = () => {};
    const ready = new Promise<ReadyFields>((done) => {
      onReady = done;
    });
    const launched = startMaster({
      resolved,
      reread: read,
      env: process.env,
      logger,
      inherited: [],
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
    if (state.tag !== 'running') throw usage('the server is not running');
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

  /** As a usage error: what the addon says of topic and message. */
  function onTopics<T>(what: string, call: (topics: NativeTopics) => T): T {
    const { topics } = running();
    try {
      return call(topics);
    } catch (error) {
      throw usage(`${what}: ${messageOf(error)}`);
    }
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
    publish: (topic, message) => {
      const bytes = typeof message === 'string' ? Buffer.from(message) : bufferOf(message);
      onTopics('publish', (topics) => topics.publish(topic, bytes));
    },
    subscribe: (topic, listener) => {
      const [topics, number] = onTopics('subscribe', (all) => [
        all,
        all.subscribe(topic, listener),
      ]);
      const close = () => topics.unsubscribe(number);
      return { close, [Symbol.dispose]: close };
    },
    stats: () => running().status(),
    shared: (name) => running().shared(name),
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

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function errorOf(failure: Failure | null): MoonringError | null {
  return failure === null ? null : new MoonringError(failure.code, failure.message);
}

function resolve(options: CreateServerOptions) {
  // Parsed like a config file of that name in the working directory.
  const file = { path: 'createServer', text: JSON.stringify(options, dataOnly) };
  return resolveConfig({ flags: {}, env: {}, file, cwd: process.cwd() });
}

/** JSON would drop anything that is not data. */
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
