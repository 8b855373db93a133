import { unreachable } from '../../shared/assert.js';
import type { NativeAddon } from '../../shared/native.js';
import type { MasterLog } from '../log/log.js';
import { servingNotes, silentChildren } from '../supervisor/liveness.js';
import type {
  ChildExit,
  ChildId,
  Effect,
  Failure,
  Prepared,
  ServingNote,
  SupervisorEvent,
  SupervisorState,
  Timer,
} from '../supervisor/supervision.js';
import { step } from '../supervisor/supervisor.js';
import { forkReactor, type ReactorProcess } from './reactor-process.js';
import type { Resources } from './resources.js';

/** How often heartbeats are looked at, at most and at least. */
const LOOK_MS = { most: 1000, least: 50 };

export interface ShellInputs {
  readonly native: NativeAddon;
  readonly log: MasterLog;
  readonly resources: Resources;
  /** The compiled src/reactor.ts. */
  readonly script: string;
  readonly reactorEnv: Readonly<Record<string, string>>;
  readonly livenessGraceMs: number;
  readonly prepareReload: () => Promise<Prepared>;
  readonly hooks: ShellHooks;
}

/** What the shell tells those around it. */
export interface ShellHooks {
  readonly onReady: (allocator: string) => void;
  readonly onStopping: () => void;
  readonly onReloaded: (problem: string | null, generation: number) => void;
  readonly onExited: (slot: number, exit: ChildExit) => void;
  readonly onEnd: (failure: Failure | null) => void;
}

export interface Shell {
  dispatch(event: SupervisorEvent): void;
  state(): SupervisorState;
  /** For a shell that nothing was dispatched to: it looks at no heartbeat any more. */
  close(): void;
}

interface Forked {
  readonly process: ReactorProcess;
  readonly slot: number;
  readonly side: number;
}

/**
 * The shell around the supervisor: it performs the effects and owns all timers and processes.
 */
export function makeShell(first: SupervisorState, inputs: ShellInputs): Shell {
  const { log, hooks } = inputs;
  const forks = makeForks(inputs, dispatch);
  const setTimer = makeTimers((timer) => dispatch({ type: 'timer', timer }));
  let state = first;
  const heartbeats = watchHeartbeats(inputs, () => state, dispatch);

  function dispatch(event: SupervisorEvent): void {
    const next = step(state, event);
    state = next.state;
    for (const effect of next.effects) perform(effect);
  }

  function perform(effect: Effect): void {
    switch (effect.type) {
      case 'fork':
        forks.start(effect);
        return;
      case 'send':
        forks.get(effect.child)?.send(effect.message);
        return;
      case 'kill':
        forks.get(effect.child)?.signal('SIGKILL');
        return;
      case 'abort':
        forks.get(effect.child)?.signal('SIGABRT');
        return;
      case 'arm-timer':
        setTimer(effect.timer, effect.delayMs);
        return;
      case 'cancel-timer':
        setTimer(effect.timer, null);
        return;
      case 'log':
        log.log(effect.level, effect.fields, effect.message);
        return;
      case 'exit':
        clearInterval(heartbeats);
        hooks.onEnd(effect.failure);
        return;
      default:
        performOutside(inputs, effect, dispatch);
    }
  }

  return { dispatch, state: () => state, close: () => clearInterval(heartbeats) };
}

type OutsideEffect = Exclude<
  Effect,
  { type: 'fork' | 'send' | 'kill' | 'abort' | 'arm-timer' | 'cancel-timer' | 'log' | 'exit' }
>;

