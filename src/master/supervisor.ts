import { unreachable } from '../shared/assert.js';
import type { ErrorCode } from '../shared/errors.js';
import { PROTOCOL_VERSION, type ToMaster } from '../shared/messages.js';
import { addCrash, judge } from './backoff.js';
import { beginDrain, beginStop, onStopSignal, settle, withFailure } from './shutdown.js';
import {
  type ChildExit,
  type ChildId,
  type Failure,
  log,
  type MasterSignal,
  only,
  type Slot,
  type StartFailure,
  type Step,
  type SupervisorEvent,
  type SupervisorState,
  slotOf,
  slotTimer,
  type Timer,
  then,
  withSlot,
} from './supervision.js';

/**
 * The supervisor: what is known, and what just happened, give what is known next and what is to be
 * done. Pure: no process, clock or timer.
 */
export function step(state: SupervisorState, event: SupervisorEvent): Step {
  switch (event.type) {
    case 'boot':
      return state.slots.reduce((sum, slot) => then(sum, (now) => launch(now, slot)), only(state));
    case 'message':
      return forChild(state, event.child, (slot) => onMessage(state, slot, event.message));
    case 'unreadable':
      return forChild(state, event.child, (slot) =>
        only(
          state,
          log('error', 'reactor sent an unreadable message: killing it', {
            reactor: slot.index,
            problem: event.problem,
          }),
          { type: 'kill', child: event.child },
        ),
      );
    case 'disconnected':
      // It is about to exit. If it does not, the timer sees to it.
      return forChild(state, event.child, (slot) => only(state, armExit(state, slot)));
    case 'exited':
      return forChild(state, event.child, (slot) => onExited(state, slot, event));
    case 'timer':
      return onTimer(state, event.timer);
    case 'signal':
      return onSignal(state, event.signal, event.nowMs);
    default:
      return unreachable(event);
  }
}

function forChild(state: SupervisorState, child: ChildId, next: (slot: Slot) => Step): Step {
  const slot = slotOf(state, child);
  return slot === null ? only(state) : next(slot);
}

function launch(state: SupervisorState, slot: Slot): Step {
  const child = state.nextChild;
  const starting: Slot = { ...slot, state: { tag: 'starting', child, failure: null } };
  return only(
    { ...withSlot(state, starting), nextChild: child + 1 },
    { type: 'fork', slot: slot.index, child },
    { type: 'arm-timer', timer: slotTimer(slot), delayMs: state.settings.startTimeoutMs },
  );
}

function onMessage(state: SupervisorState, slot: Slot, message: ToMaster): Step {
  switch (message.type) {
    case 'hello':
      return onHello(state, slot, message.protocol);
    case 'ready':
      return onReady(state, slot, message.allocator);
    case 'drained':
      return onDrained(state, slot);
    case 'failed':
      // The exit follows and is judged then.
      return only(withStartFailure(state, slot, message));
    case 'orphaned':
      return only(
        state,
        log('warn', 'reactor lost its control pair and drains', { reactor: slot.index }),
      );
    default:
      return unreachable(message);
  }
}

function onHello(state: SupervisorState, slot: Slot, protocol: number): Step {
  if (slot.state.tag !== 'starting') return only(state);
  if (protocol !== PROTOCOL_VERSION) {
    const message = `reactor ${slot.index} speaks protocol ${protocol}, the master ${PROTOCOL_VERSION}: rebuild`;
    return endWith(state, { code: 'ERR_MOONRING_PROTOCOL', message });
  }
  const options = { ...state.settings.reactor, index: slot.index };
  return only(state, {
    type: 'send',
    child: slot.state.child,
    message: { type: 'start', options },
  });
}

function onReady(state: SupervisorState, slot: Slot, allocator: string): Step {
  if (slot.state.tag !== 'starting') return only(state);
  const { child } = slot.state;
  const next = withSlot(state, { ...slot, state: { tag: 'ready', child, allocator } });
  const effects = [
    { type: 'cancel-timer', timer: slotTimer(slot) } as const,
    log(state.phase.tag === 'starting' ? 'debug' : 'info', 'reactor is ready', {
      reactor: slot.index,
      allocator,
    }),
  ];
  const allReady = next.slots.every(({ state: { tag } }) => tag === 'ready');
  if (state.phase.tag !== 'starting' || !allReady) return only(next, ...effects);
  return only({ ...next, phase: { tag: 'serving' } }, ...effects, {
    type: 'announce-ready',
    allocator,
  });
}

function onDrained(state: SupervisorState, slot: Slot): Step {
  if (slot.state.tag !== 'draining') return only(state);
  const drained: Slot = { ...slot, state: { ...slot.state, drained: true } };
  return only(withSlot(state, drained), armExit(state, slot));
}

function withStartFailure(state: SupervisorState, slot: Slot, failure: StartFailure) {
  if (slot.state.tag !== 'starting') return state;
  const { code, message } = failure;
  return withSlot(state, { ...slot, state: { ...slot.state, failure: { code, message } } });
}

type Exited = Extract<SupervisorEvent, { type: 'exited' }>;

