import type { SlotCounters, StatsSnapshot } from '../../shared/native-stats.js';

/** Between two samples; counts are per second, on average. */
export interface Rates extends Counts {
  /**
   * p50 and p99 in milliseconds, from the first byte of a request to the last byte of its response
   * in the kernel. Interpolated within a bucket of the histogram; values beyond all bounds count as
   * the last bound. `null`: no response.
   */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
}

interface Counts {
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

const NOTHING: Counts = { requests: 0, connections: 0, receivedBytes: 0, sentBytes: 0 };

/**
 * `null` if no time has passed. A slot that is new in `later` started at zero. `bounds` are those
 * of the latency histograms, in seconds. Pure.
 */
export function ratesBetween(
  earlier: StatsSnapshot,
  later: StatsSnapshot,
  bounds: readonly number[],
): ServerRates | null {
  const seconds = (later.takenMs - earlier.takenMs) / 1000;
  if (seconds <= 0) return null;
  const before = new Map(earlier.slots.map(({ slot, counters }) => [slot, counters]));
  const slots = later.slots.map(({ slot, counters }) => {
    const then = before.get(slot);
    const [now, first] = [countsOf(counters), then === undefined ? NOTHING : countsOf(then)];
    return {
      slot,
      counts: combine((name) => (now[name] - first[name]) / seconds),
      latencies: latenciesBetween(then, counters, bounds.length + 1),
    };
  });
  const all = slots.map(({ latencies }) => latencies);
  return {
    total: {
      ...combine((name) => slots.reduce((sum, { counts }) => sum + counts[name], 0)),
      ...quantiles(addLists(all, bounds.length + 1), bounds),
    },
    reactors: new Map(
      slots.map(({ slot, counts, latencies }) => [
        slot,
        { ...counts, ...quantiles(latencies, bounds) },
      ]),
    ),
  };
}

function countsOf(counters: SlotCounters): Counts {
  return {
    requests: counters.requestsByMethod.reduce((all, count) => all + count, 0),
    connections: counters.accepted,
    receivedBytes: counters.bytesIn,
    sentBytes: counters.bytesOut,
  };
}

function combine(valueFor: (name: keyof Counts) => number): Counts {
  return {
    requests: valueFor('requests'),
    connections: valueFor('connections'),
    receivedBytes: valueFor('receivedBytes'),
    sentBytes: valueFor('sentBytes'),
  };
}

/** Responses by bucket, whatever their method and status. */
function latenciesBetween(
  earlier: SlotCounters | undefined,
  later: SlotCounters,
  buckets: number,
): number[] {
  const [before, now] = [earlier?.latencies ?? [], later.latencies].map((series) =>
    addLists(
      series.map(({ counts }) => counts),
      buckets,
    ),
  );
  return Array.from({ length: buckets }, (_, i) => (now?.[i] ?? 0) - (before?.[i] ?? 0));
}

function addLists(lists: readonly (readonly number[])[], length: number): number[] {
  return Array.from({ length }, (_, i) => lists.reduce((all, list) => all + (list[i] ?? 0), 0));
}

function quantiles(counts: readonly number[], bounds: readonly number[]) {
  return { p50Ms: quantileMs(0.5, counts, bounds), p99Ms: quantileMs(0.99, counts, bounds) };
}

/** Like `histogram_quantile` of Prometheus. */
function quantileMs(
  share: number,
  counts: readonly number[],
  bounds: readonly number[],
): number | null {
  const rank = share * counts.reduce((all, count) => all + count, 0);
  if (rank === 0) return null;
  let below = 0;
  for (const [i, upper] of bounds.entries()) {
    const count = counts[i] ?? 0;
    if (below + count >= rank) {
      const lower = bounds[i - 1] ?? 0;
      return 1000 * (lower + ((upper - lower) * (rank - below)) / count);
    }
    below += count;
  }
  return 1000 * (bounds.at(-1) ?? 0);
}

const EVERY_MS = 1000;

export interface RateSampler {
  /** Over the last sampled second; `null` before there is one. */
  rates(): ServerRates | null;
  close(): void;
}

/** Takes a sample of the stats page every second. */
export function sampleRates(read: () => StatsSnapshot, bounds: readonly number[]): RateSampler {
  let last = read();
  let rates: ServerRates | null = null;
  const timer = setInterval(() => {
    const now = read();
    rates = ratesBetween(last, now, bounds);
    last = now;
  }, EVERY_MS).unref();
  return { rates: () => rates, close: () => clearInterval(timer) };
}
