import type { ErrorCode } from '../../shared/errors.js';
import type { LineLevel, LogFields } from '../../shared/logger.js';
import type { ToMaster, ToReactor } from '../../shared/messages.js';
import type { MemoryMark, ReactorOptions } from '../../shared/native.js';
import type { ServingRecord } from '../../shared/native-stats.js';
import type { MasterSignal, StopSignal } from '../../shared/signals.js';
import {
  type CrashHistory,
  type CrashPolicy,
  NO_CRASHES,
  NO_RENEWALS,
  type RenewalPolicy,
  type Renewals,
} from './backoff.js';

/** The types of the supervisor: its state, the events it takes and the effects it returns. */

/** The options that all reactors share; the rest differs per process. */
export type CommonOptions = Omit<
  ReactorOptions,
  'index' | 'statsSlot' | 'statsSide' | 'generation' | 'pinCpu'
>;

export interface SupervisorSettings {
  readonly reactor: CommonOptions;
  /** The master's descriptor of the accepted app's files; -1: reactors load from the disk. */
  readonly appFd: number;
  /** Of the reactors' program and its modules: processes of another one replace those that run. */
  readonly build: string;
  /** Bind the reactor of slot k to the k-th core. */
  readonly pin: boolean;
  /** Reactors that must be ready for the server to be ready. */
  readonly minReactors: number;
  /** From fork to ready. */
  readonly startTimeoutMs: number;
  /** From `drained` or the end of the IPC channel to the exit. */
  readonly exitTimeoutMs: number;
  /** From the order to stop to the exit. */
  readonly stopTimeoutMs: number;
  readonly drainDelayMs: number;
  readonly drainTimeoutMs: number;
  readonly crashes: CrashPolicy;
  readonly renewals: RenewalPolicy;
}

/** Never reused, so a late event of a dead process cannot be mistaken for its successor's. */
export type ChildId = number;

/** A process that was forked and has not exited yet. */
export interface Child {
  readonly id: ChildId;
  readonly slot: number;
  /** Its place on the stats page; no other child of the slot has it. */
  readonly side: number;
  /** Of the handler that it serves with. */
  generation: number;
  /** Known from its hello on. */
  pid: number | null;
  /**
   * `main` serves the slot (its state is the slot's), `successor` is being started to replace it,
   * `predecessor` was replaced and hands over its connections.
   */
  role: 'main' | 'successor' | 'predecessor';
  /** `loaded` waits for the order to serve. Once `serving` it may have requests, ready or not. */
  stage: 'loading' | 'loaded' | 'serving';
  /** Of its next generation of Lua states: ordered, loaded, told to take over. */
  next: 'none' | 'preparing' | 'prepared' | 'switching';
  /** Its heartbeat was lost and it was aborted. */
  stuck: boolean;
  /** It reached the memory limit and is ending. */
  overMemory: boolean;
  /** Of a successor that could not start. */
  failure: StartFailure | null;
  /** Of a predecessor: nothing is open any more. */
  drained: boolean;
  /**
   * Of a dead predecessor whose process is still being torn down or dumping core: when its slot was
   * restarted.
   */
  crash: { readonly restartInMs: number } | null;
}

/** Why the master, a reload or a start failed. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
}

export interface StartFailure extends Failure {
  /** Any other start would fail in the same way. */
  readonly lasting: boolean;
}

/** Of the slot and its main process. */
export type SlotState =
  | { readonly tag: 'starting'; readonly child: ChildId; readonly failure: StartFailure | null }
  | { readonly tag: 'ready'; readonly child: ChildId; readonly allocator: string }
  /** Ending by our order. `drained`: nothing is open any more. */
  | { readonly tag: 'draining'; readonly child: ChildId; readonly drained: boolean }
  /** Waits for its restart. */
  | { readonly tag: 'backoff' }
  /** The same, in a crash loop: the delay is longer and the server does not rely on it. */
  | { readonly tag: 'failed' }
  /** Not started yet, or ended by our order. */
  | { readonly tag: 'stopped' };

