import type {
  ChildExit,
  ChildId,
  ChildMessage,
  Effect,
  Order,
  Prepared,
  SlotState,
  SupervisorSettings,
  SupervisorState,
  Timer,
} from '../../../../src/master/supervisor/state.js';
import { initialState } from '../../../../src/master/supervisor/state.js';
import { step } from '../../../../src/master/supervisor/supervisor.js';
import { PROTOCOL_VERSION } from '../../../../src/shared/messages.js';
import type { MemoryMark } from '../../../../src/shared/native.js';
import type { MasterSignal } from '../../../../src/shared/signals.js';
import { reactorOptions } from '../../reactor-options.js';

const {
  index: _index,
  statsSlot: _slot,
  statsSide: _side,
  generation: _generation,
  pinCpu: _pin,
  ...reactorSettings
} = reactorOptions;

export { reactorSettings };

export const SETTINGS: SupervisorSettings = {
  reactor: reactorSettings,
  appFd: 21,
  build: 'first',
  pin: false,
  minReactors: 1,
  startTimeoutMs: 20_000,
  exitTimeoutMs: 2000,
  stopTimeoutMs: 500,
  drainDelayMs: 0,
  drainTimeoutMs: 30_000,
  crashes: {
    maxFailedStarts: 3,
    maxCrashes: 4,
    windowMs: 60_000,
    baseMs: 100,
    capMs: 1000,
    loopCapMs: 8000,
  },
  renewals: { windowMs: 60_000, baseMs: 10_000, capMs: 30_000 },
};

export interface Driver {
  /** The effects of a step as short texts, without `log`. */
  readonly boot: () => string[];
  readonly say: (child: ChildId, message: ChildMessage) => string[];
  readonly hello: (child: ChildId) => string[];
  readonly loaded: (child: ChildId) => string[];
  readonly ready: (child: ChildId) => string[];
  readonly drained: (child: ChildId) => string[];
  readonly exit: (child: ChildId, exit?: Partial<ChildExit>) => string[];
  readonly silent: (child: ChildId) => string[];
  /** The reactor is near its memory limit, or has reached it. */
  readonly memory: (child: ChildId, mark?: MemoryMark) => string[];
  readonly order: (order: Order) => string[];
  /** The result of `prepare`; without a problem, configuration and handler are valid. */
  readonly prepared: (problem?: string) => string[];
  readonly preparedWith: (settings: Partial<SupervisorSettings>) => string[];
  /** The same, if only Lua files have changed. */
  readonly preparedLua: (appFd: number) => string[];
  /** The time to load them has expired. */
  readonly reloadTimer: () => string[];
  readonly childTimer: (child: ChildId) => string[];
  readonly state: () => SupervisorState;
  readonly disconnect: (child: ChildId) => string[];
  readonly unreadable: (child: ChildId) => string[];
  readonly signal: (signal: MasterSignal) => string[];
  readonly timer: (slot: number | 'delay', lateMs?: number) => string[];
  readonly wait: (durationMs: number) => void;
  readonly tags: () => SlotState['tag'][];
  readonly phase: () => SupervisorState['phase']['tag'];
  /** All effects so far. */
  readonly effects: readonly Effect[];
}

