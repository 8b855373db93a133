import cluster, { type Worker } from 'node:cluster';
import { unreachable } from '../../shared/assert.js';
import { MoonringError, messageOf } from '../../shared/errors.js';
import { decodeToMaster, type ToMaster, type ToReactor } from '../../shared/messages.js';
import type { NativeAddon } from '../../shared/native.js';
import { readLines } from '../log/line-input.js';
import type { MasterLog, OutputStream } from '../log/log.js';
import type { SpanExport } from '../log/spans.js';
import {
  attentionAt,
  lostHeartbeats,
  processOf,
  servingNotes,
  waitingOf,
} from '../supervisor/liveness.js';
import { mainOf } from '../supervisor/slots.js';
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

/** How often heartbeats are checked: every quarter of the grace, within these limits. */
const LOOK_MS = { most: 1000, least: 50 };

export interface EffectsInputs {
  /** `null`: reactors write none. */
  readonly spans: SpanExport | null;
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

/** Notifications for the rest of the master. May dispatch events: they are handled afterwards. */
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
  /** For a process without an event: stops checking heartbeats. */
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

  /** An event caused by an effect waits until all effects of the previous event are performed. */
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

  /** 0: not known. */
  function pidOf(index: number): number {
    const slot = state.slots[index];
    return (slot && mainOf(state, slot)?.pid) ?? 0;
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
        return resources.boss.setUp(effect.slot, effect.up, pidOf(effect.slot));
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

/** The running processes, and what to do when one exits. */
function makeForks(inputs: EffectsInputs, dispatch: (event: SupervisorEvent) => void) {
  const { native, log, resources, hooks } = inputs;
  const forked = new Map<ChildId, ReactorProcess>();

  function start({ slot, child, side }: Extract<Effect, { type: 'fork' }>): void {
    const exited = (exit: ChildExit, serving: readonly ServingNote[], waiting: number) => {
      const [nowMs, random] = [performance.now(), Math.random()];
      dispatch({ type: 'exited', child, exit, serving, waiting, nowMs, random });
    };
    const events: ChildEvents = {
      onMessage: (message) => {
        if (message.type !== 'memory') dispatch({ type: 'message', child, message });
        else dispatch({ ...message, child, nowMs: performance.now() });
      },
      onUnreadable: (problem) => dispatch({ type: 'unreadable', child, problem }),
      onDisconnect: () => {
        const [nowMs, random] = [performance.now(), Math.random()];
        dispatch({ type: 'disconnected', child, nowMs, random });
      },
      onExit: (exit) => {
        const serving = servingNotes(resources.stats.readServing(slot, side), native.monotonicMs());
        const stats = processOf(resources.stats.read(), { slot, side });
        const waiting = waitingOf(stats, native.statsLayout.connectionStates, serving);
        resources.stats.resetSide(slot, side);
        resources.topics.resetSide(slot, side);
        forked.delete(child);
        hooks.onExited(slot, exit);
        exited(exit, serving, waiting);
      },
      onLine: (line, stream) => {
        if (inputs.spans === null || !inputs.spans.take(line)) log.relay(slot, line, stream);
      },
    };
    try {
      forked.set(child, forkReactor(inputs, slot, events));
    } catch (error) {
      // No process, memory or descriptor left: treated like a crash, so it is retried later.
      log.log('error', { reactor: slot, err: error }, 'fork failed');
      exited({ pid: null, code: null, signal: null }, [], 0);
    }
  }

  function send({ child, message, appFd = -1 }: Extract<Effect, { type: 'send' }>): void {
    const process = forked.get(child);
    const tlsFd = message.type === 'load' ? resources.certificates.fd() : null;
    try {
      if (appFd >= 0) process?.sendDescriptor(appFd);
      if (tlsFd !== null) process?.sendDescriptor(tlsFd);
      process?.send(message);
    } catch (error) {
      // Without the files it cannot carry out the message; another process may get them.
      log.log('error', { err: error }, 'cannot pass the files of the app to a reactor');
      process?.signal('SIGKILL');
    }
  }

  /** Those not yet told to load get them with that message. */
  resources.certificates.onChange(() => {
    const tlsFd = resources.certificates.fd();
    if (tlsFd === null) return;
    for (const process of forked.values()) {
      if (!process.hasLoaded()) continue;
      try {
        process.sendDescriptor(tlsFd);
        process.send({ type: 'certificates' });
      } catch (error) {
        // A process that is ending does not need them.
        log.log('debug', { err: error }, 'cannot pass new certificates to a reactor');
      }
    }
  });

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
    if (process.pid === 1) native.reapKeepers();
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

/** A delay arms a timer, replacing the previous one; `null` disarms it. */
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

/** Control code needs one compiler thread and little heap; requests never touch JavaScript. */
const EXEC_ARGV = ['--v8-pool-size=1', '--max-old-space-size=64'];

/** Enough to read what a dead process left in its channel, in case another process keeps it
 * open. */
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
  /** Lost if the process is exiting: its exit will be reported. */
  send(message: ToReactor): void;
  /** Before the message that it belongs to. Throws an Error. */
  sendDescriptor(fd: number): void;
  /** It was told to load. */
  hasLoaded(): boolean;
  signal(signal: 'SIGKILL' | 'SIGABRT'): void;
}

/** A cluster worker cannot fork workers: its parent would be asked for every socket. */
export function refuseClusterWorker(): void {
  if (!cluster.isWorker) return;
  const message =
    'this process is a node:cluster worker (NODE_UNIQUE_ID is set), where Moonring cannot start its ' +
    'own: run one process that is not (with pm2: exec_mode "fork", instances 1)';
  throw new MoonringError('ERR_MOONRING_CONFIG', message);
}

/** The slot's number is its argument, visible in ps. */
function forkReactor(
  { native, script, reactorEnv, resources }: EffectsInputs,
  slot: number,
  events: ChildEvents,
): ReactorProcess {
  const { listenFds, controlFd, statsFd, inboxFd, sharedFds } = resources.inheritedBy(slot);
  const [apps, appsInChild] = native.socketPair();
  const fds = [controlFd, statsFd, inboxFd, process.stdout.fd, appsInChild, ...sharedFds];
  // Global to the process, so it is set for each fork.
  cluster.setupPrimary({
    exec: script,
    args: [String(slot)],
    execArgv: EXEC_ARGV,
    serialization: 'advanced',
    stdio: ['ignore', 'pipe', 'pipe', 'ipc', ...fds, ...listenFds.map((fd) => fd ?? 'ignore')],
  });
  let wasToldToLoad = false;
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
    sendDescriptor: (fd) => {
      if (isOpen) native.sendDescriptor(apps, fd);
    },
    hasLoaded: () => wasToldToLoad,
    send: (message) => {
      wasToldToLoad ||= message.type === 'load';
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
  // Nor does it have pipes, whatever the type says.
  if (pid === null) return;
  for (const stream of ['stdout', 'stderr'] as const) {
    const pipe = worker.process[stream];
    if (pipe !== null) readLines(pipe, (line) => events.onLine(line, stream));
  }
}

/**
 * One SIGCHLD reports all children that have died by then, including those with unread last
 * messages: without these a clean end looks like a crash.
 */
function afterLastWords(worker: Worker, then: () => void): void {
  if (!worker.isConnected()) {
    then();
    return;
  }
  let look: NodeJS.Immediate | undefined;
  const end = () => {
    clearTimeout(timer);
    clearImmediate(look);
    worker.off('disconnect', end);
    then();
  };
  // After one more look at the channel: this process may have had to wait, too.
  const timer = setTimeout(() => {
    look = setImmediate(end);
  }, LAST_WORDS_MS);
  worker.on('disconnect', end);
}

function ignoreLoss(): void {}
