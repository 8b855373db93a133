import { unreachable } from '../../shared/assert.js';
import type { ToMaster } from '../../shared/messages.js';
import type { MasterSignal } from '../../shared/signals.js';
import { onExited } from './exits.js';
import { advance, onPrepared, onReloadOrder } from './reload.js';
import { onScale } from './scaling.js';
import { beginDrain, beginStop, isEnding, onStopSignal, withFailure } from './shutdown.js';
import { childById, childTimer, launch, slotTimer, withChild, withSlot } from './slots.js';
import { isStarting, onHello, onLoaded, onReady, withStartFailure } from './starts.js';
import {
  type Child,
  type ChildId,
  type Effect,
  type Failure,
  log,
  type Order,
  only,
  type Slot,
  type Step,
  type SupervisorEvent,
  type SupervisorState,
  type Timer,
  then,
} from './supervision.js';

/**
 * The supervisor: what is known, and what just happened, give what is known next and what is to be
 * done. Pure: no process, clock or timer.
 */
export function step(state: SupervisorState, event: SupervisorEvent): Step {
  return then(react(state, event), advance);
}

function react(state: SupervisorState, event: SupervisorEvent): Step {
  switch (event.type) {
    case 'boot':
      return state.slots.reduce((sum, slot) => then(sum, (now) => launch(now, slot)), only(state));
    case 'message':
      return forChild(state, event.child, (child, slot) =>
        onMessage(state, child, slot, event.message),
      );
    case 'unreadable':
      return forChild(state, event.child, (child) => {
        const fields = { reactor: child.slot, problem: event.problem };
        const line = log('error', 'reactor sent an unreadable message: killing it', fields);
        return only(state, line, { type: 'kill', child: child.id });
      });
    case 'disconnected':
      // It is about to exit. If it does not, the timer sees to it.
      return forChild(state, event.child, (child, slot) =>
        only(state, armExit(state, child, slot)),
      );
    case 'exited':
      return forChild(state, event.child, (child, slot) => onExited(state, child, slot, event));
    case 'silent':
      return forChild(state, event.child, (child, slot) => onSilent(state, child, slot, event));
    case 'timer':
      return onTimer(state, event.timer);
    case 'signal':
      return onSignal(state, event.signal, event.nowMs);
    case 'order':
      return onOrder(state, event.order, event.nowMs);
    case 'prepared':
      return onPrepared(state, event.result);
    default:
      return unreachable(event);
  }
}

function forChild(
  state: SupervisorState,
  id: ChildId,
  next: (child: Child, slot: Slot) => Step,
): Step {
  const child = childById(state, id);
  const slot = child && state.slots[child.slot];
  return child && slot ? next(child, slot) : only(state);
}

function onMessage(state: SupervisorState, child: Child, slot: Slot, message: ToMaster): Step {
  switch (message.type) {
    case 'hello': {
      const known = { ...child, pid: message.pid };
      return onHello(withChild(state, known), known, slot, message.protocol);
    }
    case 'loaded':
      return onLoaded(state, child, slot);
    case 'ready':
      return onReady(state, child, slot, message.allocator);
    case 'cut':
      return only(isEnding(state) ? withFailure(state, cutBy(slot)) : state);
    case 'drained':
      return onDrained(state, child, slot);
    case 'failed':
      return only(withStartFailure(state, child, slot, message));
    case 'orphaned':
      return only(
        state,
        log('warn', 'reactor lost its control pair and drains', { reactor: slot.index }),
      );
    default:
      return unreachable(message);
  }
}

/** Why a drain that ends with this does not end well. */
function cutBy({ index }: Slot): Failure {
  const message = `the time to drain was over before reactor ${index} had answered everything`;
  return { code: 'ERR_MOONRING_DRAIN', message };
}

