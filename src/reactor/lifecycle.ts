import { unreachable } from '../shared/assert.js';
import { PROTOCOL_VERSION, type ToMaster, type ToReactor } from '../shared/messages.js';
import type { ReactorEvent, ReactorOptions } from '../shared/native.js';

/** The life of one reactor process. Pure: no process, native code or timer. */
export type ReactorState =
  /** Has sent hello and waits for the order to load. */
  | { readonly tag: 'idle' }
  | { readonly tag: 'loading' }
  /** Waits for the order to serve. */
  | { readonly tag: 'loaded' }
  | { readonly tag: 'starting' }
  /** `preparing`: the generation being loaded, or waiting for the order to switch. */
  | { readonly tag: 'ready'; readonly preparing: number | null }
  | { readonly tag: 'draining' }
  | { readonly tag: 'ended' };

export type LifecycleEvent =
  | { readonly type: 'boot'; readonly pid: number }
  | { readonly type: 'message'; readonly message: ToReactor }
  | { readonly type: 'unreadable'; readonly problem: string }
  /** The IPC channel is gone, and with it probably the master. */
  | { readonly type: 'disconnected' }
  | { readonly type: 'native'; readonly event: ReactorEvent; readonly allocator: string }
  /** The native reactor could not be created. */
  | { readonly type: 'not-made'; readonly problem: string }
  /** `prepare` could not begin. */
  | { readonly type: 'unprepared'; readonly generation: number; readonly reason: string }
  /** The result of `switch-over`. */
  | { readonly type: 'switched'; readonly done: boolean; readonly generation: number }
  | { readonly type: 'timer' };

export type LifecycleEffect =
  | { readonly type: 'send'; readonly message: ToMaster }
  | { readonly type: 'load'; readonly options: ReactorOptions }
  | { readonly type: 'serve' }
  | { readonly type: 'drain' | 'hand-over'; readonly timeoutMs: number }
  | { readonly type: 'reopen-logs' }
  | { readonly type: 'prepare'; readonly generation: number }
  | { readonly type: 'switch-over'; readonly generation: number }
  | { readonly type: 'discard' }
  | { readonly type: 'certificates' }
  | { readonly type: 'stop' }
  /** The one timer there is. */
  | { readonly type: 'arm-timer'; readonly delayMs: number }
  | { readonly type: 'log'; readonly message: string }
  | { readonly type: 'exit'; readonly code: 0 | 1 }
  /** Ends the process without waiting for anything. */
  | { readonly type: 'die' };

export interface LifecycleStep {
  readonly state: ReactorState;
  readonly effects: readonly LifecycleEffect[];
}

export const FIRST_STATE: ReactorState = { tag: 'idle' };

/**
 * Without a master a reactor ends within a second: it drains for this long, then exits.
 */
const ORPHAN_DRAIN_MS = 700;
const ORPHAN_EXIT_MS = 900;

const NOT_SWITCHED = 'the new generation of the handler is gone: the process exits to be replaced';
const STUCK =
  'a handler blocks the reactor or its workers and does not stop: the process exits to be replaced';

export function step(state: ReactorState, event: LifecycleEvent): LifecycleStep {
  if (state.tag === 'ended') return { state, effects: [] };
  switch (event.type) {
    case 'boot':
      return next(state, send({ type: 'hello', protocol: PROTOCOL_VERSION, pid: event.pid }));
    case 'message':
      return onMessage(state, event.message);
    case 'unreadable':
      return end(1, {
        type: 'log',
        message: `unreadable message from the master: ${event.problem}`,
      });
    case 'disconnected':
      return onDisconnected(state);
    case 'native':
      return onNative(state, event.event, event.allocator);
    case 'unprepared': {
      const { generation, reason } = event;
      if (state.tag !== 'ready' || state.preparing !== generation) return next(state);
      const message = { type: 'unprepared', generation, reason } as const;
      return next({ tag: 'ready', preparing: null }, send(message));
    }
    case 'switched':
      if (!event.done) return end(1, { type: 'log', message: NOT_SWITCHED });
      return next(state, send({ type: 'switched', generation: event.generation }));
    case 'not-made':
      return end(1, send({ type: 'failed', code: 'INVALID', message: event.problem }));
    case 'timer':
      // A stop would wait for a handler that does not return, and there is no master to kill us.
      return { state: { tag: 'ended' }, effects: [{ type: 'die' }] };
    default:
      return unreachable(event);
  }
}