/** A place for one reactor: its sockets and its crash history outlive its processes. */
export interface Slot {
  readonly index: number;
  state: SlotState;
  history: CrashHistory;
  /** When its process was last replaced because of its memory. */
  renewals: Renewals;
  /** Scaled away: its process retires, and no other is started. */
  retired: boolean;
}

/** How the server ends. */
export interface Ending {
  /** The last stop signal; `null`: an order or an error started the end, without a signal since. */
  readonly signal: { readonly name: StopSignal; readonly atMs: number } | null;
  /** `null`: clean so far. */
  readonly failure: Failure | null;
}

export type Phase =
  /** Not all reactors have been ready yet. */
  | { readonly tag: 'starting' }
  | { readonly tag: 'serving' }
  /** Still serving, for drain-delay. */
  | ({ readonly tag: 'delaying' } & Ending)
  | ({ readonly tag: 'draining' } & Ending)
  /** Open connections are cut. */
  | ({ readonly tag: 'stopping' } & Ending)
  | { readonly tag: 'ended' };

/** One reload at a time; `again`: another one was requested meanwhile. */
export type Reload =
  | { readonly tag: 'idle' }
  /** Configuration and handler are checked; nothing has changed yet. */
  | { readonly tag: 'checking'; readonly again: boolean }
  /**
   * `preparing`: only Lua files have changed, and each reactor loads them beside the old ones.
   * `loading`: each slot gets a successor that loads and waits. Nothing has changed for requests yet.
   */
  | {
      readonly tag: 'preparing' | 'loading';
      readonly again: boolean;
      readonly generation: number;
      readonly settings: SupervisorSettings;
    }
  /** All have prepared, and the reload is committed: all are told to switch. */
  | { readonly tag: 'switching'; readonly again: boolean }
  /** All have loaded, and the reload is committed: one after the other starts serving. */
  | {
      readonly tag: 'replacing';
      readonly again: boolean;
      /** Why a slot stays with the old generation. */
      readonly failure: Failure | null;
    };

/** How a reload ended. */
export interface ReloadResult {
  /** `null`: done. */
  readonly failure: Failure | null;
  readonly generation: number;
  /** What was replaced: Lua states in the same processes, or processes; `null`: none. */
  readonly replaced: 'lua states' | 'processes' | null;
}

export type RestartReason = 'signal' | 'exit' | 'stuck' | 'start' | 'memory';

export interface SupervisorState {
  settings: SupervisorSettings;
  phase: Phase;
  slots: Slot[];
  children: Child[];
  nextChild: ChildId;
  /** Of handler and settings: counted up by each reload. */
  generation: number;
  reload: Reload;
  readonly restarts: Record<RestartReason, number>;
  readonly reloads: Record<'ok' | 'rejected', number>;
}

/** The passage of time is a separate event. */
export type ChildMessage = Exclude<ToMaster, { readonly type: 'memory' }>;

export interface ChildExit {
  readonly pid: number | null;
  readonly code: number | null;
  readonly signal: string | null;
}

export type SupervisorEvent =
  | { readonly type: 'boot' }
  | { readonly type: 'message'; readonly child: ChildId; readonly message: ChildMessage }
  /** The child sent something that is not a message. */
  | { readonly type: 'unreadable'; readonly child: ChildId; readonly problem: string }
  | {
      /** The end of its IPC channel: it died, or is about to. */
      readonly type: 'disconnected';
      readonly child: ChildId;
      readonly nowMs: number;
      /** In [0, 1). */
      readonly random: number;
    }
  | {
      readonly type: 'exited';
      readonly child: ChildId;
      readonly exit: ChildExit;
      /** What its threads were doing then. */
      readonly serving: readonly ServingNote[];
      /** Further requests whose handlers waited, or waited for a thread. */
      readonly waiting: number;
      readonly nowMs: number;
      /** In [0, 1). */
      readonly random: number;
    }
  /** The I/O thread of the child has not written a heartbeat for this long. */
  | {
      readonly type: 'heartbeat-lost';
      readonly child: ChildId;
      readonly silentMs: number;
      readonly serving: readonly ServingNote[];
    }
  /** The child is near its memory limit (repeated); or has reached it, and ends. */
  | {
      readonly type: 'memory';
      readonly child: ChildId;
      readonly mark: MemoryMark;
      readonly residentBytes: number;
      readonly nowMs: number;
    }
  /** `lateMs` after its time: much when the master itself was stopped meanwhile. */
  | { readonly type: 'timer'; readonly timer: Timer; readonly lateMs: number }
  | { readonly type: 'signal'; readonly signal: MasterSignal; readonly nowMs: number }
  | { readonly type: 'order'; readonly order: Order }
  /** The result of `prepare-reload`. */
  | { readonly type: 'prepared'; readonly result: Prepared };

