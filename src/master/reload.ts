import {
  childById,
  childTimer,
  handOver,
  launchSuccessor,
  leaversOf,
  MAX_LEAVERS,
  mainOf,
  slotTimer,
  successorOf,
  withChild,
  withSlot,
} from './slots.js';
import {
  type Child,
  type Effect,
  log,
  only,
  type Prepared,
  type Reload,
  type Slot,
  type Step,
  type SupervisorState,
  then,
} from './supervision.js';

/**
 * Rolling reload: configuration and handler are checked, then slot after slot gets a new process
 * on the same sockets, and the old one hands its connections over. Pure.
 */

type Rolling = Extract<Reload, { tag: 'rolling' }>;

/** An order during a reload is kept, once. */
export function onReloadOrder(state: SupervisorState): Step {
  const { phase, reload } = state;
  if (phase.tag !== 'serving') {
    const problem = phase.tag === 'starting' ? 'not all reactors are ready yet' : 'it is stopping';
    return rejected(state, problem);
  }
  if (reload.tag !== 'idle') {
    const message = 'reload is under way: another one follows it';
    return only({ ...state, reload: { ...reload, again: true } }, log('info', message));
  }
  return only(
    { ...state, reload: { tag: 'checking', again: false } },
    log('info', 'reload: checking configuration and handler'),
    { type: 'prepare-reload' },
  );
}

export function onPrepared(state: SupervisorState, result: Prepared): Step {
  if (state.reload.tag !== 'checking') return only(state);
  if (!result.ok) return then(rejected(state, result.problem), next);
  const generation = state.generation + 1;
  const todo = state.slots.filter((slot) => !slot.retired).map((slot) => slot.index);
  const { again } = state.reload;
  const reload: Rolling = { tag: 'rolling', again, generation, todo, previous: state.settings };
  return advance({ ...state, settings: result.settings, generation, reload });
}

/** Does what can be done now; called after every event. */
export function advance(state: SupervisorState): Step {
  const { reload } = state;
  if (reload.tag !== 'rolling') return only(state);
  const slot = state.slots[reload.todo[0] ?? -1];
  if (slot === undefined) return completed(state, reload);
  if (isOver(state, slot)) {
    return advance({ ...state, reload: { ...reload, todo: reload.todo.slice(1) } });
  }
  // What starts after a crash becomes ready first; what leaves keeps its place until it is gone.
  const mayStart =
    slot.state.tag === 'ready' &&
    successorOf(state, slot) === null &&
    leaversOf(state, slot).length < MAX_LEAVERS;
  return mayStart ? launchSuccessor(state, slot) : only(state);
}

/** The slot is served by the new generation, or by nobody any more. */
function isOver(state: SupervisorState, slot: Slot): boolean {
  const { tag } = slot.state;
  if (slot.retired || tag === 'failed' || tag === 'stopped') return true;
  const main = childById(state, mainOf(slot) ?? -1);
  return tag === 'ready' && main?.generation === state.generation;
}

function completed(state: SupervisorState, { generation }: Rolling): Step {
  const { reloads } = state.tally;
  const tally = { ...state.tally, reloads: { ...reloads, ok: reloads.ok + 1 } };
  return then(
    only({ ...state, tally }, log('info', 'reloaded', { generation }), {
      type: 'reloaded',
      problem: null,
      generation,
    }),
    next,
  );
}

/** The reload is over; the one that was asked for meanwhile begins. */
function next(state: SupervisorState): Step {
  const { reload } = state;
  const idle: SupervisorState = { ...state, reload: { tag: 'idle' } };
  return reload.tag !== 'idle' && reload.again ? onReloadOrder(idle) : only(idle);
}

function rejected(state: SupervisorState, problem: string): Step {
  const { reloads } = state.tally;
  const tally = { ...state.tally, reloads: { ...reloads, rejected: reloads.rejected + 1 } };
  const message = 'reload rejected: the old generation keeps serving';
  return only(
    { ...state, tally },
    log('error', message, { reason: problem, generation: state.generation }),
    { type: 'reloaded', problem, generation: state.generation },
  );
}

/** The successor serves from now on; the process that did leaves. */
export function promote(state: SupervisorState, slot: Slot, child: Child, allocator: string): Step {
  const old = childById(state, mainOf(slot) ?? -1);
  let after = withChild(state, { ...child, role: 'main' });
  after = withSlot(after, { ...slot, state: { tag: 'ready', child: child.id, allocator } });
  const effects: Effect[] = [
    { type: 'cancel-timer', timer: childTimer(child) },
    { type: 'cancel-timer', timer: slotTimer(slot) },
    { type: 'slot-up', slot: slot.index, up: true },
    log('debug', 'reactor is replaced', { reactor: slot.index, generation: child.generation }),
  ];
  if (old === null) return only(after, ...effects);
  after = withChild(after, { ...old, role: 'leaver' });
  if (old.stuck) return only(after, ...effects, { type: 'kill', child: old.id });
  return only(after, ...effects, ...handOver(state, old.id, childTimer(old)));
}

/**
 * What serves keeps serving. Slots that were reloaded before keep the new generation: what is on
 * disk is what they have loaded.
 */
export function successorFailed(state: SupervisorState, slot: Slot, reason: string): Step {
  const { reload } = state;
  if (reload.tag !== 'rolling') return only(state);
  const problem = `the new reactor ${slot.index} ${reason}`;
  const back = { ...state, settings: reload.previous };
  return then(rejected(back, problem), next);
}

/** Ends a reload because the server ends. */
export function abandonReload(state: SupervisorState): Step {
  if (state.reload.tag === 'idle') return only(state);
  return rejected({ ...state, reload: { tag: 'idle' } }, 'the server stops');
}