function onDrained(state: SupervisorState, child: Child, slot: Slot): Step {
  const exit = armExit(state, child, slot);
  if (child.role === 'leaver') return only(withChild(state, { ...child, drained: true }), exit);
  if (child.role !== 'main' || slot.state.tag !== 'draining') return only(state);
  return only(withSlot(state, { ...slot, state: { ...slot.state, drained: true } }), exit);
}

/** It may be stuck for ever, or only busier than it was allowed to be: its clients wait for it. */
function onSilent(
  state: SupervisorState,
  child: Child,
  slot: Slot,
  { silentMs, serving }: Extract<SupervisorEvent, { type: 'silent' }>,
): Step {
  if (child.stuck || isStarting(state, child)) return only(state);
  const fields = { reactor: child.slot, reactorPid: child.pid, silentMs, serving };
  return only(
    withChild(state, { ...child, stuck: true }),
    log('error', 'reactor gives no sign of life: aborting it', fields),
    { type: 'abort', child: child.id },
    armExit(state, child, slot),
  );
}

function onTimer(state: SupervisorState, timer: Timer): Step {
  switch (timer.type) {
    case 'delay':
      if (state.phase.tag !== 'delaying') return only(state);
      return beginDrain(state, state.phase);
    case 'child':
      return forChild(state, timer.child, (child, slot) => onChildTimer(state, child, slot));
    case 'slot': {
      const slot = state.slots[timer.slot];
      return slot === undefined ? only(state) : onSlotTimer(state, slot);
    }
    default:
      return unreachable(timer);
  }
}

function onChildTimer(state: SupervisorState, child: Child, slot: Slot): Step {
  const starts = isStarting(state, child);
  const message = starts ? 'does not get ready' : 'does not exit';
  const timeout = `not ready within ${state.settings.startTimeoutMs} ms`;
  return only(
    starts ? withStartFailure(state, child, slot, { code: 'TIMEOUT', message: timeout }) : state,
    log('error', `reactor ${message}: killing it`, { reactor: child.slot }),
    { type: 'kill', child: child.id },
  );
}

function onSlotTimer(state: SupervisorState, slot: Slot): Step {
  switch (slot.state.tag) {
    case 'starting':
    case 'ready':
    case 'draining':
      return forChild(state, slot.state.child, (child) => onChildTimer(state, child, slot));
    case 'backoff':
      return launch(state, slot);
    case 'failed':
    case 'stopped':
      return only(state);
    default:
      return unreachable(slot.state);
  }
}

function onSignal(state: SupervisorState, signal: MasterSignal, nowMs: number): Step {
  switch (signal) {
    case 'SIGHUP':
      return onReloadOrder(state);
    case 'SIGUSR1':
      return reopenLogs(state);
    case 'SIGTERM':
    case 'SIGINT':
    case 'SIGQUIT':
      return onStopSignal(state, signal, nowMs);
    case 'SIGUSR2':
    case 'SIGTTIN':
    case 'SIGTTOU':
      return only(state, log('warn', 'the signal means nothing here', { signal }));
    default:
      return unreachable(signal);
  }
}

function onOrder(state: SupervisorState, order: Order, nowMs: number): Step {
  switch (order.type) {
    case 'reload':
      return onReloadOrder(state);
    case 'drain':
      return onStopSignal(state, null, nowMs);
    case 'stop':
      return beginStop(state, { order: { signal: null, atMs: nowMs }, failure: null });
    case 'scale':
      return onScale(state, order.processes);
    default:
      return unreachable(order);
  }
}

function reopenLogs(state: SupervisorState): Step {
  const orders = state.children.map(({ id }): Effect => {
    return { type: 'send', child: id, message: { type: 'reopen-logs' } };
  });
  return only(state, { type: 'reopen-logs' }, ...orders, log('info', 'log files reopened'));
}

function armExit(state: SupervisorState, child: Child, slot: Slot): Effect {
  const timer = child.role === 'main' ? slotTimer(slot) : childTimer(child);
  return { type: 'arm-timer', timer, delayMs: state.settings.exitTimeoutMs };
}
