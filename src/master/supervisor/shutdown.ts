import type { LogFields } from '../../shared/logger.js';
import type { StopSignal } from '../../shared/signals.js';
import { abandonReload } from './reload.js';
import {
  arm,
  cancel,
  childTimer,
  closeApp,
  dismissSuccessors,
  kill,
  log,
  mainOf,
  send,
  slotTimer,
} from './slots.js';
import type { Child, Ending, Failure, Slot, SupervisorState, Turn } from './state.js';

/** How the server ends: delay, drain, stop, and the exit once no process is left. Pure. */

/**
 * npm forwards the terminal's Ctrl-C to its children, which the terminal has already signalled. So
 * a second SIGINT right after the first is an echo, not a second order.
 */
const ECHO_MS = 250;

/** Drains first; a second signal stops, a third one kills. Orders do not count as signals. */
export function onStopSignal(turn: Turn, name: StopSignal, nowMs: number) {
  const { state } = turn;
  const { phase } = state;
  const signal = { name, atMs: nowMs };
  if (phase.tag === 'ended') return;
  if (phase.tag === 'starting' || phase.tag === 'serving') return beginEnd(turn, signal);
  const before = phase.signal;
  if (name === 'SIGINT' && before?.name === name && nowMs - before.atMs < ECHO_MS) return;
  if (phase.tag === 'stopping') {
    for (const { id } of state.children) kill(turn, id);
  } else if (before === null) {
    state.phase = { ...phase, signal };
    log(turn, 'info', 'already draining', { signal: name });
  } else {
    const failure = phase.failure ?? cutShort(state, `second signal (${name})`);
    beginStop(turn, { signal, failure });
  }
}

export function onDrainOrder(turn: Turn): void {
  const { tag } = turn.state.phase;
  if (tag === 'starting' || tag === 'serving') beginEnd(turn, null);
}

export function onStopOrder(turn: Turn) {
  const { state } = turn;
  const { phase } = state;
  if (phase.tag === 'stopping' || phase.tag === 'ended') return;
  if (phase.tag === 'starting' || phase.tag === 'serving') {
    return beginStop(turn, { signal: null, failure: null });
  }
  const failure = phase.failure ?? cutShort(state, 'stop order');
  beginStop(turn, { signal: phase.signal, failure });
}

function cutShort(state: SupervisorState, by: string): Failure | null {
  const isOpen =
    state.slots.some(({ state: each }) => each.tag === 'ready' || isBusy(each)) ||
    state.children.some((child) => child.role === 'predecessor' && !child.drained);
  return isOpen ? { code: 'ERR_MOONRING_DRAIN', message: `a ${by} cut the drain short` } : null;
}

function isBusy(state: Slot['state']): boolean {
  return state.tag === 'draining' && !state.drained;
}

function beginEnd(turn: Turn, signal: Ending['signal']) {
  const { state } = turn;
  const delayMs = state.settings.drainDelayMs;
  const ending: Ending = { signal, failure: null };
  if (delayMs === 0 || state.phase.tag === 'starting') return beginDrain(turn, ending);
  log(turn, 'info', 'drain begins after the delay', { ...signalOf(ending), delayMs });
  enter(turn, 'delaying', ending);
  arm(turn, { type: 'delay' }, delayMs);
}

function enter(turn: Turn, tag: 'delaying' | 'draining' | 'stopping', ending: Ending): void {
  const { phase } = turn.state;
  const isFirst = phase.tag === 'starting' || phase.tag === 'serving';
  if (isFirst) turn.effects.push({ type: 'announce-stopping' });
  if (tag !== 'delaying') cancel(turn, { type: 'delay' });
  turn.state.phase = { ...ending, tag };
}

/** No new connections; open requests get drain-timeout to finish. */
export function beginDrain(turn: Turn, ending: Ending): void {
  const { state } = turn;
  const { drainTimeoutMs, exitTimeoutMs } = state.settings;
  const isStart = state.phase.tag === 'starting';
  log(turn, 'info', 'draining', { ...signalOf(ending), timeoutMs: drainTimeoutMs });
  dismissSuccessors(turn);
  enter(turn, 'draining', ending);
  turn.effects.push({ type: 'close-listeners' });
  for (const slot of state.slots) {
    // During the initial start, clients can have reached only ready reactors.
    if (isStart && slot.state.tag !== 'ready') stopSlot(turn, slot);
    else drainSlot(turn, slot);
  }
  for (const child of state.children) {
    if (child.role === 'main' || child.drained) continue;
    // A successor that was told to serve may have requests, and drains like the others.
    child.role = 'predecessor';
    sendDrain(turn, child);
    arm(turn, childTimer(child), drainTimeoutMs + exitTimeoutMs);
  }
  abandonReload(turn);
  settle(turn);
}

