import { unreachable } from '../../shared/assert.js';
import type { ErrorCode } from '../../shared/errors.js';
import type { LogFields } from '../../shared/logger.js';
import { addCrash, judge } from './backoff.js';
import { successorFailed } from './reload.js';
import { beginDrain, beginStop, isEnding, settle, withFailure } from './shutdown.js';
import {
  childTimer,
  launch,
  serve,
  slotTimer,
  successorOf,
  withChild,
  withoutChild,
  withSlot,
} from './slots.js';
import {
  type Child,
  type ChildExit,
  type Failure,
  log,
  only,
  type RestartReason,
  type Slot,
  type StartFailure,
  type Step,
  type SupervisorEvent,
  type SupervisorState,
  then,
} from './supervision.js';

/** What the end of a reactor process means, and what follows. Pure. */

export type Exited = Extract<SupervisorEvent, { type: 'exited' }>;

export function onExited(state: SupervisorState, child: Child, slot: Slot, event: Exited): Step {
  const buried = withoutChild(state, child.id);
  switch (child.role) {
    case 'main':
      return onMainExited(buried, child, slot, event);
    case 'successor':
      return onSuccessorExited(buried, child, slot, event);
    case 'leaver':
      return onLeaverExited(buried, child, event);
    default:
      return unreachable(child.role);
  }
}

function onMainExited(state: SupervisorState, child: Child, slot: Slot, event: Exited): Step {
  switch (slot.state.tag) {
    case 'starting':
      return onFailedStart(state, child, slot, slot.state.failure, event);
    case 'ready':
      return onCrash(state, child, slot, null, event);
    case 'draining':
      return onDrainEnded(state, slot, slot.state.drained, event);
    case 'backoff':
    case 'failed':
    case 'stopped':
      return only(state);
    default:
      return unreachable(slot.state);
  }
}

function onDrainEnded(state: SupervisorState, slot: Slot, drained: boolean, event: Exited): Step {
  const stopped = withSlot(state, { ...slot, state: { tag: 'stopped' } });
  const cancel = { type: 'cancel-timer', timer: slotTimer(slot) } as const;
  const message = `reactor ${slot.index} ${wordsOf(event.exit)} before it had drained`;
  if (slot.retired && !isEnding(state)) {
    const fields = { reactor: slot.index, ...exitFields(event) };
    const line = drained
      ? log('info', 'reactor has left', { reactor: slot.index })
      : log('error', 'reactor ended before it had handed its connections over', fields);
    return only(stopped, cancel, line, { type: 'reclaim-slot', slot: slot.index });
  }
  const ended = drained ? stopped : withFailure(stopped, { code: 'ERR_MOONRING_DRAIN', message });
  return then(only(ended, cancel), settle);
}

function onSuccessorExited(state: SupervisorState, child: Child, slot: Slot, event: Exited): Step {
  const cancel = { type: 'cancel-timer', timer: childTimer(child) } as const;
  const reason = child.failure === null ? wordsOf(event.exit) : `said: ${child.failure.message}`;
  return then(
    then(only(state, cancel), (now) => successorFailed(now, slot, reason)),
    settle,
  );
}

function onLeaverExited(state: SupervisorState, child: Child, event: Exited): Step {
  const cancel = { type: 'cancel-timer', timer: childTimer(child) } as const;
  if (child.drained) return then(only(state, cancel), settle);
  const message = 'replaced reactor ended before it had handed its connections over';
  const line = log('error', message, { reactor: child.slot, ...exitFields(event) });
  const words = `the replaced reactor ${child.slot} ${wordsOf(event.exit)} before it had drained`;
  const failure = { code: 'ERR_MOONRING_DRAIN', message: words } as const;
  const ended = isEnding(state) ? withFailure(state, failure) : state;
  return then(only(ended, cancel, line), settle);
}

/** Failures of a start that come again with every start. */
const LASTING_FAILURES: Readonly<Partial<Record<StartFailure['code'], ErrorCode>>> = {
  HANDLER: 'ERR_MOONRING_HANDLER',
  INVALID: 'ERR_MOONRING_CONFIG',
};

