import { unreachable } from '../../shared/assert.js';
import type { LogFields } from '../../shared/logger.js';
import { PROTOCOL_VERSION } from '../../shared/messages.js';
import type { ReactorFailure } from '../../shared/native.js';
import { type MasterSignal, STOP_SIGNALS } from '../../shared/signals.js';
import { addCrash, restartDelayMs } from './backoff.js';
import { isRenewing, onMemory, renew, renewalFailed } from './memory.js';
import {
  advance,
  onPreparationLate,
  onPrepared,
  onReloadOrder,
  onStatesPrepared,
  onStatesUnprepared,
  promote,
  successorFailed,
} from './reload.js';
import {
  beginDrain,
  beginStop,
  drainFailed,
  drainSlot,
  onDrainOrder,
  onStopOrder,
  onStopSignal,
  sendDrain,
  settle,
  takeOver,
} from './shutdown.js';
import {
  activeSlots,
  arm,
  cancel,
  childById,
  childTimer,
  handOver,
  isEnding,
  isLooping,
  kill,
  launch,
  log,
  mainOf,
  send,
  sendApp,
  serve,
  slotTimer,
  successorOf,
} from './slots.js';
import {
  beginTurn,
  type Child,
  type ChildExit,
  type ChildId,
  type ChildMessage,
  type Effect,
  newSlot,
  type Order,
  type RestartReason,
  type Slot,
  type StartFailure,
  type SupervisorEvent,
  type SupervisorState,
  type Timer,
  type Turn,
} from './state.js';

/**
 * The supervisor: a state and an event give the next state and the effects to perform. Pure: no
 * process, clock or timer. This file handles starts, crashes and scaling; shutdown.ts and reload.ts
 * the rest.
 */
export function step(
  state: SupervisorState,
  event: SupervisorEvent,
): { readonly state: SupervisorState; readonly effects: readonly Effect[] } {
  const turn = beginTurn(state);
  react(turn, event);
  advance(turn);
  renew(turn);
  return turn;
}

function react(turn: Turn, event: SupervisorEvent) {
  switch (event.type) {
    case 'boot':
      for (const slot of turn.state.slots) launch(turn, slot);
      return;
    case 'timer':
      return onTimer(turn, event.timer, event.lateMs);
    case 'signal':
      return onSignal(turn, event.signal, event.nowMs);
    case 'order':
      return onOrder(turn, event.order);
    case 'prepared':
      return onPrepared(turn, event.result);
    default:
      return withChild(turn, event.child, (child, slot) => onChild(turn, child, slot, event));
  }
}

/** Events of a process that has exited already are ignored. */
function withChild(turn: Turn, id: ChildId, next: (child: Child, slot: Slot) => void): void {
  const child = childById(turn.state, id);
  const slot = child && turn.state.slots[child.slot];
  if (child && slot) next(child, slot);
}

type ChildEvent = Extract<SupervisorEvent, { readonly child: ChildId }>;
type Exited = Extract<SupervisorEvent, { type: 'exited' }>;
type Disconnected = Extract<SupervisorEvent, { type: 'disconnected' }>;

function onChild(turn: Turn, child: Child, slot: Slot, event: ChildEvent) {
  switch (event.type) {
    case 'message':
      return onMessage(turn, child, slot, event.message);
    case 'unreadable': {
      const fields = { reactor: child.slot, problem: event.problem };
      log(turn, 'error', 'reactor sent an unreadable message: killing it', fields);
      return kill(turn, child.id);
    }
    case 'disconnected':
      return onDisconnected(turn, child, slot, event);
    case 'exited':
      return onExited(turn, child, slot, event);
    case 'heartbeat-lost': {
      // It may be stuck permanently, or just busy for too long: its clients are waiting.
      if (child.stuck || isStarting(child, slot)) return;
      const { silentMs, serving } = event;
      const fields = { reactor: child.slot, reactorPid: child.pid, silentMs, serving };
      child.stuck = true;
      log(turn, 'error', 'heartbeat lost: aborting the reactor', fields);
      turn.effects.push({ type: 'abort', child: child.id });
      return armExit(turn, child, slot);
    }
    case 'memory':
      return onMemory(turn, child, slot, event);
    default:
      return unreachable(event);
  }
}