/** A supervisor whose clock moves only with `wait`, and whose random numbers are all 0. */
export function drive(processes: number, settings: Partial<SupervisorSettings> = {}): Driver {
  let state = initialState({ ...SETTINGS, ...settings }, processes);
  let nowMs = 1000;
  const effects: Effect[] = [];

  function send(event: Parameters<typeof step>[1]): string[] {
    const next = step(state, event);
    state = next.state;
    effects.push(...next.effects);
    return next.effects.flatMap(wordsOf);
  }
  const say = (child: ChildId, message: ChildMessage) => send({ type: 'message', child, message });
  const prepared = (result: Prepared) => send({ type: 'prepared', result });
  const preparedWith = (changed: Partial<SupervisorSettings>) =>
    prepared({ ok: true, onlyLua: false, settings: { ...SETTINGS, ...settings, ...changed } });

  return {
    boot: () => send({ type: 'boot' }),
    say,
    hello: (child) => say(child, { type: 'hello', protocol: PROTOCOL_VERSION, pid: 100 + child }),
    loaded: (child) => say(child, { type: 'loaded' }),
    ready: (child) => say(child, { type: 'ready', allocator: 'system' }),
    drained: (child) => say(child, { type: 'drained' }),
    exit: (child, exit = {}) => {
      const whole = { pid: 100 + child, code: 0, signal: null, ...exit };
      return send({
        type: 'exited',
        child,
        exit: whole,
        serving: [],
        waiting: 0,
        nowMs,
        random: 0,
      });
    },
    silent: (child) => send({ type: 'heartbeat-lost', child, silentMs: 70_000, serving: [] }),
    memory: (child, mark = 'near') =>
      send({ type: 'memory', child, mark, residentBytes: 85_000_000, nowMs }),
    order: (order) => send({ type: 'order', order }),
    prepared: (problem) =>
      problem === undefined
        ? preparedWith({})
        : prepared({ ok: false, failure: { code: 'ERR_MOONRING_HANDLER', message: problem } }),
    preparedWith,
    preparedLua: (appFd) =>
      prepared({ ok: true, onlyLua: true, settings: { ...SETTINGS, ...settings, appFd } }),
    reloadTimer: () => send({ type: 'timer', timer: { type: 'reload' }, lateMs: 0 }),
    childTimer: (child) => send({ type: 'timer', timer: { type: 'child', child }, lateMs: 0 }),
    state: () => state,
    disconnect: (child) => send({ type: 'disconnected', child, nowMs, random: 0 }),
    unreadable: (child) => send({ type: 'unreadable', child, problem: 'not a message' }),
    signal: (signal) => send({ type: 'signal', signal, nowMs }),
    timer: (slot, lateMs = 0) => {
      const timer =
        slot === 'delay' ? ({ type: 'delay' } as const) : ({ type: 'slot', slot } as const);
      return send({ type: 'timer', timer, lateMs });
    },
    wait: (durationMs) => {
      nowMs += durationMs;
    },
    tags: () => state.slots.map((slot) => slot.state.tag),
    phase: () => state.phase.tag,
    effects,
  };
}

/** The messages of a process from start to ready. */
export function begin(driver: Driver, child: ChildId): void {
  driver.hello(child);
  driver.loaded(child);
  driver.ready(child);
}

/** A reload up to the point where these successors have loaded. */
export function loadSuccessors(driver: Driver, ...children: readonly ChildId[]): void {
  driver.signal('SIGHUP');
  driver.prepared();
  for (const child of children) {
    driver.hello(child);
    driver.loaded(child);
  }
}

/** Numbers in [0, below) that are the same in each run of a test. */
export function pseudoRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

/** A supervisor whose reactors are all ready: child 1 in slot 0, child 2 in slot 1 and so on. */
export function driveServing(processes: number, settings?: Partial<SupervisorSettings>): Driver {
  const driver = drive(processes, settings);
  driver.boot();
  for (let child = 1; child <= processes; child++) begin(driver, child);
  return driver;
}

/** Effects other than on processes and timers are tested separately. */
function wordsOf(effect: Effect): string[] {
  switch (effect.type) {
    case 'fork':
      return [`fork ${effect.child} in ${effect.slot}`];
    case 'send':
      return [`send ${effect.child} ${effect.message.type}`];
    case 'kill':
    case 'abort':
      return [`${effect.type} ${effect.child}`];
    case 'arm-timer':
      return [`arm ${timerName(effect.timer)} ${effect.delayMs}`];
    case 'cancel-timer':
      return [`cancel ${timerName(effect.timer)}`];
    case 'announce-ready':
      return [`ready ${effect.allocator}`];
    case 'exit':
      return effect.failure === null
        ? ['exit']
        : [`exit ${effect.failure.code}: ${effect.failure.message}`];
    case 'prepare-reload':
      return ['prepare'];
    case 'reloaded':
      return [
        `reloaded ${effect.generation}${effect.failure === null ? '' : `: ${effect.failure.message}`}`,
      ];
    case 'close-slot':
    case 'reclaim-slot':
      return [`${effect.type} ${effect.slot}`];
    case 'close-app':
    case 'log':
    case 'slot-up':
    case 'close-listeners':
    case 'reopen-logs':
    case 'announce-stopping':
      return [];
  }
}

function timerName(timer: Timer): string {
  switch (timer.type) {
    case 'slot':
      return `${timer.slot}`;
    case 'child':
      return `child ${timer.child}`;
    case 'delay':
    case 'reload':
      return timer.type;
  }
}
