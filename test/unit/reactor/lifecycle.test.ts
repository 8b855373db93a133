import t from 'tap';
import {
  FIRST_STATE,
  type LifecycleEvent,
  type LifecycleStep,
  type ReactorState,
  step,
} from '../../../src/reactor/lifecycle.js';
import type { ToReactor } from '../../../src/shared/messages.js';
import type { MemoryMark, ReactorEvent } from '../../../src/shared/native.js';
import { reactorOptions } from '../reactor-options.js';

function play(...events: readonly LifecycleEvent[]): LifecycleStep {
  const first: LifecycleStep = { state: FIRST_STATE, effects: [] };
  return events.reduce((last, event) => step(last.state, event), first);
}

const message = (sent: ToReactor): LifecycleEvent => ({ type: 'message', message: sent });
const native = (event: ReactorEvent): LifecycleEvent => {
  return { type: 'native', event, allocator: 'system' };
};

const BOOT: LifecycleEvent = { type: 'boot', pid: 42 };
const LOAD = message({ type: 'load', options: reactorOptions });
const LOADED = native({ type: 'loaded' });
const SERVE = message({ type: 'serve' });
const memory = (mark: MemoryMark) => ({ type: 'memory', mark, residentBytes: 99 }) as const;
const READY = native({ type: 'ready' });
const DRAIN = message({ type: 'drain', timeoutMs: 500 });
const HAND_OVER = message({ type: 'hand-over', timeoutMs: 500 });
const STOP = message({ type: 'stop' });
const PREPARE = message({ type: 'prepare', generation: 2 });
const UNPREPARED = { type: 'unprepared', generation: 2, reason: 'why' } as const;
const PREPARED = native({ type: 'prepared', generation: 2, problem: null });
const SWITCH = message({ type: 'switch', generation: 2 });
const DISCARD = message({ type: 'discard' });
const DISCONNECTED: LifecycleEvent = { type: 'disconnected' };