/** What has to do with neither children nor timers. */
function performOutside(
  { resources, log, hooks, prepareReload }: ShellInputs,
  effect: OutsideEffect,
  dispatch: (event: SupervisorEvent) => void,
): void {
  switch (effect.type) {
    case 'slot-up':
      resources.boss.setUp(effect.slot, effect.up);
      return;
    case 'close-slot':
      resources.closeSlot(effect.slot);
      return;
    case 'reclaim-slot':
      resources.boss.reclaim(effect.slot);
      return;
    case 'close-listeners':
      resources.closeListeners();
      return;
    case 'reopen-logs':
      log.reopen();
      return;
    case 'prepare-reload':
      prepareReload().then((result) => dispatch({ type: 'prepared', result }));
      return;
    case 'reloaded':
      hooks.onReloaded(effect.problem, effect.generation);
      return;
    case 'announce-ready':
      hooks.onReady(effect.allocator);
      return;
    case 'announce-stopping':
      hooks.onStopping();
      return;
    default:
      unreachable(effect);
  }
}

/** The processes that run, and what is done when one has ended. */
function makeForks(inputs: ShellInputs, dispatch: (event: SupervisorEvent) => void) {
  const { native, log, resources, hooks, script, reactorEnv: env } = inputs;
  const forked = new Map<ChildId, Forked>();

  function start({ slot, child, side }: Extract<Effect, { type: 'fork' }>): void {
    try {
      const process = forkReactor(
        { script, slot, env, inherited: resources.inheritedBy(slot) },
        {
          onMessage: (message) => dispatch({ type: 'message', child, message }),
          onUnreadable: (problem) => dispatch({ type: 'unreadable', child, problem }),
          onDisconnect: () => dispatch({ type: 'disconnected', child }),
          onExit: (exit) => bury(child, exit),
          onLine: (line, stream) => log.relay(slot, line, stream),
        },
      );
      forked.set(child, { process, slot, side });
    } catch (error) {
      // No process, no memory, no descriptor left: the same as a crash, so it is tried again later.
      log.log('error', { reactor: slot, err: error }, 'fork failed');
      setImmediate(() => bury(child, { pid: null, code: null, signal: null }));
    }
  }

  function bury(child: ChildId, exit: ChildExit): void {
    const dead = forked.get(child);
    let serving: ServingNote[] = [];
    if (dead !== undefined) {
      const { slot, side } = dead;
      forked.delete(child);
      serving = servingNotes(resources.stats.readServing(slot, side), native.monotonicMs());
      resources.stats.resetSide(slot, side);
      hooks.onExited(slot, exit);
    }
    const nowMs = performance.now();
    dispatch({ type: 'exited', child, exit, serving, nowMs, random: Math.random() });
  }

  return { start, get: (child: ChildId) => forked.get(child)?.process };
}

function watchHeartbeats(
  { resources, livenessGraceMs: graceMs }: ShellInputs,
  state: () => SupervisorState,
  dispatch: (event: SupervisorEvent) => void,
): NodeJS.Timeout | undefined {
  if (graceMs === 0) return undefined;
  const everyMs = Math.min(LOOK_MS.most, Math.max(LOOK_MS.least, graceMs / 4));
  const look = () => {
    const snapshot = resources.stats.read();
    for (const { child, silentMs, serving } of silentChildren(
      snapshot,
      state().children,
      graceMs,
    )) {
      dispatch({ type: 'silent', child: child.id, silentMs: Math.round(silentMs), serving });
    }
  };
  return setInterval(look, everyMs);
}

/** A delay arms the timer anew, `null` disarms it. */
function makeTimers(onTimer: (timer: Timer) => void) {
  const armed = new Map<string, NodeJS.Timeout>();
  return (timer: Timer, delayMs: number | null): void => {
    const key = keyOf(timer);
    clearTimeout(armed.get(key));
    armed.delete(key);
    if (delayMs !== null)
      armed.set(
        key,
        setTimeout(() => onTimer(timer), delayMs),
      );
  };
}

function keyOf(timer: Timer): string {
  switch (timer.type) {
    case 'slot':
      return `slot ${timer.slot}`;
    case 'child':
      return `child ${timer.child}`;
    case 'delay':
      return 'delay';
  }
}
