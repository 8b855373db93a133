import t from 'tap';
import {
  FIRST_STATE,
  type LifecycleEvent,
  type LifecycleStep,
  type ReactorState,
  step,
} from '../../../src/reactor/lifecycle.js';
import type { ToReactor } from '../../../src/shared/messages.js';
import type { ReactorEvent } from '../../../src/shared/native.js';
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
const START = message({ type: 'start', options: reactorOptions });
const READY = native({ type: 'ready' });
const DRAIN = message({ type: 'drain', timeoutMs: 500 });
const STOP = message({ type: 'stop' });
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
    name: 'it starts when told to',
    events: [BOOT, START],
    tag: 'starting',
    effects: [{ type: 'start', options: reactorOptions }],
  },
  { name: 'it starts once', events: [BOOT, START, START], tag: 'starting', effects: [] },
  {
    name: 'it reports ready, with its allocator',
    events: [BOOT, START, READY],
    tag: 'ready',
    effects: [{ type: 'send', message: { type: 'ready', allocator: 'system' } }],
  },
  {
    name: 'it drains',
    events: [BOOT, START, READY, DRAIN],
    tag: 'draining',
    effects: [{ type: 'drain', timeoutMs: 500 }],
  },
  {
    name: 'it reports the drain and ends',
    events: [BOOT, START, READY, DRAIN, native({ type: 'drained' })],
    tag: 'ended',
    effects: [
      { type: 'send', message: { type: 'drained' } },
      { type: 'exit', code: 0 },
    ],
  },
  {
    name: 'what it had to cut it tells before the end',
    events: [BOOT, START, READY, DRAIN, native({ type: 'cut' })],
    tag: 'draining',
    effects: [{ type: 'send', message: { type: 'cut' } }],
  },
  {
    name: 'it stops',
    events: [BOOT, START, READY, DRAIN, STOP],
    tag: 'ended',
    effects: [{ type: 'stop' }, { type: 'exit', code: 0 }],
  },
  {
    name: 'told to drain or stop before it was started, it ends',
    events: [BOOT, DRAIN],
    tag: 'ended',
    effects: [{ type: 'exit', code: 0 }],
  },
  {
    name: 'the same for stop',
    events: [BOOT, STOP],
    tag: 'ended',
    effects: [{ type: 'exit', code: 0 }],
  },
  {
    name: 'a failed start is reported',
    events: [BOOT, START, native({ type: 'failed', code: 'HANDLER', message: 'a.lua:1: no' })],
    tag: 'ended',
    effects: [
      { type: 'send', message: { type: 'failed', code: 'HANDLER', message: 'a.lua:1: no' } },
      { type: 'exit', code: 1 },
    ],
  },
  {
    name: 'a reactor that cannot even be made is reported',
    events: [BOOT, START, { type: 'not-made', problem: 'ringSize' }],
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
    events: [BOOT, START, READY, DISCONNECTED],
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
    events: [BOOT, START, READY, native({ type: 'orphaned' })],
    tag: 'draining',
    effects: [
      { type: 'send', message: { type: 'orphaned' } },
      { type: 'arm-timer', delayMs: 900 },
    ],
  },
  {
    name: 'a reactor that a handler keeps for ever dies',
    events: [BOOT, START, READY, native({ type: 'stuck' })],
    tag: 'ended',
    effects: [
      {
        type: 'log',
        message: 'a handler keeps the reactor and does not stop: the process ends, to be replaced',
      },
      { type: 'die' },
    ],
  },
  {
    name: 'an orphan that does not finish dies',
    events: [BOOT, START, READY, DISCONNECTED, { type: 'timer' }],
    tag: 'ended',
    effects: [{ type: 'die' }],
  },
  {
    name: 'ready after the order to drain is not reported',
    events: [BOOT, START, DRAIN, READY],
    tag: 'draining',
    effects: [],
  },
  {
    name: 'nothing follows the end',
    events: [BOOT, STOP, START],
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
