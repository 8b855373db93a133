import type { ErrorCode } from '../../shared/errors.js';
import type { LineLevel, LogFields } from '../../shared/logger.js';
import type { ToMaster, ToReactor } from '../../shared/messages.js';
import type { ReactorFailure, ReactorOptions } from '../../shared/native.js';
import type { ServingRecord } from '../../shared/native-stats.js';
import type { MasterSignal, StopSignal } from '../../shared/signals.js';
import { type CrashHistory, type CrashPolicy, NO_CRASHES } from './backoff.js';

/** What each reactor is told; the rest of its options is its own. */
export type CommonOptions = Omit<
  ReactorOptions,
  'index' | 'statsSlot' | 'statsSide' | 'generation' | 'pinCpu'
>;

/** The words of the supervisor: what it knows, what it hears and what it asks for. */
export interface SupervisorSettings {
  readonly reactor: CommonOptions;
  /** Bind the reactor of slot k to the k-th core. */
  readonly pin: boolean;
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

/** A process that was forked and has not exited yet. */
export interface Child {
  readonly id: ChildId;
  readonly slot: number;
  /** Its place on the stats page, shared with no other child of the slot. */
  readonly side: number;
  readonly generation: number;
  /** Known from its hello on. */
  readonly pid: number | null;
  /**
   * `main` serves the slot (its state is the slot's), `successor` is being started to replace it,
   * `leaver` was replaced and hands its connections over.
   */
  readonly role: 'main' | 'successor' | 'leaver';
  /** `loaded` waits for the order to serve; from then on it may have requests, ready or not. */
  readonly stage: 'loading' | 'loaded' | 'serving';
  /** Gave no sign of life for too long and was told to die. */
  readonly stuck: boolean;
  /** Of a successor that could not start. */
  readonly failure: StartFailure | null;
  /** Of a leaver: nothing is open any more. */
  readonly drained: boolean;
}

export interface StartFailure {
  readonly code: ReactorFailure | 'TIMEOUT';
  readonly message: string;
}

/** Of the slot and its main process. */
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
  /** Scaled away: its process leaves, and none follows. */
  readonly retired: boolean;
}

/** Why the master ends with an error. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
}

/** Why it ends: by an operator's order, or because of an error. An ordered end may fail later. */
export interface Ending {
  readonly order: { readonly signal: StopSignal | null; readonly atMs: number } | null;
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

/** One reload at a time; `again`: it was asked for once more meanwhile. */
export type Reload =
  | { readonly tag: 'idle' }
  /** Configuration and handler are looked at; nothing has changed yet. */
  | { readonly tag: 'checking'; readonly again: boolean }
  /** Each slot gets a successor that loads and waits. Still nothing has changed. */
  | {
      readonly tag: 'loading';
      readonly again: boolean;
      readonly generation: number;
      readonly settings: SupervisorSettings;
      /** Slots still to be looked at, the first one now. */
      readonly todo: readonly number[];
    }
  /** All have loaded, and there is no way back: one after the other serves. */
  | {
      readonly tag: 'replacing';
      readonly again: boolean;
      readonly todo: readonly number[];
      /** Why a slot stays with the old generation. */
      readonly problem: string | null;
    };

export type RestartReason = 'signal' | 'exit' | 'stuck' | 'start';

export interface Tally {
  readonly restarts: Readonly<Record<RestartReason, number>>;
  readonly reloads: Readonly<Record<'ok' | 'rejected', number>>;
}

export interface SupervisorState {
  readonly settings: SupervisorSettings;
  readonly phase: Phase;
  readonly slots: readonly Slot[];
  readonly children: readonly Child[];
  readonly nextChild: ChildId;
  /** Of handler and settings: which reload they came with. */
  readonly generation: number;
  readonly reload: Reload;
  readonly tally: Tally;
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
      /** What its threads were doing then. */
      readonly serving: readonly ServingNote[];
      readonly nowMs: number;
      /** In [0, 1). */
      readonly random: number;
    }
  /** The IO thread of the child has given no sign of life for this long. */
  | {
      readonly type: 'silent';
      readonly child: ChildId;
      readonly silentMs: number;
      readonly serving: readonly ServingNote[];
    }
  | { readonly type: 'timer'; readonly timer: Timer }
  | { readonly type: 'signal'; readonly signal: MasterSignal; readonly nowMs: number }
  | { readonly type: 'order'; readonly order: Order; readonly nowMs: number }
  /** What was found when a reload was prepared. */
  | { readonly type: 'prepared'; readonly result: Prepared };

/** Orders that do not come as a signal. */
export type Order =
  | { readonly type: 'reload' | 'drain' | 'stop' }
  /** The shell has made room for so many. */
  | { readonly type: 'scale'; readonly processes: number };

export type Prepared =
  | { readonly ok: true; readonly settings: SupervisorSettings }
  | { readonly ok: false; readonly problem: string };

/** What a thread was serving, and for how long. */
export interface ServingNote extends Omit<ServingRecord, 'startedMs'> {
  readonly forMs: number;
}

/**
 * A slot has at most one timer; its state says what for. So has a child that is not the slot's
 * main process. Arming a timer again replaces it.
 */
export type Timer =
  | { readonly type: 'slot'; readonly slot: number }
  | { readonly type: 'child'; readonly child: ChildId }
  | { readonly type: 'delay' };

export type Effect =
  | { readonly type: 'fork'; readonly slot: number; readonly child: ChildId; readonly side: number }
  | { readonly type: 'send'; readonly child: ChildId; readonly message: ToReactor }
  | { readonly type: 'kill'; readonly child: ChildId }
  /** Ends it with a core dump where the system makes one. */
  | { readonly type: 'abort'; readonly child: ChildId }
  | { readonly type: 'arm-timer'; readonly timer: Timer; readonly delayMs: number }
  | { readonly type: 'cancel-timer'; readonly timer: Timer }
  | {
      readonly type: 'log';
      readonly level: LineLevel;
      readonly fields: LogFields;
      readonly message: string;
    }
  /** Whether the slot's reactor takes connections from the boss. */
  | { readonly type: 'slot-up'; readonly slot: number; readonly up: boolean }
  /** No process will serve the slot again: its sockets go, what waits in them moves. */
  | { readonly type: 'close-slot' | 'reclaim-slot'; readonly slot: number }
  /** Nothing is accepted any more. */
  | { readonly type: 'close-listeners' }
  | { readonly type: 'reopen-logs' }
  /** Look at configuration and handler; `prepared` follows. */
  | { readonly type: 'prepare-reload' }
  | { readonly type: 'reloaded'; readonly problem: string | null; readonly generation: number }
  | { readonly type: 'announce-ready'; readonly allocator: string }
  | { readonly type: 'announce-stopping' }
  | { readonly type: 'exit'; readonly failure: Failure | null };

export interface Step {
  readonly state: SupervisorState;
  readonly effects: readonly Effect[];
}

export function initialState(settings: SupervisorSettings, processes: number): SupervisorState {
  return {
    settings,
    phase: { tag: 'starting' },
    slots: Array.from({ length: processes }, (_, index) => newSlot(index)),
    children: [],
    nextChild: 1,
    generation: 1,
    reload: { tag: 'idle' },
    tally: {
      restarts: { signal: 0, exit: 0, stuck: 0, start: 0 },
      reloads: { ok: 0, rejected: 0 },
    },
  };
}

export function newSlot(index: number): Slot {
  return { index, state: { tag: 'stopped' }, history: NO_CRASHES, retired: false };
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
