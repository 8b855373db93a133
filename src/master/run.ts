import { join } from 'node:path';
import { unreachable } from '../shared/assert.js';
import { originOf, type ResolvedConfig } from '../shared/config.js';
import { messageOf } from '../shared/errors.js';
import type { AppSource, NativeAddon, ReactorSettings } from '../shared/native.js';
import { version } from '../shared/package-info.js';
import type { AllocatorChoice } from './allocator.js';
import { CRASH_POLICY } from './backoff.js';
import { formatAddress, openListeners } from './listeners.js';
import type { MasterLog } from './log.js';
import {
  CHILD_CONTROL_FD,
  CHILD_LISTEN_FD,
  forkReactor,
  type ReactorProcess,
} from './reactor-process.js';
import { watchSignals } from './signals.js';
import {
  type ChildId,
  type Effect,
  type Failure,
  initialState,
  type SupervisorEvent,
  type SupervisorSettings,
  type Timer,
} from './supervision.js';
import { step } from './supervisor.js';

const START_TIMEOUT_MS = 20_000;
/** More than a reactor without a channel takes to drain. */
const EXIT_TIMEOUT_MS = 2000;
const STOP_TIMEOUT_MS = 500;

export interface MasterInputs {
  readonly resolved: ResolvedConfig;
  readonly processes: number;
  readonly app: AppSource;
  readonly packageRoot: string;
  readonly native: NativeAddon;
  readonly allocator: AllocatorChoice;
  readonly log: MasterLog;
}

/**
 * Descriptors of one slot, open for the master's whole life. Both ends of the pair, so that nothing
 * in it is lost.
 */
interface SlotDescriptors {
  readonly listenFd: number;
  readonly control: readonly [masterFd: number, reactorFd: number];
}

/**
 * Serves until told to stop. Returns why it ended, `null` for a clean end. Throws
 * ERR_MOONRING_LISTEN. This is the shell around the supervisor: it performs the effects and owns
 * all timers and processes.
 */
export async function serve(inputs: MasterInputs): Promise<Failure | null> {
  const { processes, native } = inputs;
  const { config, sources } = inputs.resolved;
  const { host, port, backlog } = config;
  const origins = [sources.host, sources.port].flatMap((source) => originOf(source) ?? []);
  const listeners = openListeners(native, { host, port, backlog, count: processes }, origins);
  const slots = listeners.fds.map((listenFd): SlotDescriptors => {
    return { listenFd, control: native.socketPair() };
  });
  return new Promise((resolve) => {
    const { address, port: boundPort } = listeners;
    const url = `http://${formatAddress(address, boundPort)}`;
    const ready = { address: url, host: address, port: boundPort, processes };
    const shell = makeShell(inputs, slots, ready, resolve);
    watchSignals((signal) => shell({ type: 'signal', signal, nowMs: Date.now() }));
    shell({ type: 'boot' });
  });
}

type Dispatch = (event: SupervisorEvent) => void;

interface ReadyFields {
  /** A URL. */
  readonly address: string;
  readonly host: string;
  readonly port: number;
  readonly processes: number;
}