function onMessage(turn: Turn, child: Child, slot: Slot, message: ChildMessage) {
  switch (message.type) {
    case 'hello':
      child.pid = message.pid;
      return onHello(turn, child, slot, message.protocol);
    case 'loaded':
      return onLoaded(turn, child, slot);
    case 'ready':
      return onReady(turn, child, slot, message.allocator);
    case 'cut':
      return drainFailed(
        turn,
        `the drain timeout expired before reactor ${slot.index} finished its requests`,
      );
    case 'drained':
      if (child.role === 'predecessor') child.drained = true;
      else if (child.role === 'main' && slot.state.tag === 'draining') {
        slot.state = { ...slot.state, drained: true };
      } else return;
      return armExit(turn, child, slot);
    case 'prepared':
      return onStatesPrepared(turn, child, message);
    case 'unprepared':
      return onStatesUnprepared(turn, child, message);
    case 'switched':
      if (child.next === 'switching') child.next = 'none';
      return;
    case 'failed':
      return noteStartFailure(child, slot, { ...FAILURES[message.code], message: message.message });
    case 'orphaned':
      log(turn, 'warn', 'reactor lost its control pair: draining', { reactor: slot.index });
      return;
    default:
      return unreachable(message);
  }
}

const FAILURES: Readonly<Record<ReactorFailure, Omit<StartFailure, 'message'>>> = {
  HANDLER: { code: 'ERR_MOONRING_HANDLER', lasting: true },
  INVALID: { code: 'ERR_MOONRING_CONFIG', lasting: true },
  SYSTEM: { code: 'ERR_MOONRING_CONTROL', lasting: false },
  NOMEM: { code: 'ERR_MOONRING_CONTROL', lasting: false },
};

/* Starts: hello, loaded, ready. */

function onHello(turn: Turn, child: Child, slot: Slot, protocol: number) {
  const { state } = turn;
  if (child.stage !== 'loading' || !(isStarting(child, slot) || isAwaited(child, slot))) return;
  if (protocol !== PROTOCOL_VERSION) {
    // The files were replaced under a running master. Serving processes keep serving.
    const message = `reactor ${child.slot} speaks protocol ${protocol}, the master ${PROTOCOL_VERSION}: rebuild`;
    const failure = { code: 'ERR_MOONRING_PROTOCOL', message, lasting: true } as const;
    if (state.phase.tag === 'starting') return beginStop(turn, { signal: null, failure });
    noteStartFailure(child, slot, failure);
    return kill(turn, child.id);
  }
  const { reload } = state;
  // Until all have loaded, only the successors get the new settings.
  const isNew = child.role === 'successor' && reload.tag === 'loading';
  const { reactor, pin, appFd } = isNew ? reload.settings : state.settings;
  const options = {
    ...reactor,
    index: child.slot,
    statsSlot: child.slot,
    statsSide: child.side,
    generation: child.generation,
    pinCpu: pin ? child.slot : -1,
  };
  sendApp(turn, child.id, { type: 'load', options }, appFd);
}

function onLoaded(turn: Turn, child: Child, slot: Slot): void {
  if (child.stage !== 'loading') return;
  if (child.role === 'successor') {
    child.stage = 'loaded';
    cancel(turn, childTimer(child));
  } else if (isAwaited(child, slot)) {
    takeOver(turn, slot);
    serve(turn, child);
  } else if (isStarting(child, slot)) {
    serve(turn, child);
  }
}

/**
 * The drain began before it was ready: it still serves connections waiting in the slot's sockets,
 * and those of the previous process.
 */
