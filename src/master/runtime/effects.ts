import cluster, { type Worker } from 'node:cluster';
import { unreachable } from '../../shared/assert.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import { decodeToMaster, type ToMaster, type ToReactor } from '../../shared/messages.js';
import type { NativeAddon } from '../../shared/native.js';
import { readLines } from '../log/line-input.js';
import type { MasterLog, OutputStream } from '../log/log.js';
import { attentionAt, lostHeartbeats, servingNotes } from '../supervisor/liveness.js';
import type {
  ChildExit,
  ChildId,
  Effect,
  Failure,
  Prepared,
  ReloadResult,
  ServingNote,
  SupervisorEvent,
  SupervisorState,
  Timer,
} from '../supervisor/state.js';
import { step } from '../supervisor/supervisor.js';
import type { Resources } from './resources.js';

/** How often heartbeats are looked at: every quarter of the grace, within these limits. */
const LOOK_MS = { most: 1000, least: 50 };

export interface EffectsInputs {
  readonly native: NativeAddon;
  readonly log: MasterLog;
  readonly resources: Resources;
  /** The compiled src/reactor.ts. */
  readonly script: string;
  readonly reactorEnv: Readonly<Record<string, string>>;
  readonly livenessGraceMs: number;
  readonly prepareReload: () => Promise<Prepared>;
  readonly hooks: EffectsHooks;
}

/** What the rest of the master hears of. May dispatch events: they are handled afterwards. */
export interface EffectsHooks {
  readonly onReady: (allocator: string) => void;
  readonly onStopping: () => void;
  readonly onReloaded: (result: ReloadResult) => void;
  readonly onExited: (slot: number, exit: ChildExit) => void;
  readonly onEnd: (failure: Failure | null) => void;
}

export interface RunningSupervisor {
  dispatch(event: SupervisorEvent): void;
  state(): SupervisorState;
  /** Since when the master has run without a pause, on the clock of the stats page. */
  awakeSinceMs(): number;
  /** For one that got no event: heartbeats are not looked at any more. */
  close(): void;
}

/** Runs the reducer: queues events, performs effects, and owns all timers and processes. */
export function runSupervisor(first: SupervisorState, inputs: EffectsInputs): RunningSupervisor {
  const { log, resources, hooks } = inputs;
  const forks = makeForks(inputs, dispatch);
  const setTimer = makeTimers((timer, lateMs) => dispatch({ type: 'timer', timer, lateMs }));
  const heartbeats = watchHeartbeats(inputs, () => state, dispatch);
  const queue: SupervisorEvent[] = [];
  let state = first;
  let isBusy = false;

  /** An event that an effect causes waits until all effects of the event before are performed. */
  function dispatch(event: SupervisorEvent): void {
    queue.push(event);
    if (isBusy) return;
    isBusy = true;
    try {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        const turn = step(state, next);
        state = turn.state;
        for (const effect of turn.effects) perform(effect);
      }
    } finally {
      isBusy = false;
    }
  }

  function perform(effect: Effect) {
    switch (effect.type) {
      case 'fork':
        return forks.start(effect);
      case 'send':
        return forks.send(effect);
      case 'kill':
        return forks.get(effect.child)?.signal('SIGKILL');
      case 'abort':
        return forks.get(effect.child)?.signal('SIGABRT');
      case 'arm-timer':
        return setTimer(effect.timer, effect.delayMs);
      case 'cancel-timer':
        return setTimer(effect.timer, null);
      case 'log':
        return log.log(effect.level, effect.fields, effect.message);
      case 'slot-up':
        return resources.boss.setUp(effect.slot, effect.up);
      case 'close-slot':
        return resources.closeSlot(effect.slot);
      case 'reclaim-slot':
        return resources.boss.reclaim(effect.slot);
      case 'close-listeners':
        return resources.closeListeners();
      case 'reopen-logs':
        return log.reopen();
      case 'prepare-reload':
        void inputs.prepareReload().then((result) => dispatch({ type: 'prepared', result }));
        return;
      case 'close-app':
        return effect.appFd >= 0 ? inputs.native.closeDescriptor(effect.appFd) : undefined;
      case 'reloaded':
        return hooks.onReloaded(effect);
      case 'announce-ready':
        return hooks.onReady(effect.allocator);
      case 'announce-stopping':
        return hooks.onStopping();
      case 'exit':
        heartbeats.close();
        return hooks.onEnd(effect.failure);
      default:
        return unreachable(effect);
    }
  }

  const { close, awakeSinceMs } = heartbeats;
  return { dispatch, state: () => state, awakeSinceMs, close };
}