function onExited(state: SupervisorState, slot: Slot, event: Exited): Step {
  switch (slot.state.tag) {
    case 'starting':
      return onFailedStart(state, slot, slot.state.failure, event);
    case 'ready':
      return onCrash(state, slot, null, event);
    case 'draining': {
      const stopped = withSlot(state, { ...slot, state: { tag: 'stopped' } });
      const message = `reactor ${slot.index} ${wordsOf(event.exit)} before it had drained`;
      const ended = slot.state.drained
        ? stopped
        : withFailure(stopped, { code: 'ERR_MOONRING_DRAIN', message });
      return then(only(ended, { type: 'cancel-timer', timer: slotTimer(slot) }), settle);
    }
    case 'backoff':
    case 'failed':
    case 'stopped':
      return only(state);
    default:
      return unreachable(slot.state);
  }
}

/** Failures of a start that come again with every start. */
const LASTING_FAILURES: Readonly<Partial<Record<StartFailure['code'], ErrorCode>>> = {
  HANDLER: 'ERR_MOONRING_HANDLER',
  INVALID: 'ERR_MOONRING_CONFIG',
};

/** In the very first start a lasting failure ends everything: nobody has been served yet. */
function onFailedStart(
  state: SupervisorState,
  slot: Slot,
  failure: StartFailure | null,
  event: Exited,
): Step {
  const error = failure === null ? undefined : LASTING_FAILURES[failure.code];
  if (state.phase.tag !== 'starting' || failure === null || error === undefined) {
    return onCrash(state, slot, failure, event);
  }
  const failed = withSlot(state, { ...slot, state: { tag: 'failed' } });
  return then(only(failed, { type: 'cancel-timer', timer: slotTimer(slot) }), (now) =>
    endWith(now, { code: error, message: failure.message }),
  );
}

function onCrash(
  state: SupervisorState,
  slot: Slot,
  failure: StartFailure | null,
  { exit, nowMs, random }: Exited,
): Step {
  const policy = state.settings.crashes;
  const crash = { nowMs, wasReady: slot.state.tag === 'ready' };
  const history = addCrash(slot.history, crash, policy);
  const verdict = judge(history, random, policy);
  const fields = {
    reactor: slot.index,
    reactorPid: exit.pid,
    code: exit.code,
    signal: exit.signal,
    ...(failure === null ? {} : { failure: failure.message }),
  };
  const cancel = { type: 'cancel-timer', timer: slotTimer(slot) } as const;
  if (verdict.type === 'give-up') {
    const last = failure === null ? wordsOf(exit) : failure.message;
    const message = `reactor ${slot.index} ${verdict.reason}; the last time: ${last}`;
    const failed = withSlot(state, { ...slot, state: { tag: 'failed' }, history });
    return then(only(failed, log('error', 'reactor crashed', fields), cancel), (now) =>
      beginDrain(now, {
        order: null,
        failure: { code: 'ERR_MOONRING_CRASH_LOOP', message },
      }),
    );
  }
  const { delayMs } = verdict;
  const waiting: Slot = { ...slot, state: { tag: 'backoff' }, history };
  const report = log('error', 'reactor crashed', { ...fields, restartInMs: delayMs });
  if (delayMs === 0) return then(only(state, report, cancel), (now) => launch(now, waiting));
  return only(withSlot(state, waiting), report, {
    type: 'arm-timer',
    timer: slotTimer(slot),
    delayMs,
  });
}

function onTimer(state: SupervisorState, timer: Timer): Step {
  if (timer.type === 'delay') {
    if (state.phase.tag !== 'delaying') return only(state);
    return beginDrain(state, state.phase);
  }
  const slot = state.slots[timer.slot];
  if (slot === undefined) return only(state);
  const reactor = slot.index;
  switch (slot.state.tag) {
    case 'starting': {
      const message = `not ready within ${state.settings.startTimeoutMs} ms`;
      return only(
        withStartFailure(state, slot, { code: 'TIMEOUT', message }),
        log('error', 'reactor does not get ready: killing it', { reactor }),
        { type: 'kill', child: slot.state.child },
      );
    }
    case 'ready':
    case 'draining':
      return only(state, log('error', 'reactor does not exit: killing it', { reactor }), {
        type: 'kill',
        child: slot.state.child,
      });
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
      return only(state, log('warn', 'reload is not available yet: SIGHUP is ignored'));
    case 'SIGUSR1':
      return only(state, log('info', 'no log file is open: SIGUSR1 has nothing to reopen'));
    case 'SIGTERM':
    case 'SIGINT':
    case 'SIGQUIT':
      return onStopSignal(state, signal, nowMs);
    default:
      return unreachable(signal);
  }
}

/** Ends everything because of an error that a restart does not mend. */
function endWith(state: SupervisorState, failure: Failure): Step {
  return beginStop(state, { order: null, failure });
}

function armExit(state: SupervisorState, slot: Slot) {
  const delayMs = state.settings.exitTimeoutMs;
  return { type: 'arm-timer', timer: slotTimer(slot), delayMs } as const;
}

function wordsOf({ code, signal }: ChildExit): string {
  if (signal !== null) return `was killed by ${signal}`;
  return code === null ? 'could not be started' : `exited with code ${code}`;
}