function isAwaited(child: Child, slot: Slot): boolean {
  return child.role === 'main' && slot.state.tag === 'draining' && !slot.state.drained;
}

function isStarting({ role }: Child, slot: Slot): boolean {
  return role === 'successor' || (role === 'main' && slot.state.tag === 'starting');
}

function onReady(turn: Turn, child: Child, slot: Slot, allocator: string): void {
  const { state } = turn;
  if (child.stage !== 'serving') return;
  if (state.phase.tag === 'draining' && isAwaited(child, slot)) sendDrain(turn, child);
  if (!isStarting(child, slot)) return;
  if (child.role === 'successor') {
    // In a stop it is being killed; the message was in transit.
    if (!isEnding(state)) promote(turn, slot, child, allocator);
    return;
  }
  slot.state = { tag: 'ready', child: child.id, allocator };
  cancel(turn, slotTimer(slot));
  turn.effects.push({ type: 'slot-up', slot: slot.index, up: true });
  const level = state.phase.tag === 'starting' ? 'debug' : 'info';
  log(turn, level, 'reactor is ready', { reactor: slot.index, allocator });
  beginServing(turn);
}

/** Startup is complete when enough reactors are ready and the others are in a crash loop. */
function beginServing(turn: Turn): void {
  const { state } = turn;
  if (state.phase.tag !== 'starting') return;
  const slots = activeSlots(state);
  const ready = slots.flatMap((slot) => (slot.state.tag === 'ready' ? [slot.state] : []));
  const isOver = slots.every((slot) => slot.state.tag === 'ready' || isLooping(slot));
  const [first] = ready;
  if (!isOver || first === undefined || ready.length < state.settings.minReactors) return;
  state.phase = { tag: 'serving' };
  turn.effects.push({ type: 'announce-ready', allocator: first.allocator });
}

/** Its exit follows, and is judged then. */
function noteStartFailure(child: Child, slot: Slot, failure: StartFailure): void {
  if (child.role === 'successor') child.failure = failure;
  else if (child.role === 'main' && slot.state.tag === 'starting') {
    slot.state = { ...slot.state, failure };
  }
}

/* Exits. */

/** Writing the core of a large process takes long. */
const DUMP_TIMEOUT_MS = 60_000;
/** The number of processes of a slot at which another starts only after one has ended. */
const CROWDED = 3;

/**
 * A crash closes the channel before the process has ended, which may take as long as writing its
 * core: the slot is restarted without waiting for that.
 */
function onDisconnected(turn: Turn, child: Child, slot: Slot, event: Disconnected): void {
  const { state } = turn;
  const { nowMs, random } = event;
  const history = addCrash(slot.history, { nowMs, wasReady: true }, state.settings.crashes);
  const isCrowded = state.children.filter((each) => each.slot === slot.index).length >= CROWDED;
  const isCrash = child.role === 'main' && slot.state.tag === 'ready' && !isEnding(state);
  const isBeingReplaced = state.reload.tag !== 'idle' || successorOf(state, slot) !== null;
  if (!isCrash || isCrowded || history.loop !== null || isBeingReplaced) {
    armExit(turn, child, slot);
    return;
  }
  slot.history = history;
  slot.state = { tag: 'backoff' };
  const restartInMs = restartDelayMs(history, random, state.settings.crashes);
  child.role = 'predecessor';
  child.drained = true;
  child.crash = { restartInMs };
  arm(turn, childTimer(child), DUMP_TIMEOUT_MS);
  turn.effects.push({ type: 'slot-up', slot: slot.index, up: false });
  if (restartInMs === 0) launch(turn, slot);
  else arm(turn, slotTimer(slot), restartInMs);
}

