import {
  type Child,
  type ChildId,
  type Effect,
  only,
  type Slot,
  type Step,
  type SupervisorState,
  type Timer,
} from './supervision.js';

/** Looking up and changing slots and their processes, and starting one. Pure. */

/** As many as the stats page has places for in a slot. */
const SIDES = 4;
/** The places that remain are for the main process and its successor. */
export const MAX_LEAVERS = SIDES - 2;

export function slotTimer({ index }: Slot): Timer {
  return { type: 'slot', slot: index };
}

export function childTimer({ id }: Child): Timer {
  return { type: 'child', child: id };
}

export function withSlot(state: SupervisorState, slot: Slot): SupervisorState {
  return { ...state, slots: state.slots.map((each) => (each.index === slot.index ? slot : each)) };
}

export function withChild(state: SupervisorState, child: Child): SupervisorState {
  return {
    ...state,
    children: state.children.map((each) => (each.id === child.id ? child : each)),
  };
}

export function withoutChild(state: SupervisorState, id: ChildId): SupervisorState {
  return { ...state, children: state.children.filter((each) => each.id !== id) };
}

export function childById(state: SupervisorState, id: ChildId): Child | null {
  return state.children.find((child) => child.id === id) ?? null;
}

export function mainOf({ state }: Slot): ChildId | null {
  return 'child' in state ? state.child : null;
}

export function successorOf(state: SupervisorState, slot: Slot): Child | null {
  return (
    state.children.find((child) => child.slot === slot.index && child.role === 'successor') ?? null
  );
}

export function leaversOf(state: SupervisorState, slot: Slot): Child[] {
  return state.children.filter((child) => child.slot === slot.index && child.role === 'leaver');
}

/** Starts the process that is to serve the slot. */
export function launch(state: SupervisorState, slot: Slot): Step {
  const forked = fork(state, slot, { role: 'main', generation: state.generation });
  const starting: Slot = {
    ...slot,
    state: { tag: 'starting', child: state.nextChild, failure: null },
  };
  const delayMs = state.settings.startTimeoutMs;
  return only(withSlot(forked.state, starting), ...forked.effects, {
    type: 'arm-timer',
    timer: slotTimer(slot),
    delayMs,
  });
}

/** Starts a process beside the one that serves the slot. It loads, and waits. */
export function launchSuccessor(state: SupervisorState, slot: Slot, generation: number): Step {
  const forked = fork(state, slot, { role: 'successor', generation });
  return only(forked.state, ...forked.effects, {
    type: 'arm-timer',
    timer: { type: 'child', child: state.nextChild },
    delayMs: state.settings.startTimeoutMs,
  });
}

function fork(
  state: SupervisorState,
  slot: Slot,
  { role, generation }: Pick<Child, 'role' | 'generation'>,
): Step {
  const id = state.nextChild;
  const taken = state.children.filter((child) => child.slot === slot.index);
  const side = [...Array(SIDES).keys()].find((each) => taken.every((child) => child.side !== each));
  if (side === undefined) throw new TypeError(`slot ${slot.index} has ${SIDES} processes already`);
  const child: Child = {
    id,
    slot: slot.index,
    side,
    generation,
    pid: null,
    role,
    stage: 'loading',
    stuck: false,
    failure: null,
    drained: false,
  };
  const effect: Effect = { type: 'fork', slot: slot.index, child: id, side };
  return only({ ...state, children: [...state.children, child], nextChild: id + 1 }, effect);
}

/** Lets a process that has loaded serve. */
export function serve(state: SupervisorState, child: Child): Step {
  return only(withChild(state, { ...child, stage: 'serving' }), {
    type: 'send',
    child: child.id,
    message: { type: 'serve' },
  });
}

/** Ends the successors that have served nobody; they leave with nothing. */
export function dismissSuccessors(state: SupervisorState): Step {
  const isWaiting = ({ role, stage }: Child) => role === 'successor' && stage !== 'serving';
  const children = state.children.map(
    (child): Child => (isWaiting(child) ? { ...child, role: 'leaver', drained: true } : child),
  );
  const effects = state.children.filter(isWaiting).flatMap((child): Effect[] => [
    { type: 'cancel-timer', timer: childTimer(child) },
    { type: 'kill', child: child.id },
  ]);
  return only({ ...state, children }, ...effects);
}

/** Nothing new is accepted; what is open gets drain-timeout to finish. */
export function drainOrder({ settings }: SupervisorState, id: ChildId): Effect {
  const { drainTimeoutMs: timeoutMs } = settings;
  return { type: 'send', child: id, message: { type: 'drain', timeoutMs } };
}

/**
 * Sends the process away without closing anything: its connections move to whoever serves then.
 */
export function handOver(state: SupervisorState, id: ChildId, timer: Timer): Effect[] {
  const { drainTimeoutMs, exitTimeoutMs } = state.settings;
  return [
    { type: 'send', child: id, message: { type: 'hand-over', timeoutMs: drainTimeoutMs } },
    { type: 'arm-timer', timer, delayMs: drainTimeoutMs + exitTimeoutMs },
  ];
}