/** The processes that run, and what is done when one has exited. */
function makeForks(inputs: EffectsInputs, dispatch: (event: SupervisorEvent) => void) {
  const { native, log, resources, hooks } = inputs;
  const forked = new Map<ChildId, ReactorProcess>();

  function start({ slot, child, side }: Extract<Effect, { type: 'fork' }>): void {
    const exited = (exit: ChildExit, serving: readonly ServingNote[]) => {
      const [nowMs, random] = [performance.now(), Math.random()];
      dispatch({ type: 'exited', child, exit, serving, nowMs, random });
    };
    const events: ChildEvents = {
      onMessage: (message) => dispatch({ type: 'message', child, message }),
      onUnreadable: (problem) => dispatch({ type: 'unreadable', child, problem }),
      onDisconnect: () => dispatch({ type: 'disconnected', child }),
      onExit: (exit) => {
        const serving = servingNotes(resources.stats.readServing(slot, side), native.monotonicMs());
        resources.stats.resetSide(slot, side);
        forked.delete(child);
        hooks.onExited(slot, exit);
        exited(exit, serving);
      },
      onLine: (line, stream) => log.relay(slot, line, stream),
    };
    try {
      forked.set(child, forkReactor(inputs, slot, events));
    } catch (error) {
      // No process, memory or descriptor left: the same as a crash, so it is tried again later.
      log.log('error', { reactor: slot, err: error }, 'fork failed');
      exited({ pid: null, code: null, signal: null }, []);
    }
  }

  function send({ child, message, appFd = -1 }: Extract<Effect, { type: 'send' }>): void {
    const process = forked.get(child);
    try {
      if (appFd >= 0) process?.sendApp(appFd);
      process?.send(message);
    } catch (error) {
      // Without the files it cannot do what the message says; another process may get them.
      log.log('error', { err: error }, 'the files of the app cannot be passed on');
      process?.signal('SIGKILL');
    }
  }

  return { start, send, get: (child: ChildId) => forked.get(child) };
}

function watchHeartbeats(
  { native, resources, livenessGraceMs: graceMs }: EffectsInputs,
  state: () => SupervisorState,
  dispatch: (event: SupervisorEvent) => void,
) {
  const { least, most } = LOOK_MS;
  const everyMs = graceMs === 0 ? most : Math.min(most, Math.max(least, graceMs / 4));
  const startMs = native.monotonicMs();
  let attention = { lookedAtMs: startMs, awakeSinceMs: startMs };
  const timer = setInterval(() => {
    const snapshot = resources.stats.read();
    attention = attentionAt(snapshot.takenMs, everyMs, attention);
    const { awakeSinceMs } = attention;
    const lost = lostHeartbeats(snapshot, state().children, { graceMs, awakeSinceMs });
    for (const { child, silentMs, serving } of lost) {
      dispatch({
        type: 'heartbeat-lost',
        child: child.id,
        silentMs: Math.round(silentMs),
        serving,
      });
    }
  }, everyMs);
  return { awakeSinceMs: () => attention.awakeSinceMs, close: () => clearInterval(timer) };
}

/** A delay arms a timer, in place of the one before; `null` disarms it. */
function makeTimers(onTimer: (timer: Timer, lateMs: number) => void) {
  const armed = new Map<string, NodeJS.Timeout>();
  return (timer: Timer, delayMs: number | null): void => {
    const key = JSON.stringify(timer);
    clearTimeout(armed.get(key));
    armed.delete(key);
    if (delayMs === null) return;
    const dueMs = performance.now() + delayMs;
    const fire = () => onTimer(timer, performance.now() - dueMs);
    armed.set(key, setTimeout(fire, delayMs));
  };
}

/* Reactor processes. */

/** Control needs one compiler thread and little heap; requests never touch JavaScript. */
const EXEC_ARGV = ['--v8-pool-size=1', '--max-old-space-size=64'];

/** Enough for what a dead process has left in its channel, should another one hold that open. */
const LAST_WORDS_MS = 250;

/** Called on the main thread. Only lines may follow `onExit`. */
interface ChildEvents {
  readonly onMessage: (message: ToMaster) => void;
  readonly onUnreadable: (problem: string) => void;
  readonly onDisconnect: () => void;
  readonly onExit: (exit: ChildExit) => void;
  /** A line that the process wrote. */
  readonly onLine: (line: string, stream: OutputStream) => void;
}

interface ReactorProcess {
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

/** The number of the slot is its argument, which ps shows. */
function forkReactor(
  { native, script, reactorEnv, resources }: EffectsInputs,
  slot: number,
  events: ChildEvents,
): ReactorProcess {
  const { listenFds, controlFd, statsFd, inboxFd } = resources.inheritedBy(slot);
  const [apps, appsInChild] = native.socketPair();
  const fds = [controlFd, statsFd, inboxFd, process.stdout.fd, appsInChild];
  // Global to the process, so it is set for each fork.
  cluster.setupPrimary({
    exec: script,
    args: [String(slot)],
    execArgv: EXEC_ARGV,
    serialization: 'advanced',
    stdio: ['ignore', 'pipe', 'pipe', 'ipc', ...fds, ...listenFds.map((fd) => fd ?? 'ignore')],
  });
  let isOpen = true;
  const close = () => {
    if (isOpen) native.closeDescriptor(apps);
    isOpen = false;
  };
  let worker: Worker;
  try {
    worker = cluster.fork(reactorEnv);
  } catch (error) {
    close();
    throw error;
  } finally {
    native.closeDescriptor(appsInChild);
  }
  watchWorker(worker, {
    ...events,
    onExit: (exit) => {
      close();
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

function watchWorker(worker: Worker, events: ChildEvents): void {
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