function onMessage(state: ReactorState, message: ToReactor): LifecycleStep {
  switch (message.type) {
    case 'load':
      if (state.tag !== 'idle') return next(state);
      return next({ tag: 'loading' }, { type: 'load', options: message.options });
    case 'serve':
      if (state.tag !== 'loaded') return next(state);
      return next({ tag: 'starting' }, { type: 'serve' });
    case 'drain':
    case 'hand-over': {
      if (!serves(state)) return end(0, send({ type: 'drained' }));
      const { type, timeoutMs } = message;
      return next({ tag: 'draining' }, { type, timeoutMs });
    }
    case 'reopen-logs':
      return state.tag === 'idle' ? next(state) : next(state, { type: 'reopen-logs' });
    case 'prepare': {
      if (state.tag !== 'ready') return next(state);
      const { generation } = message;
      return next({ tag: 'ready', preparing: generation }, { type: 'prepare', generation });
    }
    case 'switch': {
      const { generation } = message;
      if (state.tag !== 'ready' || state.preparing !== generation) return next(state);
      return next({ tag: 'ready', preparing: null }, { type: 'switch-over', generation });
    }
    case 'discard':
      if (state.tag !== 'ready') return next(state);
      return next({ tag: 'ready', preparing: null }, { type: 'discard' });
    case 'certificates':
      return state.tag === 'idle' ? next(state) : next(state, { type: 'certificates' });
    case 'stop':
      return state.tag === 'idle' ? end(0) : end(0, { type: 'stop' });
    default:
      return unreachable(message);
  }
}

function onDisconnected(state: ReactorState): LifecycleStep {
  if (!serves(state)) return end(1);
  return next(
    { tag: 'draining' },
    { type: 'drain', timeoutMs: ORPHAN_DRAIN_MS },
    { type: 'arm-timer', delayMs: ORPHAN_EXIT_MS },
  );
}

function onNative(state: ReactorState, event: ReactorEvent, allocator: string): LifecycleStep {
  switch (event.type) {
    case 'loaded':
      return next({ tag: 'loaded' }, send({ type: 'loaded' }));
    case 'ready':
      if (state.tag !== 'starting') return next(state);
      return next({ tag: 'ready', preparing: null }, send({ type: 'ready', allocator }));
    case 'prepared': {
      const { generation, problem } = event;
      if (state.tag !== 'ready' || state.preparing !== generation) return next(state);
      return next(state, send({ type: 'prepared', generation, problem }));
    }
    case 'cut':
      return next(state, send({ type: 'cut' }));
    case 'drained':
      return end(0, send({ type: 'drained' }));
    case 'failed':
      return end(1, send({ type: 'failed', code: event.code, message: event.message }));
    case 'stuck':
      // No client is served here any more and the thread cannot be ended: a new process takes over.
      return {
        state: { tag: 'ended' },
        effects: [{ type: 'log', message: STUCK }, { type: 'die' }],
      };
    case 'memory': {
      const { mark, residentBytes } = event;
      const told = send({ type: 'memory', mark, residentBytes });
      if (mark === 'near') return state.tag === 'ready' ? next(state, told) : next(state);
      // Otherwise the kernel would kill it at an arbitrary point, or another process of the
      // container.
      const message = `${residentBytes} bytes are resident, which reaches --memory-limit: the process exits to be replaced`;
      return {
        state: { tag: 'ended' },
        effects: [told, { type: 'log', message }, { type: 'die' }],
      };
    }
    case 'orphaned':
      // The I/O thread drains already, by its own deadline.
      return next({ tag: 'draining' }, send({ type: 'orphaned' }), {
        type: 'arm-timer',
        delayMs: ORPHAN_EXIT_MS,
      });
    default:
      return unreachable(event);
  }
}

/** Connections may be open. */
function serves({ tag }: ReactorState): boolean {
  return tag === 'starting' || tag === 'ready' || tag === 'draining';
}

function next(state: ReactorState, ...effects: readonly LifecycleEffect[]): LifecycleStep {
  return { state, effects };
}

function end(code: 0 | 1, ...effects: readonly LifecycleEffect[]): LifecycleStep {
  return { state: { tag: 'ended' }, effects: [...effects, { type: 'exit', code }] };
}

function send(message: ToMaster): LifecycleEffect {
  return { type: 'send', message };
}
