import type { ErrorCode } from '../shared/errors.js';
import type { LineLevel, LogFields } from '../shared/logger.js';
import type { ToMaster, ToReactor } from '../shared/messages.js';
import type { ReactorFailure, ReactorOptions } from '../shared/native.js';
import { type CrashHistory, type CrashPolicy, NO_CRASHES } from './backoff.js';

/** The words of the supervisor: what it knows, what it hears and what it asks for. */
export interface SupervisorSettings {
  /** Sent to each reactor, with its index. */
  readonly reactor: Omit<ReactorOptions, 'index'>;
  /** From fork to ready. */
  readonly startTimeoutMs: number;
  /** From a reactor's goodbye to its exit. */
  readonly exitTimeoutMs: number;
  /** From the order to stop to the exit. */
  readonly stopTimeoutMs: number;
  readonly drainDelayMs: number;
  readonly drainTimeoutMs: number;
  readonly crashes: CrashPolicy;
}

/**
 * A process of a slot. The number is never used again, so what a dead child leaves behind is not
 * misread.
 */
export type ChildId = number;

export interface StartFailure {
  readonly code: ReactorFailure | 'TIMEOUT';
  readonly message: string;
}

export type SlotState =
  | { readonly tag: 'starting'; readonly child: ChildId; readonly failure: StartFailure | null }
  | { readonly tag: 'ready'; readonly child: ChildId; readonly allocator: string }
  /** On its way out by our order. `drained`: nothing is open any more. */
  | { readonly tag: 'draining'; readonly child: ChildId; readonly drained: boolean }
  | { readonly tag: 'backoff' }
  /** Given up. */
  | { readonly tag: 'failed' }
  /** Not started yet, or ended by our order. */
  | { readonly tag: 'stopped' };

/** A place for one reactor: its sockets and its past outlive the processes that serve it. */
export interface Slot {
  readonly index: number;
  readonly state: SlotState;
  readonly history: CrashHistory;
}

/** Why the master ends with an error. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
}

export type StopSignal = 'SIGTERM' | 'SIGINT' | 'SIGQUIT';
export type MasterSignal = StopSignal | 'SIGHUP' | 'SIGUSR1';

/** Why it ends: by an operator's order, or because of an error. An ordered end may fail later. */
export interface Ending {
  readonly order: { readonly signal: StopSignal; readonly atMs: number } | null;
  readonly failure: Failure | null;
}

export type Phase =
  /** Not all reactors have been ready yet. */
  | { readonly tag: 'starting' }
  | { readonly tag: 'serving' }
  /** Serving on for drain-delay. */
  | ({ readonly tag: 'delaying' } & Ending)
  | ({ readonly tag: 'draining' } & Ending)
  /** Open connections are cut. */
  | ({ readonly tag: 'stopping' } & Ending)
  | { readonly tag: 'ended' };

export interface SupervisorState {
  readonly settings: SupervisorSettings;
  readonly phase: Phase;
  readonly slots: readonly Slot[];
  readonly nextChild: ChildId;
}

export interface ChildExit {
  readonly pid: number | null;
  readonly code: number | null;
  readonly signal: string | null;
}

export type SupervisorEvent =
  | { readonly type: 'boot' }
  | { readonly type: 'message'; readonly child: ChildId; readonly message: ToMaster }
  /** The child sent something that is not a message. */
  | { readonly type: 'unreadable'; readonly child: ChildId; readonly problem: string }
  | { readonly type: 'disconnected'; readonly child: ChildId }
  | {
      readonly type: 'exited';
      readonly child: ChildId;
      readonly exit: ChildExit;
      readonly nowMs: number;
      /** In [0, 1). */
      readonly random: number;
    }
  | { readonly type: 'timer'; readonly timer: Timer }
  | { readonly type: 'signal'; readonly signal: MasterSignal; readonly nowMs: number };

/** A slot has at most one timer; its state says what for. Arming a timer again replaces it. */
export type Timer = { readonly type: 'slot'; readonly slot: number } | { readonly type: 'delay' };

export type Effect =
  | { readonly type: 'fork'; readonly slot: number; readonly child: ChildId }
  | { readonly type: 'send'; readonly child: ChildId; readonly message: ToReactor }
  | { readonly type: 'kill'; readonly child: ChildId }
  | { readonly type: 'arm-timer'; readonly timer: Timer; readonly delayMs: number }
  | { readonly type: 'cancel-timer'; readonly timer: Timer }
  | {
      readonly type: 'log';
      readonly level: LineLevel;
      readonly fields: LogFields;
      readonly message: string;
    }
  | { readonly type: 'announce-ready'; readonly allocator: string }
  | { readonly type: 'exit'; readonly failure: Failure | null };

export interface Step {
  readonly state: SupervisorState;
  readonly effects: readonly Effect[];
}

export function initialState(settings: SupervisorSettings, processes: number): SupervisorState {
  const slots = Array.from({ length: processes }, (_, index): Slot => {
    return { index, state: { tag: 'stopped' }, history: NO_CRASHES };
  });
  return { settings, phase: { tag: 'starting' }, slots, nextChild: 1 };
}

export function only(state: SupervisorState, ...effects: readonly Effect[]): Step {
  return { state, effects };
}

/** One step after the other. */
export function then(first: Step, next: (state: SupervisorState) => Step): Step {
  const second = next(first.state);
  return { state: second.state, effects: [...first.effects, ...second.effects] };
}

export function log(level: LineLevel, message: string, fields: LogFields = {}): Effect {
  return { type: 'log', level, fields, message };
}

export function slotTimer(slot: Slot): Timer {
  return { type: 'slot', slot: slot.index };
}

export function withSlot(state: SupervisorState, slot: Slot): SupervisorState {
  return { ...state, slots: state.slots.map((each) => (each.index === slot.index ? slot : each)) };
}

/** The slot served by `child`, unless the child has been buried. */
export function slotOf(state: SupervisorState, child: ChildId): Slot | null {
  return state.slots.find((slot) => childOf(slot) === child) ?? null;
}

export function childOf({ state }: Slot): ChildId | null {
  return 'child' in state ? state.child : null;
}

export function endingFailure(phase: Phase): Failure | null {
  return 'failure' in phase ? phase.failure : null;
}
