import type { LogFields } from '../../shared/logger.js';
import type { StopSignal } from '../../shared/signals.js';
import { abandonReload } from './reload.js';
import {
  childById,
  childTimer,
  dismissSuccessors,
  drainOrder,
  slotTimer,
  withSlot,
} from './slots.js';
import {
  type Child,
  type Effect,
  type Ending,
  type Failure,
  log,
  only,
  type Slot,
  type Step,
  type SupervisorState,
  then,
} from './supervision.js';

/**
 * The part of the supervisor that ends things: delay, drain, stop, and the exit when all is quiet.
 * Pure.
 */

/**
 * npm passes the terminal's Ctrl-C on to its children, which have had it from the terminal already.
 * So a second SIGINT right after the first is an echo, not impatience.
 */
const ECHO_MS = 250;

/** `null`: not a signal but the words of an operator or of the program around us. */
export function onStopSignal(
  state: SupervisorState,
  signal: StopSignal | null,
  nowMs: number,
): Step {
  const { phase } = state;
  switch (phase.tag) {
    case 'starting':
      return beginDrain(state, { order: { signal, atMs: nowMs }, failure: null });
    case 'serving':
      return beginDelay(state, signal, nowMs);
    case 'delaying':
    case 'draining':
      if (isEcho(phase, signal, nowMs)) return only(state);
      return beginStop(state, {
        order: { signal, atMs: nowMs },
        failure: phase.failure ?? (isOpen(state) ? cutShort(signal) : null),
      });
    case 'stopping':
      if (isEcho(phase, signal, nowMs)) return only(state);
      return only(state, ...state.children.map(killEffect));
    case 'ended':
      return only(state);
  }
}

function cutShort(signal: StopSignal | null): Failure {
  const who = signal === null ? 'order' : `signal (${signal})`;
  return { code: 'ERR_MOONRING_DRAIN', message: `a second ${who} cut the drain short` };
}

function beginDelay(state: SupervisorState, signal: StopSignal | null, nowMs: number): Step {
  const ending: Ending = { order: { signal, atMs: nowMs }, failure: null };
  const delayMs = state.settings.drainDelayMs;
  if (delayMs === 0) return beginDrain(state, ending);
  return only(
    { ...state, phase: { ...ending, tag: 'delaying' } },
    log('info', 'drain begins after the delay', { ...orderOf(ending), delayMs }),
    { type: 'announce-stopping' },
    { type: 'arm-timer', timer: { type: 'delay' }, delayMs },
  );
}

/** No new connections; open requests get drain-timeout to finish. */
export function beginDrain(state: SupervisorState, ending: Ending): Step {
  const { drainTimeoutMs } = state.settings;
  const dismissed = then(
    only(state, log('info', 'draining', { ...orderOf(ending), timeoutMs: drainTimeoutMs })),
    dismissSuccessors,
  );
  const start = then(dismissed, (now) =>
    only(
      { ...now, phase: { ...ending, tag: 'draining' }, children: now.children.map(inDrain) },
      { type: 'announce-stopping' },
      { type: 'cancel-timer', timer: { type: 'delay' } },
      { type: 'close-listeners' },
      ...now.children.flatMap((child) => exitTimer(now, child)),
    ),
  );
  const drainSlot = state.phase.tag === 'starting' ? drainReadySlot : drainServingSlot;
  return endChildren(start, drainSlot, (child) => drainOther(state, child));
}

/** A successor that was told to serve may have requests too, and leaves like the others that do. */
function inDrain(child: Child): Child {
  return child.role === 'successor' ? { ...child, role: 'leaver' } : child;
}

/** Instead of a successor's deadline for getting ready, or a leaver's for handing over. */
function exitTimer({ settings }: SupervisorState, child: Child): Effect[] {
  if (child.role === 'main' || child.drained) return [];
  const delayMs = settings.drainTimeoutMs + settings.exitTimeoutMs;
  return [{ type: 'arm-timer', timer: childTimer(child), delayMs }];
}

/** What leaves closes its connections now instead of handing them over. */
function drainOther(state: SupervisorState, child: Child): Effect[] {
  return child.role === 'main' || child.drained ? [] : [drainOrder(state, child.id)];
}

/** Every slot in its turn, then the children that are in none. */
function endChildren(
  start: Step,
  endSlot: (state: SupervisorState, slot: Slot) => Step,
  endOther: (child: Child) => Effect[],
): Step {
  const { slots, children } = start.state;
  const step = slots.reduce((sum, slot) => then(sum, (now) => endSlot(now, slot)), start);
  const others = children.flatMap(endOther);
  return then(
    then(step, (now) => only(now, ...others)),
    quit,
  );
}

function quit(state: SupervisorState): Step {
  return then(abandonReload(state), settle);
}

/** In the first start, where nobody has been told yet that anything is served. */
function drainReadySlot(state: SupervisorState, slot: Slot): Step {
  return slot.state.tag === 'ready' ? drainServingSlot(state, slot) : stopSlot(state, slot);
}

