import { unreachable } from '../../shared/assert.js';
import type { NativeAddon } from '../../shared/native.js';
import type { MasterLog } from '../log/log.js';
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
import { forkReactor, type ReactorProcess } from './reactor-process.js';
import type { Resources } from './resources.js';

/** How often heartbeats are looked at: every quarter of the grace, within these limits. */
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

/** What the rest of the master hears of. May dispatch events: they are handled afterwards. */
export interface ShellHooks {
  readonly onReady: (allocator: string) => void;
  readonly onStopping: () => void;
  readonly onReloaded: (result: ReloadResult) => void;
  readonly onExited: (slot: number, exit: ChildExit) => void;
  readonly onEnd: (failure: Failure | null) => void;
}

export interface Shell {
  dispatch(event: SupervisorEvent): void;
  state(): SupervisorState;
  /** Since when the master has run without a pause, on the clock of the stats page. */
  awakeSinceMs(): number;
  /** For a shell that got no event: heartbeats are not looked at any more. */
  close(): void;
}

/** The shell around the supervisor: performs the effects, and owns all timers and processes. */
export function makeShell(first: SupervisorState, inputs: ShellInputs): Shell {
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
function makeForks(inputs: ShellInputs, dispatch: (event: SupervisorEvent) => void) {
  const { native, log, resources, hooks, script, reactorEnv: env } = inputs;
  const forked = new Map<ChildId, ReactorProcess>();

  function start({ slot, child, side }: Extract<Effect, { type: 'fork' }>): void {
    const exited = (exit: ChildExit, serving: readonly ServingNote[]) => {
      const [nowMs, random] = [performance.now(), Math.random()];
      dispatch({ type: 'exited', child, exit, serving, nowMs, random });
    };
    const onExit = (exit: ChildExit) => {
      const serving = servingNotes(resources.stats.readServing(slot, side), native.monotonicMs());
      resources.stats.resetSide(slot, side);
      forked.delete(child);
      hooks.onExited(slot, exit);
      exited(exit, serving);
    };
    try {
      const process = forkReactor(
        { native, script, slot, env, inherited: resources.inheritedBy(slot) },
        {
          onMessage: (message) => dispatch({ type: 'message', child, message }),
          onUnreadable: (problem) => dispatch({ type: 'unreadable', child, problem }),
          onDisconnect: () => dispatch({ type: 'disconnected', child }),
          onExit,
          onLine: (line, stream) => log.relay(slot, line, stream),
        },
      );
      forked.set(child, process);
    } catch (error) {
      // No process, memory or descriptor left: the same as a crash, so it is tried again later.
      log.log('error', { reactor: slot, err: error }, 'fork failed');
      exited({ pid: null, code: null, signal: null }, []);
    }
  }

  function send({ child, message, appFd }: Extract<Effect, { type: 'send' }>): void {
    const process = forked.get(child);
    if (process === undefined) return;
    try {
      if (appFd !== undefined && appFd >= 0) process.sendApp(appFd);
      process.send(message);
    } catch (error) {
      // Without the files it cannot do what the message says; another process may get them.
      log.log('error', { err: error }, 'the files of the app cannot be passed on');
      process.signal('SIGKILL');
    }
  }

  return { start, send, get: (child: ChildId) => forked.get(child) };
}

function watchHeartbeats(
  { native, resources, livenessGraceMs: graceMs }: ShellInputs,
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