function onExited(turn: Turn, child: Child, slot: Slot, event: Exited) {
  const { state } = turn;
  state.children = state.children.filter(({ id }) => id !== child.id);
  if (child.role === 'main') return onMainExited(turn, child, slot, event);
  cancel(turn, childTimer(child));
  if (child.role === 'successor') {
    const what = child.failure === null ? wordsOf(event.exit) : `failed: ${child.failure.message}`;
    const code = child.failure?.code ?? 'ERR_MOONRING_HANDLER';
    const failed = { code, message: `the new reactor ${slot.index} ${what}` };
    if (isRenewing(state)) renewalFailed(turn, slot, failed);
    else successorFailed(turn, slot, failed);
  } else if (child.crash !== null) {
    reportCrash(turn, child, reasonOf(child, true, event.exit), event, child.crash);
  } else if (!child.drained) {
    const message = 'replaced reactor exited before it had handed over its connections';
    log(turn, 'error', message, { reactor: child.slot, ...exitFields(event) });
    const words = wordsOf(event.exit);
    drainFailed(turn, `the replaced reactor ${child.slot} ${words} before it had drained`);
  }
  settle(turn);
}

function onMainExited(turn: Turn, child: Child, slot: Slot, event: Exited) {
  const { state } = turn;
  if (isStruckByGroupSignal(state, child, slot, event.exit)) {
    launch(turn, slot);
    if (isEnding(state)) drainSlot(turn, slot);
    return;
  }
  if (slot.state.tag === 'ready') return onCrash(turn, child, slot, null, event);
  if (slot.state.tag === 'starting') {
    const { failure } = slot.state;
    const isFirst = state.phase.tag === 'starting';
    if (!isFirst || failure?.lasting !== true) return onCrash(turn, child, slot, failure, event);
    // No request was served yet, and any other start would fail like this one.
    slot.state = { tag: 'stopped' };
    cancel(turn, slotTimer(slot));
    return beginStop(turn, { signal: null, failure });
  }
  if (slot.state.tag !== 'draining') return;
  const { drained } = slot.state;
  slot.state = { tag: 'stopped' };
  cancel(turn, slotTimer(slot));
  if (slot.retired && !isEnding(state)) {
    const fields = { reactor: slot.index, ...exitFields(event) };
    if (drained) log(turn, 'info', 'reactor has exited', { reactor: slot.index });
    else log(turn, 'error', 'reactor exited before it had handed over its connections', fields);
    turn.effects.push({ type: 'reclaim-slot', slot: slot.index });
    return;
  }
  if (!drained) {
    drainFailed(turn, `reactor ${slot.index} ${wordsOf(event.exit)} before it had drained`);
  }
  settle(turn);
}

/**
 * A terminal signals the whole group, and a process that is just starting does not ignore that yet.
 * It is not at fault: another one takes its place, even in a drain.
 */
function isStruckByGroupSignal(
  { phase }: SupervisorState,
  child: Child,
  slot: Slot,
  { signal }: ChildExit,
): boolean {
  const isAtStart = child.stage === 'loading' && STOP_SIGNALS.some((name) => name === signal);
  return (
    isAtStart && (isStarting(child, slot) || (phase.tag === 'draining' && isAwaited(child, slot)))
  );
}