/**
 * A reactor that replaces a dead one must serve connections waiting in the slot's sockets and those
 * left by the dead one, even if it is not ready yet; the order to drain is then sent when it is.
 */
export function drainSlot(turn: Turn, slot: Slot) {
  const child = mainOf(turn.state, slot);
  const { tag } = slot.state;
  // A slot that was scaled away and is still handing over has requests to finish, too.
  const isLeaving = slot.retired && isBusy(slot.state);
  const mayServe = tag === 'ready' || tag === 'starting' || isLeaving;
  if (child === null || !mayServe) return stopSlot(turn, slot);
  const { drainTimeoutMs, exitTimeoutMs } = turn.state.settings;
  slot.state = { tag: 'draining', child: child.id, drained: false };
  if (tag !== 'starting') sendDrain(turn, child);
  else if (child.stage === 'serving') takeOver(turn, slot);
  arm(turn, slotTimer(slot), drainTimeoutMs + exitTimeoutMs);
}

/** The boss sends it the previous process's connections, well before the order to drain. */
export function takeOver(turn: Turn, { index }: Slot): void {
  turn.effects.push({ type: 'slot-up', slot: index, up: true });
}

/** Nothing new is accepted; open requests get drain-timeout to finish. */
export function sendDrain(turn: Turn, { id }: Child): void {
  send(turn, id, { type: 'drain', timeoutMs: turn.state.settings.drainTimeoutMs });
}

/** Everything is closed now, finished or not. */
export function beginStop(turn: Turn, ending: Ending): void {
  const { state } = turn;
  log(turn, 'warn', 'stopping now', signalOf(ending));
  enter(turn, 'stopping', ending);
  for (const slot of state.slots) stopSlot(turn, slot);
  for (const child of state.children) {
    if (child.role === 'successor') kill(turn, child.id);
    else if (child.role === 'predecessor') {
      send(turn, child.id, { type: 'stop' });
      arm(turn, childTimer(child), state.settings.stopTimeoutMs);
    }
  }
  abandonReload(turn);
  settle(turn);
}

function stopSlot(turn: Turn, slot: Slot) {
  switch (slot.state.tag) {
    case 'starting': {
      // It has no connections, and may not be listening to us yet.
      const { child } = slot.state;
      slot.state = { tag: 'draining', child, drained: true };
      kill(turn, child);
      return cancel(turn, slotTimer(slot));
    }
    case 'ready':
    case 'draining': {
      const { child } = slot.state;
      const drained = slot.state.tag === 'draining' && slot.state.drained;
      slot.state = { tag: 'draining', child, drained };
      send(turn, child, { type: 'stop' });
      return arm(turn, slotTimer(slot), turn.state.settings.stopTimeoutMs);
    }
    case 'backoff':
    case 'failed':
      slot.state = { tag: 'stopped' };
      return cancel(turn, slotTimer(slot));
    case 'stopped':
      return;
  }
}

/** The exit, once no reactor is left. */
export function settle(turn: Turn): void {
  const { state } = turn;
  const { phase } = state;
  if (phase.tag !== 'draining' && phase.tag !== 'stopping') return;
  if (state.children.length > 0 || state.slots.some((slot) => slot.state.tag !== 'stopped')) return;
  const { failure } = phase;
  state.phase = { tag: 'ended' };
  if (failure === null) log(turn, 'info', 'stopped');
  else {
    // A program that stops its own server knows that it cuts requests.
    const isOrder = phase.tag === 'stopping' && phase.signal === null;
    const level = isOrder && failure.code === 'ERR_MOONRING_DRAIN' ? 'warn' : 'fatal';
    log(turn, level, failure.message, { code: failure.code });
  }
  closeApp(turn, state.settings);
  turn.effects.push({ type: 'exit', failure });
}

/** The drain is not clean; the first reason counts. A stop cuts anyway. */
export function drainFailed({ state }: Turn, message: string): void {
  const { phase } = state;
  if (phase.tag !== 'draining' || phase.failure !== null) return;
  state.phase = { ...phase, failure: { code: 'ERR_MOONRING_DRAIN', message } };
}

function signalOf({ signal }: Ending): LogFields {
  return signal === null ? {} : { signal: signal.name };
}