function makeShell(
  inputs: MasterInputs,
  slots: readonly SlotDescriptors[],
  ready: ReadyFields,
  onEnd: (failure: Failure | null) => void,
): Dispatch {
  const { log, announce } = inputs.log;
  const children = new Map<ChildId, ReactorProcess>();
  const setTimer = makeTimers((timer) => dispatch({ type: 'timer', timer }));
  let state = initialState(supervisorSettings(inputs), inputs.processes);

  function dispatch(event: SupervisorEvent): void {
    const next = step(state, event);
    state = next.state;
    if (event.type === 'exited') children.delete(event.child);
    for (const effect of next.effects) perform(effect);
  }

  function perform(effect: Effect): void {
    switch (effect.type) {
      case 'fork':
        tryFork(effect);
        return;
      case 'send':
        children.get(effect.child)?.send(effect.message);
        return;
      case 'kill':
        children.get(effect.child)?.kill();
        return;
      case 'arm-timer':
        setTimer(effect.timer, effect.delayMs);
        return;
      case 'cancel-timer':
        setTimer(effect.timer, null);
        return;
      case 'log':
        log(effect.level, effect.fields, effect.message);
        return;
      case 'announce-ready':
        announce({ ...ready, allocator: effect.allocator, version }, 'ready');
        return;
      case 'exit':
        onEnd(effect.failure);
        return;
      default:
        unreachable(effect);
    }
  }

  /** No process, no memory, no descriptor left: the same as a crash, so it is tried again later. */
  function tryFork(effect: Extract<Effect, { type: 'fork' }>): void {
    const { child } = effect;
    try {
      children.set(child, fork(inputs, slots, effect, dispatch));
    } catch (error) {
      log('error', { reactor: effect.slot, error: messageOf(error) }, 'fork failed');
      const exit = { pid: null, code: null, signal: null };
      setImmediate(dispatch, {
        type: 'exited',
        child,
        exit,
        nowMs: Date.now(),
        random: Math.random(),
      });
    }
  }

  return dispatch;
}

function fork(
  { allocator, packageRoot }: MasterInputs,
  slots: readonly SlotDescriptors[],
  { slot, child }: Extract<Effect, { type: 'fork' }>,
  dispatch: Dispatch,
): ReactorProcess {
  const descriptors = slots[slot];
  if (descriptors === undefined) throw new TypeError(`there is no slot ${slot}`);
  return forkReactor(
    {
      script: join(packageRoot, 'dist', 'reactor.js'),
      slot,
      listenFd: descriptors.listenFd,
      controlFd: descriptors.control[1],
      env: allocator.type === 'jemalloc' ? allocator.env : {},
    },
    {
      onMessage: (message) => dispatch({ type: 'message', child, message }),
      onUnreadable: (problem) => dispatch({ type: 'unreadable', child, problem }),
      onDisconnect: () => dispatch({ type: 'disconnected', child }),
      onExit: (exit) =>
        dispatch({ type: 'exited', child, exit, nowMs: Date.now(), random: Math.random() }),
    },
  );
}

/** A delay arms the timer anew, `null` disarms it. */
function makeTimers(onTimer: (timer: Timer) => void) {
  const armed = new Map<string, NodeJS.Timeout>();
  return (timer: Timer, delayMs: number | null): void => {
    const key = timer.type === 'slot' ? `slot ${timer.slot}` : timer.type;
    clearTimeout(armed.get(key));
    armed.delete(key);
    if (delayMs !== null)
      armed.set(
        key,
        setTimeout(() => onTimer(timer), delayMs),
      );
  };
}

function supervisorSettings({ resolved, app, packageRoot }: MasterInputs): SupervisorSettings {
  const { config } = resolved;
  const reactor: ReactorSettings = {
    app,
    luaRoot: join(packageRoot, 'lua'),
    logLevel: config.logLevel,
    maxConnections: config.maxConnections,
    ringSize: config.ringSize,
    maxBody: config.maxBody,
    maxUrl: config.maxUrl,
    maxHeaders: config.maxHeaders,
    headerTimeoutMs: config.headerTimeout,
    bodyTimeoutMs: config.bodyTimeout,
    keepaliveTimeoutMs: config.keepaliveTimeout,
    writeTimeoutMs: config.writeTimeout,
    handlerTimeoutMs: config.handlerTimeout,
    workers: config.workers,
    dispatch: config.dispatch,
    luaMemory: config.luaMemory,
  };
  return {
    reactor: { ...reactor, listenFds: [CHILD_LISTEN_FD], controlFd: CHILD_CONTROL_FD },
    startTimeoutMs: START_TIMEOUT_MS,
    exitTimeoutMs: EXIT_TIMEOUT_MS,
    stopTimeoutMs: STOP_TIMEOUT_MS,
    drainDelayMs: config.drainDelay,
    drainTimeoutMs: config.drainTimeout,
    crashes: CRASH_POLICY,
  };
}