function onCrash(
  turn: Turn,
  child: Child,
  slot: Slot,
  failure: StartFailure | null,
  event: Exited,
) {
  const { state } = turn;
  const { crashes: policy, startTimeoutMs } = state.settings;
  const wasReady = slot.state.tag === 'ready';
  const wasLooping = slot.history.loop !== null;
  const reason = reasonOf(child, wasReady, event.exit);
  const failed = failure === null ? {} : { failure: failure.message };
  const report = (more: LogFields) =>
    reportCrash(turn, child, reason, event, { ...failed, ...more });
  slot.history = addCrash(slot.history, { nowMs: event.nowMs, wasReady }, policy);
  turn.effects.push({ type: 'slot-up', slot: slot.index, up: false });
  const mayFollow = state.reload.tag === 'replacing' || isRenewing(state);
  const successor = mayFollow ? successorOf(state, slot) : null;
  if (successor !== null) {
    // It takes over the slot out of turn, if necessary as soon as it has loaded.
    report({ restartInMs: 0 });
    successor.role = 'main';
    slot.state = { tag: 'starting', child: successor.id, failure: successor.failure };
    cancel(turn, childTimer(successor));
    arm(turn, slotTimer(slot), startTimeoutMs);
    if (successor.stage === 'loaded') serve(turn, successor);
    return;
  }
  const { loop } = slot.history;
  slot.state = { tag: loop === null ? 'backoff' : 'failed' };
  if (loop !== null && activeSlots(state).every(isLooping)) {
    report({});
    const words = child.overMemory ? 'had reached --memory-limit' : wordsOf(event.exit);
    const last = failure === null ? words : failure.message;
    const message = `reactor ${slot.index} ${loop.reason}; the last time: ${last}`;
    const signal = 'signal' in state.phase ? state.phase.signal : null;
    return beginDrain(turn, { signal, failure: { code: 'ERR_MOONRING_CRASH_LOOP', message } });
  }
  const delayMs = restartDelayMs(slot.history, event.random, policy);
  report({ restartInMs: delayMs });
  if (loop !== null && !wasLooping) {
    const message = 'reactor is in a crash loop: it is restarted later, the others keep running';
    log(turn, 'error', message, { reactor: slot.index, reason: loop.reason });
    beginServing(turn);
  }
  if (delayMs === 0) launch(turn, slot);
  else arm(turn, slotTimer(slot), delayMs);
}

function reportCrash(
  turn: Turn,
  child: Child,
  reason: RestartReason,
  event: Exited,
  more: LogFields,
): void {
  turn.state.restarts[reason]++;
  const fields = { reactor: child.slot, reason, ...exitFields(event), ...more };
  log(turn, 'error', 'reactor crashed', fields);
}

function reasonOf(child: Child, wasReady: boolean, exit: ChildExit) {
  if (child.stuck) return 'stuck';
  if (child.overMemory) return 'memory';
  if (!wasReady) return 'start';
  return exit.signal === null ? 'exit' : 'signal';
}

function exitFields({ exit, serving, waiting }: Exited): LogFields {
  const { pid, code, signal } = exit;
  return {
    reactorPid: pid,
    code,
    signal,
    ...(serving.length === 0 ? {} : { serving }),
    ...(waiting === 0 ? {} : { waiting }),
  };
}

function wordsOf({ code, signal }: ChildExit): string {
  if (signal !== null) return `was killed by ${signal}`;
  return code === null ? 'could not be started' : `exited with code ${code}`;
}

/* Timers. */

/** Longer than a busy machine delays a timer: the master itself was stopped, and so were the
 * others. */
const STOPPED_MS = 1000;

function onTimer(turn: Turn, timer: Timer, lateMs: number) {
  const { state } = turn;
  if (timer.type === 'delay') {
    if (state.phase.tag === 'delaying') beginDrain(turn, state.phase);
    return;
  }
  if (timer.type === 'reload') return onPreparationLate(turn);
  const slot = timer.type === 'slot' ? state.slots[timer.slot] : undefined;
  if (slot?.state.tag === 'backoff' || slot?.state.tag === 'failed') return launch(turn, slot);
  const id = timer.type === 'child' ? timer.child : slot && mainOf(state, slot)?.id;
  if (id === undefined) return;
  withChild(turn, id, (child, its) => onDeadline(turn, child, its, lateMs));
}

