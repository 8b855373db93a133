import t from 'tap';
import { ratesBetween } from '../../../../src/master/admin/rates.js';
import type { StatsSnapshot } from '../../../../src/shared/native-stats.js';
import { snapshot, statsLayout } from './stats-fixture.js';

/** The fixture, `afterMs` later; in slot 1 every counter has grown by `more`. */
function later(afterMs: number, more: number): StatsSnapshot {
  const [first, second] = snapshot.slots;
  if (first === undefined || second === undefined) throw new TypeError('the fixture has two slots');
  const { counters } = second;
  const grown = {
    ...counters,
    requestsByMethod: counters.requestsByMethod.map((count) => count + more),
    accepted: counters.accepted + more,
    bytesIn: counters.bytesIn + more,
    bytesOut: counters.bytesOut + more,
  };
  return { takenMs: snapshot.takenMs + afterMs, slots: [first, { ...second, counters: grown }] };
}

const NO_LATENCY = { p50Ms: null, p99Ms: null };
const NOTHING = { requests: 0, connections: 0, receivedBytes: 0, sentBytes: 0, ...NO_LATENCY };
const { latencyBuckets: bounds } = statsLayout;

t.test('increments per second, per reactor and in total', async (t) => {
  const rates = ratesBetween(snapshot, later(500, 10), bounds);
  // Two methods, each 10 more.
  const busy = { requests: 40, connections: 20, receivedBytes: 20, sentBytes: 20, ...NO_LATENCY };
  t.strictSame(rates?.total, busy);
  t.strictSame(rates?.reactors.get(0), NOTHING);
  t.strictSame(rates?.reactors.get(1), busy);
});

t.test('a new reactor starts from zero', async (t) => {
  const [first] = snapshot.slots;
  const one = { ...snapshot, slots: first === undefined ? [] : [first] };
  t.equal(ratesBetween(one, later(1000, 0), bounds)?.reactors.get(1)?.connections, 5);
});

t.test('without elapsed time there is no rate', async (t) => {
  t.equal(ratesBetween(snapshot, snapshot, bounds), null);
});

/** One second later; in slot 1 these responses have been sent, by bucket. */
function sent(counts: readonly number[]): StatsSnapshot {
  const { slots, takenMs } = later(1000, 0);
  const grown = slots.map((slot) => {
    const [first, ...rest] = slot.counters.latencies;
    if (slot.slot !== 1 || first === undefined) return slot;
    const more = first.counts.map((count, i) => count + (counts[i] ?? 0));
    return {
      ...slot,
      counters: { ...slot.counters, latencies: [{ ...first, counts: more }, ...rest] },
    };
  });
  return { takenMs, slots: grown };
}

t.test('quantiles count only the responses between the samples', async (t) => {
  const cases: [number[], number | null, number | null][] = [
    [[0, 0, 0], null, null],
    // The bounds are 1 ms and 1 s: in the middle of the first bucket, and at its end.
    [[100, 0, 0], 0.5, 0.99],
    [[50, 50, 0], 1, 1 + 999 * 0.98],
    [[0, 0, 10], 1000, 1000],
  ];
  for (const [counts, p50Ms, p99Ms] of cases) {
    const rates = ratesBetween(snapshot, sent(counts), bounds);
    const { p50Ms: half, p99Ms: most } = rates?.reactors.get(1) ?? NO_LATENCY;
    const rounded = [half, most].map((each) => each && Math.round(each * 1e6) / 1e6);
    t.strictSame(rounded, [p50Ms, p99Ms && Math.round(p99Ms * 1e6) / 1e6], String(counts));
    t.equal(rates?.total.p99Ms, most, 'one reactor is all');
  }
});
