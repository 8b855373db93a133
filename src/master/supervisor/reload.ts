import { unreachable } from '../../shared/assert.js';
import {
  childById,
  childTimer,
  dismissSuccessors,
  handOver,
  launchSuccessor,
  leaversOf,
  MAX_LEAVERS,
  mainOf,
  serve,
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
 * Reload: configuration and handler are checked; then each slot gets a successor on the same
 * sockets that loads and waits. Only when all have loaded, slot after slot lets its successor
 * serve, and the old process hands its connections over. Pure.
 */

type Loading = Extract<Reload, { tag: 'loading' }>;
type Replacing = Extract<Reload, { tag: 'replacing' }>;

/** An order during a reload is kept, once. The ends of reloads come in the order of the orders. */
export function onReloadOrder(state: SupervisorState): Step {
  const { phase, reload } = state;
  if (reload.tag !== 'idle') {
    const message = 'reload is under way: another one follows it';
    return only({ ...state, reload: { ...reload, again: true } }, log('info', message));
  }
  if (phase.tag !== 'serving') {
    const problem = phase.tag === 'starting' ? 'not all reactors are ready yet' : 'it is stopping';
    return rejected(state, problem);
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
  const { again } = state.reload;
  const { settings } = result;
  const generation = state.generation + 1;
  const todo = servingIndices(state);
  return advance({ ...state, reload: { tag: 'loading', again, generation, settings, todo } });
}

/** Does what can be done now; called after every event. */
export function advance(state: SupervisorState): Step {
  switch (state.reload.tag) {
    case 'loading':
      return load(state, state.reload);
    case 'replacing':
      return replace(state, state.reload);
    case 'idle':
    case 'checking':
      return only(state);
    default:
      return unreachable(state.reload);
  }
}

function load(state: SupervisorState, reload: Loading): Step {
  const [first, ...todo] = reload.todo;
  const slot = state.slots[first ?? -1];
  if (slot === undefined) return commit(state, reload);
  const successor = successorOf(state, slot);
  if (isGivenUp(slot) || successor?.stage === 'loaded') {
    return advance({ ...state, reload: { ...reload, todo } });
  }
  // What leaves keeps its place until it is gone.
  const mayStart = successor === null && leaversOf(state, slot).length < MAX_LEAVERS;
  return mayStart ? launchSuccessor(state, slot, reload.generation) : only(state);
}

function commit(state: SupervisorState, { settings, generation, again }: Loading): Step {
  const todo = servingIndices(state);
  const reload: Replacing = { tag: 'replacing', again, todo, problem: null };
  return advance({ ...state, settings, generation, reload });
}

function replace(state: SupervisorState, reload: Replacing): Step {
  const [first, ...todo] = reload.todo;
  const slot = state.slots[first ?? -1];
  if (slot === undefined) return then(completed(state, reload), next);
  const successor = successorOf(state, slot);
  if (isGivenUp(slot) || (successor === null && slot.state.tag === 'ready')) {
    return advance({ ...state, reload: { ...reload, todo } });
  }
  if (successor?.stage !== 'loaded') return only(state);
  return then(serve(state, successor), (now) =>
    only(now, {
      type: 'arm-timer',
      timer: childTimer(successor),
      delayMs: now.settings.startTimeoutMs,
    }),
  );
}

function servingIndices(state: SupervisorState): number[] {
  return state.slots.filter((slot) => !slot.retired).map((slot) => slot.index);
}

/** Nobody serves the slot any more, nor will. */
function isGivenUp({ retired, state: { tag } }: Slot): boolean {
  return retired || tag === 'failed' || tag === 'stopped';
}

function completed(state: SupervisorState, { problem }: Replacing): Step {
  const { reloads } = state.tally;
  const { generation } = state;
  const result = problem === null ? 'ok' : 'rejected';
  const tally = { ...state.tally, reloads: { ...reloads, [result]: reloads[result] + 1 } };
  const line =
    problem === null
      ? log('info', 'reloaded', { generation })
      : log('error', 'reload incomplete: not all serve the new generation', {
          reason: problem,
          generation,
        });
  return only({ ...state, tally }, line, { type: 'reloaded', problem, generation });
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

/** As long as all load, one that fails ends the reload, and nothing has changed. */
export function successorFailed(state: SupervisorState, slot: Slot, reason: string): Step {
  const { reload } = state;
  const problem = `the new reactor ${slot.index} ${reason}`;
  if (reload.tag === 'loading') {
    return then(
      then(dismissSuccessors(state), (now) => rejected(now, problem)),
      next,
    );
  }
  if (reload.tag !== 'replacing') return only(state);
  // The others go on: the new generation is what most serve, and what a crash starts.
  const line = log('error', 'the old reactor keeps serving', {
    reactor: slot.index,
    reason: problem,
  });
  return only({ ...state, reload: { ...reload, problem: reload.problem ?? problem } }, line);
}

/** Ends a reload because the server ends, and the one that was to follow it. */
export function abandonReload(state: SupervisorState): Step {
  const { reload } = state;
  if (reload.tag === 'idle') return only(state);
  const problem = 'the server stops';
  const idle: SupervisorState = { ...state, reload: { tag: 'idle' } };
  const abandoned =
    reload.tag === 'replacing'
      ? completed(idle, { ...reload, problem: reload.problem ?? problem })
      : rejected(idle, problem);
  return reload.again ? then(abandoned, (now) => rejected(now, problem)) : abandoned;
}