function onDeadline(turn: Turn, child: Child, slot: Slot, lateMs: number) {
  const { startTimeoutMs, exitTimeoutMs } = turn.state.settings;
  const starts = isStarting(child, slot);
  if (lateMs > STOPPED_MS) {
    // Time did not pass for the reactor either: it gets another timeout.
    const timer = child.role === 'main' ? slotTimer(slot) : childTimer(child);
    return arm(turn, timer, starts ? startTimeoutMs : exitTimeoutMs);
  }
  if (starts) {
    const message = `not ready within ${startTimeoutMs} ms`;
    noteStartFailure(child, slot, { code: 'ERR_MOONRING_HANDLER', message, lasting: false });
  }
  const message = `reactor does not ${starts ? 'get ready' : 'exit'}: killing it`;
  log(turn, 'error', message, { reactor: child.slot });
  kill(turn, child.id);
}

function armExit(turn: Turn, child: Child, slot: Slot): void {
  const timer = child.role === 'main' ? slotTimer(slot) : childTimer(child);
  arm(turn, timer, turn.state.settings.exitTimeoutMs);
}

/* Signals and orders. */

function onSignal(turn: Turn, signal: MasterSignal, nowMs: number) {
  switch (signal) {
    case 'SIGHUP':
      return onReloadOrder(turn);
    case 'SIGUSR1':
      turn.effects.push({ type: 'reopen-logs' });
      for (const { id } of turn.state.children) send(turn, id, { type: 'reopen-logs' });
      return log(turn, 'info', 'log files reopened');
    case 'SIGTERM':
    case 'SIGINT':
    case 'SIGQUIT':
      return onStopSignal(turn, signal, nowMs);
    case 'SIGUSR2':
    case 'SIGTTIN':
    case 'SIGTTOU':
      return log(turn, 'warn', 'signal ignored', { signal });
    default:
      return unreachable(signal);
  }
}

function onOrder(turn: Turn, order: Order) {
  switch (order.type) {
    case 'reload':
      return onReloadOrder(turn);
    case 'drain':
      return onDrainOrder(turn);
    case 'stop':
      return onStopOrder(turn);
    case 'scale':
      return onScale(turn, order.processes);
    default:
      return unreachable(order);
  }
}

/* Scaling. */

/** Why there cannot be `processes` reactors now; `null`: there can. Checked before sockets are
 * opened. */
export function scalingProblem(state: SupervisorState, processes: number): string | null {
  const { minReactors } = state.settings;
  if (!Number.isInteger(processes) || processes < 1)
    return 'processes must be a whole number of at least 1';
  if (processes < minReactors) return `--min-reactors is ${minReactors}`;
  if (state.phase.tag !== 'serving') return 'not all reactors are ready yet, or it is stopping';
  if (state.reload.tag !== 'idle') return 'a reload is in progress';
  if (state.children.some(({ role }) => role === 'successor')) return 'a reactor is being replaced';
  const leaving = state.slots.some((slot) => slot.retired && slot.state.tag !== 'stopped');
  return leaving ? 'reactors of an earlier scale command are still exiting' : null;
}

function onScale(turn: Turn, processes: number): void {
  const { state } = turn;
  const from = activeSlots(state).length;
  if (scalingProblem(state, processes) !== null || from === processes) return;
  log(turn, 'info', 'scaling', { from, processes });
  for (const slot of activeSlots(state).slice(processes)) retire(turn, slot);
  for (let index = from; index < processes; index++) {
    const slot = newSlot(index);
    state.slots[index] = slot;
    launch(turn, slot);
  }
}

function retire(turn: Turn, slot: Slot) {
  const { index } = slot;
  const child = mainOf(turn.state, slot);
  slot.retired = true;
  turn.effects.push({ type: 'slot-up', slot: index, up: false });
  turn.effects.push({ type: 'close-slot', slot: index });
  if (child === null) {
    slot.state = { tag: 'stopped' };
    cancel(turn, slotTimer(slot));
    turn.effects.push({ type: 'reclaim-slot', slot: index });
    return;
  }
  const mayServe = child.stage === 'serving';
  slot.state = { tag: 'draining', child: child.id, drained: !mayServe };
  if (mayServe) return handOver(turn, child, slotTimer(slot));
  kill(turn, child.id);
  cancel(turn, slotTimer(slot));
}