/**
 * A reactor that takes a dead one's place serves what waits in the slot's sockets, even if it has
 * not loaded yet; then it is told to drain when it has.
 */
function drainServingSlot(state: SupervisorState, slot: Slot): Step {
  const { drainTimeoutMs, exitTimeoutMs } = state.settings;
  const { tag } = slot.state;
  // What was scaled away and is still handing over has requests to finish, too.
  const isLeaving = tag === 'draining' && slot.retired && !slot.state.drained;
  if (tag !== 'ready' && tag !== 'starting' && !isLeaving) return stopSlot(state, slot);
  const { child } = slot.state;
  const isServing = childById(state, child)?.stage === 'serving';
  return only(
    withSlot(state, { ...slot, state: { tag: 'draining', child, drained: false } }),
    ...(isServing ? [drainOrder(state, child)] : []),
    { type: 'arm-timer', timer: slotTimer(slot), delayMs: drainTimeoutMs + exitTimeoutMs },
  );
}

/** Everything is closed now, finished or not. */
export function beginStop(state: SupervisorState, ending: Ending): Step {
  const start = only(
    { ...state, phase: { ...ending, tag: 'stopping' } },
    log('warn', 'stopping now', orderOf(ending)),
    { type: 'announce-stopping' },
    { type: 'cancel-timer', timer: { type: 'delay' } },
  );
  const { stopTimeoutMs } = state.settings;
  return endChildren(start, stopSlot, (child) => stopOther(child, stopTimeoutMs));
}

function stopOther(child: Child, delayMs: number): Effect[] {
  switch (child.role) {
    case 'main':
      return [];
    case 'successor':
      return [killEffect(child)];
    case 'leaver':
      return [
        { type: 'send', child: child.id, message: { type: 'stop' } },
        { type: 'arm-timer', timer: childTimer(child), delayMs },
      ];
  }
}

function stopSlot(state: SupervisorState, slot: Slot): Step {
  switch (slot.state.tag) {
    case 'starting': {
      // It has nothing to lose, and may not be listening to us yet.
      const { child } = slot.state;
      return only(
        withSlot(state, { ...slot, state: { tag: 'draining', child, drained: true } }),
        { type: 'kill', child },
        { type: 'cancel-timer', timer: slotTimer(slot) },
      );
    }
    case 'ready':
    case 'draining': {
      const { child } = slot.state;
      return only(
        withSlot(state, { ...slot, state: { tag: 'draining', child, drained: isDrained(slot) } }),
        { type: 'send', child, message: { type: 'stop' } },
        { type: 'arm-timer', timer: slotTimer(slot), delayMs: state.settings.stopTimeoutMs },
      );
    }
    case 'backoff':
      return only(withSlot(state, { ...slot, state: { tag: 'stopped' } }), {
        type: 'cancel-timer',
        timer: slotTimer(slot),
      });
    case 'failed':
    case 'stopped':
      return only(state);
  }
}

/** The exit, once no reactor is left. */
export function settle(state: SupervisorState): Step {
  const { phase } = state;
  if (phase.tag !== 'draining' && phase.tag !== 'stopping') return only(state);
  const quiet = state.slots.every(({ state: { tag } }) => tag === 'stopped' || tag === 'failed');
  if (!quiet || state.children.length > 0) return only(state);
  const { failure } = phase;
  const last: Effect =
    failure === null
      ? log('info', 'stopped')
      : log('fatal', failure.message, { code: failure.code });
  return only({ ...state, phase: { tag: 'ended' } }, last, { type: 'exit', failure });
}

/** Notes an error to end with; the first one counts. */
export function withFailure(state: SupervisorState, failure: Failure): SupervisorState {
  const { phase } = state;
  if (!('failure' in phase) || phase.failure !== null) return state;
  return { ...state, phase: { ...phase, failure } };
}

function isEcho(phase: Ending, signal: StopSignal | null, nowMs: number): boolean {
  const { order } = phase;
  return signal === 'SIGINT' && order?.signal === signal && nowMs - order.atMs < ECHO_MS;
}

function orderOf({ order }: Ending): LogFields {
  return order === null ? {} : { signal: order.signal ?? undefined };
}

/** No reactor is started any more, and none that was is let in. */
export function isEnding({ phase: { tag } }: SupervisorState): boolean {
  return tag === 'draining' || tag === 'stopping' || tag === 'ended';
}

/** Whether a stop would cut something. */
function isOpen(state: SupervisorState): boolean {
  return (
    state.slots.some(
      (slot) => slot.state.tag === 'ready' || (slot.state.tag === 'draining' && !isDrained(slot)),
    ) || state.children.some((child) => child.role === 'leaver' && !child.drained)
  );
}

function isDrained(slot: Slot): boolean {
  return slot.state.tag === 'draining' && slot.state.drained;
}

function killEffect({ id }: Child): Effect {
  return { type: 'kill', child: id };
}