/** In the very first start a lasting failure ends everything: nobody has been served yet. */
function onFailedStart(
  state: SupervisorState,
  child: Child,
  slot: Slot,
  failure: StartFailure | null,
  event: Exited,
): Step {
  const error = failure === null ? undefined : LASTING_FAILURES[failure.code];
  if (state.phase.tag !== 'starting' || failure === null || error === undefined) {
    return onCrash(state, child, slot, failure, event);
  }
  const failed = withSlot(state, { ...slot, state: { tag: 'failed' } });
  return then(only(failed, { type: 'cancel-timer', timer: slotTimer(slot) }), (now) =>
    endWith(now, { code: error, message: failure.message }),
  );
}

function onCrash(
  before: SupervisorState,
  child: Child,
  slot: Slot,
  failure: StartFailure | null,
  event: Exited,
): Step {
  const { exit, nowMs, random } = event;
  const policy = before.settings.crashes;
  const wasReady = slot.state.tag === 'ready';
  const history = addCrash(slot.history, { nowMs, wasReady }, policy);
  const verdict = judge(history, random, policy);
  const reason = reasonOf(child, wasReady, exit);
  const state = counted(before, reason);
  const fields = {
    reactor: slot.index,
    reason,
    ...exitFields(event),
    ...(failure === null ? {} : { failure: failure.message }),
  };
  const cancel = { type: 'cancel-timer', timer: slotTimer(slot) } as const;
  const down = { type: 'slot-up', slot: slot.index, up: false } as const;
  if (verdict.type === 'give-up') {
    const last = failure === null ? wordsOf(exit) : failure.message;
    const message = `reactor ${slot.index} ${verdict.reason}; the last time: ${last}`;
    const failed = withSlot(state, { ...slot, state: { tag: 'failed' }, history });
    return then(only(failed, log('error', 'reactor crashed', fields), cancel, down), (now) =>
      beginDrain(now, {
        order: null,
        failure: { code: 'ERR_MOONRING_CRASH_LOOP', message },
      }),
    );
  }
  const heir = state.reload.tag === 'replacing' ? successorOf(state, slot) : null;
  if (heir !== null) {
    // Its successor is on the way already.
    const report = log('error', 'reactor crashed', { ...fields, restartInMs: 0 });
    const starting = { tag: 'starting', child: heir.id, failure: heir.failure } as const;
    const main: Child = { ...heir, role: 'main' };
    const next = withSlot(withChild(state, main), { ...slot, state: starting, history });
    const taken = only(
      next,
      report,
      cancel,
      down,
      { type: 'cancel-timer', timer: childTimer(heir) },
      { type: 'arm-timer', timer: slotTimer(slot), delayMs: state.settings.startTimeoutMs },
    );
    return main.stage === 'loaded' ? then(taken, (now) => serve(now, main)) : taken;
  }
  const { delayMs } = verdict;
  const waiting: Slot = { ...slot, state: { tag: 'backoff' }, history };
  const report = log('error', 'reactor crashed', { ...fields, restartInMs: delayMs });
  if (delayMs === 0) return then(only(state, report, cancel, down), (now) => launch(now, waiting));
  return only(withSlot(state, waiting), report, down, {
    type: 'arm-timer',
    timer: slotTimer(slot),
    delayMs,
  });
}

/** Ends everything because of an error that a restart does not mend. */
export function endWith(state: SupervisorState, failure: Failure): Step {
  return beginStop(state, { order: null, failure });
}

function counted(state: SupervisorState, reason: RestartReason): SupervisorState {
  const { restarts } = state.tally;
  return {
    ...state,
    tally: { ...state.tally, restarts: { ...restarts, [reason]: restarts[reason] + 1 } },
  };
}

function reasonOf(child: Child, wasReady: boolean, exit: ChildExit): RestartReason {
  if (child.stuck) return 'stuck';
  if (!wasReady) return 'start';
  return exit.signal === null ? 'exit' : 'signal';
}

function exitFields({ exit, serving }: Exited): LogFields {
  const { pid, code, signal } = exit;
  return { reactorPid: pid, code, signal, ...(serving.length === 0 ? {} : { serving }) };
}

function wordsOf({ code, signal }: ChildExit): string {
  if (signal !== null) return `was killed by ${signal}`;
  return code === null ? 'could not be started' : `exited with code ${code}`;
}
