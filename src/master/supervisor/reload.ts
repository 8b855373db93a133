import { unreachable } from '../../shared/assert.js';
import { NO_CRASHES } from './backoff.js';
import {
  activeSlots,
  arm,
  cancel,
  childTimer,
  dismissSuccessors,
  handOver,
  isLooping,
  kill,
  launch,
  launchSuccessor,
  log,
  MAX_PREDECESSORS,
  mainOf,
  predecessorsOf,
  serve,
  slotTimer,
  successorOf,
} from './slots.js';
import type { Child, Failure, Prepared, Reload, Slot, Turn } from './state.js';

/**
 * Reload: configuration and handler are checked; then each slot gets a successor on the same
 * sockets that loads and waits. Only when all have loaded, one slot after the other lets its
 * successor serve, and the old process hands its connections over. Pure.
 */

type Loading = Extract<Reload, { tag: 'loading' }>;
type Replacing = Extract<Reload, { tag: 'replacing' }>;

/** An order during a reload is kept, once. Reloads end in the order in which they were ordered. */
export function onReloadOrder(turn: Turn): void {
  const { state } = turn;
  const { phase, reload } = state;
  if (reload.tag !== 'idle') {
    state.reload = { ...reload, again: true };
    log(turn, 'info', 'reload is under way: another one follows it');
  } else if (phase.tag !== 'serving') {
    const message = phase.tag === 'starting' ? 'not all reactors are ready yet' : 'it is stopping';
    reject(turn, { code: 'ERR_MOONRING_CONTROL', message });
  } else {
    state.reload = { tag: 'checking', again: false };
    log(turn, 'info', 'reload: checking configuration and handler');
    turn.effects.push({ type: 'prepare-reload' });
  }
}

export function onPrepared(turn: Turn, result: Prepared): void {
  const { state } = turn;
  if (state.reload.tag !== 'checking') return;
  if (!result.ok) {
    reject(turn, result.failure);
    next(turn);
    return;
  }
  const { again } = state.reload;
  const { settings } = result;
  state.reload = { tag: 'loading', again, generation: state.generation + 1, settings };
}

/** Takes the next steps of a reload that are possible now; called after every event. */
export function advance(turn: Turn) {
  const { reload } = turn.state;
  switch (reload.tag) {
    case 'loading':
      return load(turn, reload);
    case 'replacing':
      return replace(turn, reload);
    case 'idle':
    case 'checking':
      return;
    default:
      return unreachable(reload);
  }
}

/** A slot in a crash loop has no part in the decision: it starts with whatever is accepted. */
function load(turn: Turn, reload: Loading) {
  const { state } = turn;
  const slot = activeSlots(state).find(
    (each) => !isLooping(each) && successorOf(state, each)?.stage !== 'loaded',
  );
  if (slot === undefined) return commit(turn, reload);
  // A predecessor keeps its place until it is gone.
  const isFull = predecessorsOf(state, slot).length >= MAX_PREDECESSORS;
  if (successorOf(state, slot) === null && !isFull) launchSuccessor(turn, slot, reload.generation);
}

function commit(turn: Turn, { settings, generation, again }: Loading): void {
  const { state } = turn;
  state.settings = settings;
  state.generation = generation;
  state.reload = { tag: 'replacing', again, failure: null };
  for (const slot of activeSlots(state).filter(isLooping)) {
    // The new generation may be the cure. What still starts with the old one is started again.
    slot.history = NO_CRASHES;
    const child = mainOf(state, slot);
    if (child === null) launch(turn, slot);
    else kill(turn, child.id);
  }
  advance(turn);
}

function replace(turn: Turn, reload: Replacing): void {
  const { state } = turn;
  const slots = activeSlots(state).filter((slot) => !isLooping(slot));
  const slot =
    slots.find((each) => successorOf(state, each) !== null) ??
    slots.find((each) => each.state.tag !== 'ready');
  if (slot === undefined) {
    complete(turn, reload);
    next(turn);
    return;
  }
  const successor = successorOf(state, slot);
  if (successor?.stage !== 'loaded') return;
  serve(turn, successor);
  arm(turn, childTimer(successor), state.settings.startTimeoutMs);
}

function complete(turn: Turn, { failure }: Replacing): void {
  const { generation, reloads } = turn.state;
  reloads[failure === null ? 'ok' : 'rejected']++;
  // Processes are replaced: they, and not their Lua states, are of the new generation.
  if (failure === null) log(turn, 'info', 'reloaded', { generation, replaced: 'processes' });
  else {
    const fields = { reason: failure.message, generation };
    log(turn, 'error', 'reload incomplete: some reactors serve the old generation', fields);
  }
  turn.effects.push({ type: 'reloaded', failure, generation });
}

/** The reload is over; the one that was ordered meanwhile begins. */
function next(turn: Turn): void {
  const { reload } = turn.state;
  turn.state.reload = { tag: 'idle' };
  if (reload.tag !== 'idle' && reload.again) onReloadOrder(turn);
}

function reject(turn: Turn, failure: Failure): void {
  const { generation, reloads } = turn.state;
  reloads.rejected++;
  const message = 'reload rejected: the old generation keeps serving';
  log(turn, 'error', message, { reason: failure.message, generation });
  turn.effects.push({ type: 'reloaded', failure, generation });
}

/** The successor serves from now on; the process that served until now leaves. */
export function promote(turn: Turn, slot: Slot, child: Child, allocator: string): void {
  const old = mainOf(turn.state, slot);
  child.role = 'main';
  slot.state = { tag: 'ready', child: child.id, allocator };
  cancel(turn, childTimer(child));
  cancel(turn, slotTimer(slot));
  turn.effects.push({ type: 'slot-up', slot: slot.index, up: true });
  const { generation } = child;
  log(turn, 'debug', 'reactor replaced', { reactor: slot.index, generation });
  if (old === null) return;
  old.role = 'predecessor';
  if (old.stuck) kill(turn, old.id);
  else handOver(turn, old, childTimer(old));
}

/** While all load, one failure ends the reload, and nothing has changed. */
export function successorFailed(turn: Turn, slot: Slot, failure: Failure): void {
  const { state } = turn;
  const { reload } = state;
  if (reload.tag === 'loading') {
    dismissSuccessors(turn);
    reject(turn, failure);
    next(turn);
  } else if (reload.tag === 'replacing') {
    // The others go on: most already serve the new generation, and a crash would start it.
    const fields = { reactor: slot.index, reason: failure.message };
    log(turn, 'error', 'the old reactor keeps serving', fields);
    state.reload = { ...reload, failure: reload.failure ?? failure };
  }
}

/** The server ends: so do a reload and the one that was to follow it. */
export function abandonReload(turn: Turn): void {
  const { state } = turn;
  const { reload } = state;
  if (reload.tag === 'idle') return;
  const failure: Failure = { code: 'ERR_MOONRING_CONTROL', message: 'the server stops' };
  state.reload = { tag: 'idle' };
  if (reload.tag === 'replacing') complete(turn, { ...reload, failure: reload.failure ?? failure });
  else reject(turn, failure);
  if (reload.again) reject(turn, failure);
}
