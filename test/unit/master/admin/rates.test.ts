import t from 'tap';
import { ratesBetween } from '../../../../src/master/admin/rates.js';
import type { StatsSnapshot } from '../../../../src/shared/native-stats.js';
import { snapshot } from './stats-fixture.js';

/** The fixture, `afterMs` later; in slot 1 `more` of everything has happened. */
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

const NOTHING = { requests: 0, connections: 0, receivedBytes: 0, sentBytes: 0 };

t.test('increments per second, per reactor and in total', async (t) => {
  const rates = ratesBetween(snapshot, later(500, 10));
  // Two methods, each 10 more.
  const busy = { requests: 40, connections: 20, receivedBytes: 20, sentBytes: 20 };
  t.strictSame(rates?.total, busy);
  t.strictSame(rates?.reactors.get(0), NOTHING);
  t.strictSame(rates?.reactors.get(1), busy);
});

t.test('a reactor that was not there before began with nothing', async (t) => {
  const [first] = snapshot.slots;
  const one = { ...snapshot, slots: first === undefined ? [] : [first] };
  t.equal(ratesBetween(one, later(1000, 0))?.reactors.get(1)?.connections, 5);
});

t.test('without time between them there is no rate', async (t) => {
  t.equal(ratesBetween(snapshot, snapshot), null);
});
