import { PROTOCOL_VERSION } from '../../shared/messages.js';
import { endWith } from './exits.js';
import { promote } from './reload.js';
import { servingSlots } from './scaling.js';
import { isEnding } from './shutdown.js';
import { childTimer, drainOrder, serve, slotTimer, withChild, withSlot } from './slots.js';
import {
  type Child,
  type Effect,
  log,
  only,
  type Slot,
  type StartFailure,
  type Step,
  type SupervisorSettings,
  type SupervisorState,
  then,
} from './supervision.js';

/** From a reactor's first word to its first request: hello, loaded, ready. Pure. */

export function onHello(state: SupervisorState, child: Child, slot: Slot, protocol: number): Step {
  const isWanted = isStarting(state, child) || isMissed(child, slot);
  if (!isWanted || child.stage !== 'loading') return only(state);
  if (protocol !== PROTOCOL_VERSION) return onOtherVersion(state, child, slot, protocol);
  const { reactor, pin } = settingsFor(state, child);
  const options = {
    ...reactor,
    index: child.slot,
    statsSlot: child.slot,
    statsSide: child.side,
    generation: child.generation,
    pinCpu: pin ? child.slot : -1,
  };
  return only(state, { type: 'send', child: child.id, message: { type: 'load', options } });
}

/** The files were replaced under a running master. What serves keeps serving. */
function onOtherVersion(state: SupervisorState, child: Child, slot: Slot, protocol: number): Step {
  const message = `reactor ${child.slot} speaks protocol ${protocol}, the master ${PROTOCOL_VERSION}: rebuild`;
  if (state.phase.tag === 'starting') {
    return endWith(state, { code: 'ERR_MOONRING_PROTOCOL', message });
  }
  const failed = withStartFailure(state, child, slot, { code: 'INVALID', message });
  return only(failed, { type: 'kill', child: child.id });
}

/** A successor gets the new settings before they are everybody's. */
function settingsFor({ settings, reload }: SupervisorState, child: Child): SupervisorSettings {
  return child.role === 'successor' && reload.tag === 'loading' ? reload.settings : settings;
}

export function onLoaded(state: SupervisorState, child: Child, slot: Slot): Step {
  if (child.stage !== 'loading') return only(state);
  const loaded: Child = { ...child, stage: 'loaded' };
  if (child.role === 'successor') {
    return only(withChild(state, loaded), { type: 'cancel-timer', timer: childTimer(child) });
  }
  if (isMissed(child, slot)) {
    return then(serve(state, loaded), (now) => only(now, drainOrder(now, child.id)));
  }
  return isStarting(state, child) ? serve(state, loaded) : only(state);
}

/** What waits in its slot's sockets when the drain begins is still to be answered. */
function isMissed(child: Child, slot: Slot): boolean {
  return child.role === 'main' && slot.state.tag === 'draining' && !slot.state.drained;
}

export function isStarting(state: SupervisorState, child: Child): boolean {
  if (child.role === 'successor') return true;
  return child.role === 'main' && state.slots[child.slot]?.state.tag === 'starting';
}

export function onReady(state: SupervisorState, child: Child, slot: Slot, allocator: string): Step {
  if (!isStarting(state, child) || child.stage !== 'serving') return only(state);
  if (child.role === 'successor') {
    // At the end it is being killed; its word was on the way already.
    return isEnding(state) ? only(state) : promote(state, slot, child, allocator);
  }
  const ready = { tag: 'ready', child: child.id, allocator } as const;
  const next = withSlot(state, { ...slot, state: ready });
  const effects: Effect[] = [
    { type: 'cancel-timer', timer: slotTimer(slot) },
    { type: 'slot-up', slot: slot.index, up: true },
    log(state.phase.tag === 'starting' ? 'debug' : 'info', 'reactor is ready', {
      reactor: slot.index,
      allocator,
    }),
  ];
  const allReady = servingSlots(next).every(({ state: { tag } }) => tag === 'ready');
  if (state.phase.tag !== 'starting' || !allReady) return only(next, ...effects);
  return only({ ...next, phase: { tag: 'serving' } }, ...effects, {
    type: 'announce-ready',
    allocator,
  });
}

/** Why it will not serve; its exit follows, and is judged then. */
export function withStartFailure(
  state: SupervisorState,
  child: Child,
  slot: Slot,
  { code, message }: StartFailure,
): SupervisorState {
  const failure = { code, message };
  if (child.role === 'successor') return withChild(state, { ...child, failure });
  if (child.role !== 'main' || slot.state.tag !== 'starting') return state;
  return withSlot(state, { ...slot, state: { ...slot.state, failure } });
}
