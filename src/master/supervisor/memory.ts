import { addRenewal, renewalDelayMs } from './backoff.js';
import {
  activeSlots,
  arm,
  childTimer,
  isEnding,
  launchSuccessor,
  log,
  MAX_PREDECESSORS,
  predecessorsOf,
  serve,
  successorOf,
} from './slots.js';
import type { Child, Failure, Slot, SupervisorEvent, SupervisorState, Turn } from './state.js';

/**
 * A reactor that is near its memory limit is replaced as in a reload: a successor loads beside it and
 * serves, then the old process hands its connections over. One reactor at a time. Pure.
 */

type Told = Extract<SupervisorEvent, { type: 'memory' }>;

export function onMemory(turn: Turn, child: Child, slot: Slot, event: Told): void {
  const { state } = turn;
  const { mark, residentBytes, nowMs } = event;
  if (mark === 'limit') {
    child.overMemory = true;
    return;
  }
  const isServing = child.role === 'main' && slot.state.tag === 'ready';
  const isBusy = isEnding(state) || state.reload.tag !== 'idle' || hasSuccessor(turn);
  const isFull = predecessorsOf(state, slot).length >= MAX_PREDECESSORS;
  if (!isServing || isBusy || isFull) return;
  const policy = state.settings.renewals;
  const waitMs = renewalDelayMs(slot.renewals, nowMs, policy);
  const limitBytes = state.settings.reactor.memoryLimit;
  const fields = { reactor: slot.index, reactorPid: child.pid, residentBytes, limitBytes };
  if (waitMs > 0) {
    if (!slot.renewals.isTold) log(turn, 'error', TOO_SOON, { ...fields, againInMs: waitMs });
    slot.renewals = { ...slot.renewals, isTold: true };
    return;
  }
  slot.renewals = addRenewal(slot.renewals, nowMs, policy);
  state.restarts.memory++;
  log(turn, 'warn', 'reactor is near its memory limit: replacing it', fields);
  launchSuccessor(turn, slot, state.generation);
}

const TOO_SOON =
  'reactor is near its memory limit again soon after it was replaced: the next replacement is delayed';

/** Any successor belongs to this module: no reload has started replacing. */
export function isRenewing(state: SupervisorState): boolean {
  const { tag } = state.reload;
  return (tag === 'idle' || tag === 'checking') && !isEnding(state);
}

/** Takes the next step; called after every event. */
export function renew(turn: Turn): void {
  const { state } = turn;
  if (!isRenewing(state)) return;
  for (const slot of activeSlots(state)) {
    const successor = successorOf(state, slot);
    if (successor?.stage !== 'loaded') continue;
    serve(turn, successor);
    arm(turn, childTimer(successor), state.settings.startTimeoutMs);
  }
}

export function renewalFailed(turn: Turn, slot: Slot, { message }: Failure): void {
  const fields = { reactor: slot.index, reason: message };
  log(
    turn,
    'error',
    'the reactor near its memory limit cannot be replaced: it keeps running',
    fields,
  );
}

function hasSuccessor({ state }: Turn): boolean {
  return state.children.some(({ role }) => role === 'successor');
}
