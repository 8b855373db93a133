import { unreachable } from '../../shared/assert.js';
import type { ToMaster } from '../../shared/messages.js';
import { NO_CRASHES } from './backoff.js';
import {
  activeSlots,
  arm,
  cancel,
  childTimer,
  closeApp,
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
  send,
  sendApp,
  serve,
  slotTimer,
  successorOf,
} from './slots.js';
import type {
  Child,
  Failure,
  Prepared,
  Reload,
  ReloadResult,
  Slot,
  SupervisorSettings,
  Timer,
  Turn,
} from './state.js';

/**
 * Reload: configuration and handler are checked first. If only Lua files changed, each reactor
 * loads them beside the old ones, and when all have loaded, all switch. Otherwise each slot gets a
 * successor on the same sockets that loads and waits; only when all have loaded, slot by slot the
 * successor starts serving and the old process hands over its connections. Pure.
 */

type Undecided = Extract<Reload, { settings: SupervisorSettings }>;
type Replacing = Extract<Reload, { tag: 'replacing' }>;

/** An order during a reload is queued, once. Reloads finish in the order requested. */
export function onReloadOrder(turn: Turn): void {
  const { state } = turn;
  const { phase, reload } = state;
  if (reload.tag !== 'idle') {
    state.reload = { ...reload, again: true };
    log(turn, 'info', 'a reload is in progress: another one will follow');
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
  if (state.reload.tag !== 'checking') {
    if (result.ok) closeApp(turn, result.settings);
    return;
  }
  if (!result.ok) {
    reject(turn, result.failure);
    next(turn);
    return;
  }
  const { again } = state.reload;
  const { settings } = result;
  dismissSuccessors(turn); // of reactors near their memory limit, which are of this generation
  // A process that a reload could not replace keeps the options of its generation.
  const mains = activeSlots(state).flatMap((slot) => mainOf(state, slot) ?? []);
  const isUniform = mains.every((each) => each.generation === state.generation);
  const isAlone = state.children.every(({ role }) => role !== 'successor');
  const onlyLua = result.onlyLua && isUniform && isAlone;
  const generation = state.generation + 1;
  state.reload = { tag: onlyLua ? 'preparing' : 'loading', again, generation, settings };
  if (onlyLua) arm(turn, RELOAD_TIMER, settings.startTimeoutMs);
}

/** Takes the possible next steps of a reload; called after every event. */
export function advance(turn: Turn) {
  const { reload } = turn.state;
  switch (reload.tag) {
    case 'preparing':
      return prepareStates(turn, reload);
    case 'switching':
      return awaitSwitch(turn);
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

/* Lua states are replaced in the serving processes. */

const RELOAD_TIMER: Timer = { type: 'reload' };

/**
 * A process that has not loaded yet, or whose slot waits for a restart, loads the old generation;
 * the former prepares when ready, the latter may start with the new one.
 */
function prepareStates(turn: Turn, reload: Undecided): void {
  const { state } = turn;
  const { generation, settings } = reload;
  let waits = false;
  for (const slot of activeSlots(state).filter((each) => !isLooping(each))) {
    const child = mainOf(state, slot);
    if (child === null || child.next === 'prepared') continue;
    waits = true;
    if (slot.state.tag !== 'ready' || child.next !== 'none') continue;
    child.next = 'preparing';
    sendApp(turn, child.id, { type: 'prepare', generation }, settings.appFd);
  }
  if (!waits) switchStates(turn, reload);
}

export function onStatesPrepared(
  turn: Turn,
  child: Child,
  { generation, problem }: Extract<ToMaster, { type: 'prepared' }>,
): void {
  const { reload } = turn.state;
  if (reload.tag !== 'preparing' || reload.generation !== generation) return;
  if (problem === null) child.next = 'prepared';
  else rejectStates(turn, reload, `reactor ${child.slot}: ${problem}`);
}

/** Other processes can load what this one cannot. */
export function onStatesUnprepared(
  turn: Turn,
  { slot }: Child,
  { generation, reason }: Extract<ToMaster, { type: 'unprepared' }>,
): void {
  const { state } = turn;
  const { reload } = state;
  if (reload.tag !== 'preparing' || reload.generation !== generation) return;
  const message =
    'the reactor cannot load another handler beside its current one: replacing processes';
  log(turn, 'warn', message, { reactor: slot, reason });
  discardStates(turn);
  state.reload = { ...reload, tag: 'loading' };
}

export function onPreparationLate(turn: Turn): void {
  const { reload, settings } = turn.state;
  if (reload.tag !== 'preparing') return;
  rejectStates(turn, reload, `not all reactors loaded within ${settings.startTimeoutMs} ms`);
}

function rejectStates(turn: Turn, reload: Undecided, message: string): void {
  dropStates(turn, reload);
  reject(turn, { code: 'ERR_MOONRING_HANDLER', message });
  next(turn);
}

function dropStates(turn: Turn, { settings }: Undecided): void {
  discardStates(turn);
  closeApp(turn, settings);
}

function discardStates(turn: Turn): void {
  for (const child of turn.state.children.filter((each) => each.next !== 'none')) {
    child.next = 'none';
    send(turn, child.id, { type: 'discard' });
  }
  cancel(turn, RELOAD_TIMER);
}

function switchStates(turn: Turn, { settings, generation, again }: Undecided): void {
  const { state } = turn;
  cancel(turn, RELOAD_TIMER);
  accept(turn, settings, generation);
  state.reload = { tag: 'switching', again };
  for (const child of state.children.filter((each) => each.next === 'prepared')) {
    child.next = 'switching';
    child.generation = generation;
    send(turn, child.id, { type: 'switch', generation });
  }
  advance(turn);
}

/** One that exits instead is replaced with one of the new generation. */
function awaitSwitch(turn: Turn): void {
  const { state } = turn;
  if (state.children.some((child) => child.next === 'switching')) return;
  completed(turn, 'lua states');
  next(turn);
}

/** These settings are the server's from now on. */
function accept(turn: Turn, settings: SupervisorSettings, generation: number): void {
  const { state } = turn;
  closeApp(turn, state.settings);
  state.settings = settings;
  state.generation = generation;
  for (const slot of activeSlots(state).filter(isLooping)) {
    // The new generation may start. A process still loading the old one is restarted.
    slot.history = NO_CRASHES;
    const child = mainOf(state, slot);
    if (child === null) launch(turn, slot);
    else kill(turn, child.id);
  }
}

/* Processes are replaced. */

/** A slot in a crash loop does not affect the decision: it starts with whatever is accepted. */
function load(turn: Turn, reload: Undecided) {
  const { state } = turn;
  const slot = activeSlots(state).find(
    (each) => !isLooping(each) && successorOf(state, each)?.stage !== 'loaded',
  );
  if (slot === undefined) return commit(turn, reload);
  // A predecessor keeps its place until it is gone.
  const isFull = predecessorsOf(state, slot).length >= MAX_PREDECESSORS;
  if (successorOf(state, slot) === null && !isFull) launchSuccessor(turn, slot, reload.generation);
}

function commit(turn: Turn, { settings, generation, again }: Undecided): void {
  turn.state.reload = { tag: 'replacing', again, failure: null };
  accept(turn, settings, generation);
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

function completed(turn: Turn, replaced: NonNullable<ReloadResult['replaced']>): void {
  const { generation, reloads } = turn.state;
  reloads.ok++;
  log(turn, 'info', 'reloaded', { generation, replaced });
  turn.effects.push({ type: 'reloaded', failure: null, generation, replaced });
}

function complete(turn: Turn, { failure }: Replacing): void {
  if (failure === null) {
    completed(turn, 'processes');
    return;
  }
  const { generation, reloads } = turn.state;
  reloads.rejected++;
  const fields = { reason: failure.message, generation };
  log(turn, 'error', 'reload incomplete: some reactors serve the old generation', fields);
  turn.effects.push({ type: 'reloaded', failure, generation, replaced: 'processes' });
}

/** The reload is over; one ordered meanwhile starts. */
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
  turn.effects.push({ type: 'reloaded', failure, generation, replaced: null });
}

/** The successor serves from now on; the previous process retires. */
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

/** While all are loading, one failure ends the reload, and nothing changes. */
export function successorFailed(turn: Turn, slot: Slot, failure: Failure): void {
  const { state } = turn;
  const { reload } = state;
  if (reload.tag === 'loading') {
    dismissSuccessors(turn);
    closeApp(turn, reload.settings);
    reject(turn, failure);
    next(turn);
  } else if (reload.tag === 'replacing') {
    // The others continue: most already serve the new generation, and a crash would start it.
    const fields = { reactor: slot.index, reason: failure.message };
    log(turn, 'error', 'the old reactor keeps serving', fields);
    state.reload = { ...reload, failure: reload.failure ?? failure };
  }
}

/** The server ends, and with it a reload and the one queued after it. */
export function abandonReload(turn: Turn): void {
  const { state } = turn;
  const { reload } = state;
  if (reload.tag === 'idle') return;
  const failure: Failure = { code: 'ERR_MOONRING_CONTROL', message: 'the server is stopping' };
  state.reload = { tag: 'idle' };
  if (reload.tag === 'preparing') dropStates(turn, reload);
  if (reload.tag === 'loading') closeApp(turn, reload.settings);
  if (reload.tag === 'replacing') complete(turn, { ...reload, failure: reload.failure ?? failure });
  else if (reload.tag === 'switching') completed(turn, 'lua states');
  else reject(turn, failure);
  if (reload.again) reject(turn, failure);
}
