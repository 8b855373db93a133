import type { LineLevel, LogFields } from '../../shared/logger.js';
import type { ToReactor } from '../../shared/messages.js';
import type {
  Child,
  ChildId,
  Slot,
  SupervisorSettings,
  SupervisorState,
  Timer,
  Turn,
} from './state.js';

/** Lookups of slots and their processes, and steps for one of them. Pure. */

/** As many as a slot has places on the stats page. */
const SIDES = 4;
/** The remaining places are for the main process and its successor. */
export const MAX_PREDECESSORS = SIDES - 2;

export function slotTimer({ index }: Slot): Timer {
  return { type: 'slot', slot: index };
}

export function childTimer({ id }: Child): Timer {
  return { type: 'child', child: id };
}

export function childById({ children }: SupervisorState, id: ChildId): Child | null {
  return children.find((child) => child.id === id) ?? null;
}

export function mainOf(state: SupervisorState, slot: Slot): Child | null {
  return 'child' in slot.state ? childById(state, slot.state.child) : null;
}

export function successorOf({ children }: SupervisorState, { index }: Slot): Child | null {
  return children.find(({ slot, role }) => slot === index && role === 'successor') ?? null;
}

export function predecessorsOf({ children }: SupervisorState, { index }: Slot): Child[] {
  return children.filter(({ slot, role }) => slot === index && role === 'predecessor');
}

/** Those that are not scaled away. */
export function activeSlots({ slots }: SupervisorState): Slot[] {
  return slots.filter((slot) => !slot.retired);
}

/** Not serving, and crashed so often that the server does not rely on it. */
export function isLooping({ state, history }: Slot): boolean {
  return state.tag !== 'ready' && history.loop !== null;
}

/** No more reactors are started, and no successor takes over. */
export function isEnding({ phase: { tag } }: SupervisorState): boolean {
  return tag === 'draining' || tag === 'stopping' || tag === 'ended';
}

export function log(turn: Turn, level: LineLevel, message: string, fields: LogFields = {}): void {
  turn.effects.push({ type: 'log', level, fields, message });
}

export function arm(turn: Turn, timer: Timer, delayMs: number): void {
  turn.effects.push({ type: 'arm-timer', timer, delayMs });
}

export function cancel(turn: Turn, timer: Timer): void {
  turn.effects.push({ type: 'cancel-timer', timer });
}

export function send(turn: Turn, child: ChildId, message: ToReactor): void {
  turn.effects.push({ type: 'send', child, message });
}

/** A message with the files of the app. */
export function sendApp(turn: Turn, child: ChildId, message: ToReactor, appFd: number): void {
  turn.effects.push({ type: 'send', child, message, appFd });
}

export function closeApp(turn: Turn, { appFd }: SupervisorSettings): void {
  turn.effects.push({ type: 'close-app', appFd });
}

export function kill(turn: Turn, child: ChildId): void {
  turn.effects.push({ type: 'kill', child });
}

/** Starts the process that will serve the slot. */
export function launch(turn: Turn, slot: Slot): void {
  const child = fork(turn, slot, 'main', turn.state.generation);
  slot.state = { tag: 'starting', child: child.id, failure: null };
  arm(turn, slotTimer(slot), turn.state.settings.startTimeoutMs);
}

/** Starts a process beside the one that serves the slot. It loads, and waits. */
export function launchSuccessor(turn: Turn, slot: Slot, generation: number): void {
  const child = fork(turn, slot, 'successor', generation);
  arm(turn, childTimer(child), turn.state.settings.startTimeoutMs);
}

function fork(turn: Turn, slot: Slot, role: Child['role'], generation: number): Child {
  const { state } = turn;
  const taken = state.children.filter((child) => child.slot === slot.index);
  const side = [...Array(SIDES).keys()].find((each) => taken.every((child) => child.side !== each));
  if (side === undefined) throw new TypeError(`slot ${slot.index} has ${SIDES} processes already`);
  const child: Child = {
    id: state.nextChild++,
    slot: slot.index,
    side,
    generation,
    pid: null,
    role,
    stage: 'loading',
    next: 'none',
    stuck: false,
    overMemory: false,
    failure: null,
    drained: false,
    crash: null,
  };
  state.children.push(child);
  turn.effects.push({ type: 'fork', slot: slot.index, child: child.id, side });
  return child;
}

/** Tells a process that has loaded to serve. */
export function serve(turn: Turn, child: Child): void {
  child.stage = 'serving';
  send(turn, child.id, { type: 'serve' });
}

/** Ends the successors that were not told to serve; they have no connections. */
export function dismissSuccessors(turn: Turn): void {
  for (const child of turn.state.children) {
    if (child.role !== 'successor' || child.stage === 'serving') continue;
    child.role = 'predecessor';
    child.drained = true;
    cancel(turn, childTimer(child));
    kill(turn, child.id);
  }
}

/** Ends the process without closing connections: they move to the serving reactors. */
export function handOver(turn: Turn, child: Child, timer: Timer): void {
  const { drainTimeoutMs, exitTimeoutMs } = turn.state.settings;
  send(turn, child.id, { type: 'hand-over', timeoutMs: drainTimeoutMs });
  arm(turn, timer, drainTimeoutMs + exitTimeoutMs);
}
