import type { SlotCounters, SlotStats, StatsSnapshot } from '../../shared/native-stats.js';

/** Per second, on average between two samples. */
export interface Rates {
  /** Requests that reached the application. */
  readonly requests: number;
  /** Connections accepted. */
  readonly connections: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

export interface ServerRates {
  readonly total: Rates;
  /** By slot. */
  readonly reactors: ReadonlyMap<number, Rates>;
}

const NOTHING: Rates = { requests: 0, connections: 0, receivedBytes: 0, sentBytes: 0 };

/** `null` if no time has passed. A slot that is new in `later` began with nothing. Pure. */
export function ratesBetween(earlier: StatsSnapshot, later: StatsSnapshot): ServerRates | null {
  const seconds = (later.takenMs - earlier.takenMs) / 1000;
  if (seconds <= 0) return null;
  const before = new Map(earlier.slots.map((slot) => [slot.slot, countsOf(slot.counters)]));
  const perSecond = ({ slot, counters }: SlotStats): [number, Rates] => {
    const now = countsOf(counters);
    const then = before.get(slot) ?? NOTHING;
    return [slot, combine((name) => (now[name] - then[name]) / seconds)];
  };
  const reactors = new Map(later.slots.map(perSecond));
  const all = [...reactors.values()];
  return { total: combine((name) => all.reduce((sum, rates) => sum + rates[name], 0)), reactors };
}

function countsOf(counters: SlotCounters): Rates {
  return {
    requests: counters.requestsByMethod.reduce((all, count) => all + count, 0),
    connections: counters.accepted,
    receivedBytes: counters.bytesIn,
    sentBytes: counters.bytesOut,
  };
}

function combine(valueFor: (name: keyof Rates) => number): Rates {
  return {
    requests: valueFor('requests'),
    connections: valueFor('connections'),
    receivedBytes: valueFor('receivedBytes'),
    sentBytes: valueFor('sentBytes'),
  };
}

const EVERY_MS = 1000;

export interface RateSampler {
  /** Over the last second that was sampled; `null` before there is one. */
  rates(): ServerRates | null;
  close(): void;
}

/** Takes a sample of the stats page every second. */
export function sampleRates(read: () => StatsSnapshot): RateSampler {
  let last = read();
  let rates: ServerRates | null = null;
  const timer = setInterval(() => {
    const now = read();
    rates = ratesBetween(last, now);
    last = now;
  }, EVERY_MS).unref();
  return { rates: () => rates, close: () => clearInterval(timer) };
}