const rows: readonly {
  readonly name: string;
  readonly events: readonly LifecycleEvent[];
  readonly tag: ReactorState['tag'];
  readonly effects: readonly object[];
}[] = [
  {
    name: 'it says hello',
    events: [BOOT],
    tag: 'idle',
    effects: [{ type: 'send', message: { type: 'hello', pid: 42 } }],
  },
  {
    name: 'it loads when told to',
    events: [BOOT, LOAD],
    tag: 'loading',
    effects: [{ type: 'load', options: reactorOptions }],
  },
  { name: 'it loads once', events: [BOOT, LOAD, LOAD], tag: 'loading', effects: [] },
  {
    name: 'it says that it has loaded, and waits',
    events: [BOOT, LOAD, LOADED],
    tag: 'loaded',
    effects: [{ type: 'send', message: { type: 'loaded' } }],
  },
  {
    name: 'it serves when told to',
    events: [BOOT, LOAD, LOADED, SERVE],
    tag: 'starting',
    effects: [{ type: 'serve' }],
  },
  {
    name: 'it serves once',
    events: [BOOT, LOAD, LOADED, SERVE, SERVE],
    tag: 'starting',
    effects: [],
  },
  {
    name: 'it reports ready, with its allocator',
    events: [BOOT, LOAD, LOADED, SERVE, READY],
    tag: 'ready',
    effects: [{ type: 'send', message: { type: 'ready', allocator: 'system' } }],
  },
  {
    name: 'it drains',
    events: [BOOT, LOAD, LOADED, SERVE, READY, DRAIN],
    tag: 'draining',
    effects: [{ type: 'drain', timeoutMs: 500 }],
  },
  {
    name: 'it reports the drain and ends',
    events: [BOOT, LOAD, LOADED, SERVE, READY, DRAIN, native({ type: 'drained' })],
    tag: 'ended',
    effects: [
      { type: 'send', message: { type: 'drained' } },
      { type: 'exit', code: 0 },
    ],
  },
  {
    name: 'it reports what was cut before it ends',
    events: [BOOT, LOAD, LOADED, SERVE, READY, DRAIN, native({ type: 'cut' })],
    tag: 'draining',
    effects: [{ type: 'send', message: { type: 'cut' } }],
  },
  {
    name: 'it stops',
    events: [BOOT, LOAD, LOADED, SERVE, READY, DRAIN, STOP],
    tag: 'ended',
    effects: [{ type: 'stop' }, { type: 'exit', code: 0 }],
  },
  {
    name: 'told to drain before it was to load, it ends',
    events: [BOOT, DRAIN],
    tag: 'ended',
    effects: [
      { type: 'send', message: { type: 'drained' } },
      { type: 'exit', code: 0 },
    ],
  },
  {
    name: 'told to hand over before it was to serve, it ends',
    events: [BOOT, LOAD, LOADED, HAND_OVER],
    tag: 'ended',
    effects: [
      { type: 'send', message: { type: 'drained' } },
      { type: 'exit', code: 0 },
    ],
  },
  {
    name: 'the master is gone before it was to serve',
    events: [BOOT, LOAD, LOADED, DISCONNECTED],
    tag: 'ended',
    effects: [{ type: 'exit', code: 1 }],
  },
  {
    name: 'the same for stop',
    events: [BOOT, STOP],
    tag: 'ended',
    effects: [{ type: 'exit', code: 0 }],
  },
  {
    name: 'a failed start is reported',
    events: [BOOT, LOAD, native({ type: 'failed', code: 'HANDLER', message: 'a.lua:1: no' })],
    tag: 'ended',
    effects: [
      { type: 'send', message: { type: 'failed', code: 'HANDLER', message: 'a.lua:1: no' } },
      { type: 'exit', code: 1 },
    ],
  },
  {
    name: 'a reactor that cannot even be made is reported',
    events: [BOOT, LOAD, { type: 'not-made', problem: 'ringSize' }],
    tag: 'ended',
    effects: [
      { type: 'send', message: { type: 'failed', code: 'INVALID', message: 'ringSize' } },
      { type: 'exit', code: 1 },
    ],
  },
  {
    name: 'a master that cannot be understood',
    events: [BOOT, { type: 'unreadable', problem: 'type' }],
    tag: 'ended',
    effects: [{ type: 'log' }, { type: 'exit', code: 1 }],
  },
  {
    name: 'the master is gone: it drains, for less than a second',
    events: [BOOT, LOAD, LOADED, SERVE, READY, DISCONNECTED],
    tag: 'draining',
    effects: [
      { type: 'drain', timeoutMs: 700 },
      { type: 'arm-timer', delayMs: 900 },
    ],
  },
  {
    name: 'the master is gone before the start',
    events: [BOOT, DISCONNECTED],
    tag: 'ended',
    effects: [{ type: 'exit', code: 1 }],
  },
  {
    name: 'the IO thread noticed first',
    events: [BOOT, LOAD, LOADED, SERVE, READY, native({ type: 'orphaned' })],
    tag: 'draining',
    effects: [
      { type: 'send', message: { type: 'orphaned' } },
      { type: 'arm-timer', delayMs: 900 },
    ],
  },
  {
    name: 'near its memory limit it says so',
    events: [BOOT, LOAD, LOADED, SERVE, READY, native(memory('near'))],
    tag: 'ready',
    effects: [{ type: 'send', message: memory('near') }],
  },
  {
    name: 'near its memory limit before it is ready: nothing replaces it yet',
    events: [BOOT, LOAD, LOADED, native(memory('near'))],
    tag: 'loaded',
    effects: [],
  },
  {
    name: 'at its memory limit it dies',
    events: [BOOT, LOAD, LOADED, native(memory('limit'))],
    tag: 'ended',
    effects: [
      { type: 'send', message: memory('limit') },
      {
        type: 'log',
        message:
          '99 bytes are resident, which reaches --memory-limit: the process exits to be replaced',
      },
      { type: 'die' },
    ],
  },
  {
    name: 'a reactor that a handler keeps for ever dies',
    events: [BOOT, LOAD, LOADED, SERVE, READY, native({ type: 'stuck' })],
    tag: 'ended',
    effects: [
      {
        type: 'log',
        message:
          'a handler blocks the reactor or its workers and does not stop: the process exits to be replaced',
      },
      { type: 'die' },
    ],
  },
  {
    name: 'an orphan that does not finish dies',
    events: [BOOT, LOAD, LOADED, SERVE, READY, DISCONNECTED, { type: 'timer' }],
    tag: 'ended',
    effects: [{ type: 'die' }],
  },
  {
    name: 'ready after the order to drain is not reported',
    events: [BOOT, LOAD, LOADED, SERVE, DRAIN, READY],
    tag: 'draining',
    effects: [],
  },
  {
    name: 'it loads the next generation when told to',
    events: [BOOT, LOAD, LOADED, SERVE, READY, PREPARE],
    tag: 'ready',
    effects: [{ type: 'prepare', generation: 2 }],
  },
  {
    name: 'it reports that the next generation is loaded',
    events: [BOOT, LOAD, LOADED, SERVE, READY, PREPARE, PREPARED],
    tag: 'ready',
    effects: [{ type: 'send', message: { type: 'prepared', generation: 2, problem: null } }],
  },
  {
    name: 'it reports that it cannot begin to load, and does not switch',
    events: [BOOT, LOAD, LOADED, SERVE, READY, PREPARE, UNPREPARED],
    tag: 'ready',
    effects: [{ type: 'send', message: { type: 'unprepared', generation: 2, reason: 'why' } }],
  },
  {
    name: 'it does not switch to what it could not begin to load',
    events: [BOOT, LOAD, LOADED, SERVE, READY, PREPARE, UNPREPARED, SWITCH],
    tag: 'ready',
    effects: [],
  },
  {
    name: 'it switches when told to',
    events: [BOOT, LOAD, LOADED, SERVE, READY, PREPARE, PREPARED, SWITCH],
    tag: 'ready',
    effects: [{ type: 'switch-over', generation: 2 }],
  },
  {
    name: 'it reports that it has switched',
    events: [BOOT, LOAD, LOADED, SERVE, READY, { type: 'switched', done: true, generation: 2 }],
    tag: 'ready',
    effects: [{ type: 'send', message: { type: 'switched', generation: 2 } }],
  },
  {
    name: 'it cannot switch: a process of the new generation takes its place',
    events: [BOOT, LOAD, LOADED, SERVE, READY, { type: 'switched', done: false, generation: 2 }],
    tag: 'ended',
    effects: [{ type: 'log' }, { type: 'exit', code: 1 }],
  },
  {
    name: 'it discards what it is told to discard',
    events: [BOOT, LOAD, LOADED, SERVE, READY, PREPARE, DISCARD],
    tag: 'ready',
    effects: [{ type: 'discard' }],
  },
  {
    name: 'what was discarded is not reported when it has loaded',
    events: [BOOT, LOAD, LOADED, SERVE, READY, PREPARE, DISCARD, PREPARED],
    tag: 'ready',
    effects: [],
  },
  {
    name: 'it switches only to what it was told to load',
    events: [BOOT, LOAD, LOADED, SERVE, READY, SWITCH],
    tag: 'ready',
    effects: [],
  },
  {
    name: 'a reactor that drains loads nothing',
    events: [BOOT, LOAD, LOADED, SERVE, READY, DRAIN, PREPARE],
    tag: 'draining',
    effects: [],
  },
  {
    name: 'nothing follows the end',
    events: [BOOT, STOP, LOAD],
    tag: 'ended',
    effects: [],
  },
];

for (const { name, events, tag, effects } of rows) {
  t.test(name, async (t) => {
    const last = play(...events);
    t.equal(last.state.tag, tag);
    t.equal(last.effects.length, effects.length);
    t.match(last.effects, effects);
  });
}