/** Orders of an operator or the surrounding program. Repeating one is harmless. */
export type Order =
  | { readonly type: 'reload' | 'drain' | 'stop' }
  /** Sockets for so many are open already. */
  | { readonly type: 'scale'; readonly processes: number };

export type Prepared =
  | {
      readonly ok: true;
      readonly settings: SupervisorSettings;
      /** Only the Lua files differ from the current settings, if anything does. */
      readonly onlyLua: boolean;
    }
  | { readonly ok: false; readonly failure: Failure };

/** What a thread was serving, and for how long. */
export interface ServingNote extends Omit<ServingRecord, 'startedMs'> {
  readonly forMs: number;
}

/**
 * A slot has at most one timer, whose meaning follows from the slot's state; so does each child
 * that is not the slot's main process. Rearming a timer replaces it.
 */
export type Timer =
  | { readonly type: 'slot'; readonly slot: number }
  | { readonly type: 'child'; readonly child: ChildId }
  | { readonly type: 'delay' | 'reload' };

export type Effect =
  | { readonly type: 'fork'; readonly slot: number; readonly child: ChildId; readonly side: number }
  | {
      readonly type: 'send';
      readonly child: ChildId;
      readonly message: ToReactor;
      /** The descriptor that goes before the message; -1: none. */
      readonly appFd?: number;
    }
  /** No further process will get these files; those that have them keep them. */
  | { readonly type: 'close-app'; readonly appFd: number }
  | { readonly type: 'kill'; readonly child: ChildId }
  /** Ends it with a core dump where the system writes one. */
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
  /** The slot will not be served again: its sockets are closed, waiting connections move. */
  | { readonly type: 'close-slot' | 'reclaim-slot'; readonly slot: number }
  /** No connection is accepted any more. */
  | { readonly type: 'close-listeners' }
  | { readonly type: 'reopen-logs' }
  /** Check configuration and handler; `prepared` follows. */
  | { readonly type: 'prepare-reload' }
  | ({ readonly type: 'reloaded' } & ReloadResult)
  | { readonly type: 'announce-ready'; readonly allocator: string }
  | { readonly type: 'announce-stopping' }
  | { readonly type: 'exit'; readonly failure: Failure | null };

export function initialState(settings: SupervisorSettings, processes: number): SupervisorState {
  return {
    settings,
    phase: { tag: 'starting' },
    slots: Array.from({ length: processes }, (_, index) => newSlot(index)),
    children: [],
    nextChild: 1,
    generation: 1,
    reload: { tag: 'idle' },
    restarts: { signal: 0, exit: 0, stuck: 0, start: 0, memory: 0 },
    reloads: { ok: 0, rejected: 0 },
  };
}

export function newSlot(index: number): Slot {
  return {
    index,
    state: { tag: 'stopped' },
    history: NO_CRASHES,
    renewals: NO_RENEWALS,
    retired: false,
  };
}

/** One event being handled: a copy of the state that may be changed, and the effects so far. */
export interface Turn {
  readonly state: SupervisorState;
  readonly effects: Effect[];
}

export function beginTurn(state: SupervisorState): Turn {
  const copy: SupervisorState = {
    ...state,
    slots: state.slots.map((slot) => ({ ...slot })),
    children: state.children.map((child) => ({ ...child })),
    restarts: { ...state.restarts },
    reloads: { ...state.reloads },
  };
  return { state: copy, effects: [] };
}
