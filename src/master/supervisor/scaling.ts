import { childById, handOver, launch, mainOf, slotTimer, withSlot } from './slots.js';
import {
  log,
  newSlot,
  only,
  type Slot,
  type Step,
  type SupervisorState,
  then,
} from './supervision.js';

/** More or fewer reactors while others serve. Pure. */

/** Why it cannot be done now; `null`: it can. The shell asks before it makes room. */
export function scalingProblem(state: SupervisorState): string | null {
  if (state.phase.tag !== 'serving') return 'not all reactors are ready yet, or it is stopping';
  if (state.reload.tag !== 'idle') return 'a reload is under way';
  const leaving = state.slots.some((slot) => slot.retired && slot.state.tag !== 'stopped');
  return leaving ? 'reactors of an earlier order are still leaving' : null;
}

export function servingSlots(state: SupervisorState): Slot[] {
  return state.slots.filter((slot) => !slot.retired);
}

export function onScale(state: SupervisorState, processes: number): Step {
  if (scalingProblem(state) !== null) return only(state);
  const from = servingSlots(state).length;
  if (from === processes) return only(state);
  const start = only(state, log('info', 'scaling', { from, processes }));
  if (processes < from) {
    const leaving = state.slots.slice(processes).filter((slot) => !slot.retired);
    return leaving.reduce((sum, slot) => then(sum, (now) => retire(now, slot)), start);
  }
  const indices = [...Array(processes).keys()].slice(from);
  return indices.reduce((sum, index) => then(sum, (now) => add(now, index)), start);
}

function add(state: SupervisorState, index: number): Step {
  const slot = newSlot(index);
  const known = state.slots.length > index;
  return launch(known ? withSlot(state, slot) : { ...state, slots: [...state.slots, slot] }, slot);
}

function retire(state: SupervisorState, slot: Slot): Step {
  const child = mainOf(slot);
  const gone = [
    { type: 'slot-up', slot: slot.index, up: false },
    { type: 'close-slot', slot: slot.index },
  ] as const;
  if (child === null) {
    return only(
      withSlot(state, { ...slot, retired: true, state: { tag: 'stopped' } }),
      { type: 'cancel-timer', timer: slotTimer(slot) },
      ...gone,
      { type: 'reclaim-slot', slot: slot.index },
    );
  }
  const mayServe = childById(state, child)?.stage === 'serving';
  const leaving: Slot = {
    ...slot,
    retired: true,
    state: { tag: 'draining', child, drained: !mayServe },
  };
  if (mayServe) {
    return only(withSlot(state, leaving), ...gone, ...handOver(state, child, slotTimer(slot)));
  }
  return only(
    withSlot(state, leaving),
    ...gone,
    { type: 'kill', child },
    { type: 'cancel-timer', timer: slotTimer(slot) },
  );
}
