import t from 'tap';
import {
  attentionAt,
  lostHeartbeats,
  processOf,
  waitingOf,
} from '../../../../src/master/supervisor/liveness.js';
import { snapshot } from '../admin/stats-fixture.js';
import { driveServing } from './driver.js';

const { children } = driveServing(2).state();
const ALWAYS_AWAKE = { awakeSinceMs: 0 };

t.test('reactors whose heartbeat is older than the grace, and what they serve', async (t) => {
  t.match(lostHeartbeats(snapshot, children, { graceMs: 500, ...ALWAYS_AWAKE }), [
    { child: { id: 2 }, silentMs: 1000, serving: [{ path: '/slow', forMs: 200 }] },
  ]);
  t.strictSame(lostHeartbeats(snapshot, children, { graceMs: 1000, ...ALWAYS_AWAKE }), []);
  t.strictSame(lostHeartbeats(snapshot, children, { graceMs: 0, ...ALWAYS_AWAKE }), []);
});

t.test('after a pause of the master the grace starts again', async (t) => {
  const everyMs = 250;
  const before = { lookedAtMs: snapshot.takenMs - 4000, awakeSinceMs: 0 };
  const { awakeSinceMs } = attentionAt(snapshot.takenMs, everyMs, before);
  t.strictSame(lostHeartbeats(snapshot, children, { graceMs: 500, awakeSinceMs }), []);
  const later = { ...snapshot, takenMs: snapshot.takenMs + 501 };
  t.match(lostHeartbeats(later, children, { graceMs: 500, awakeSinceMs }), [{ silentMs: 501 }, {}]);
});

t.test('a check that is only slightly late is not a pause', async (t) => {
  const before = { lookedAtMs: 1000, awakeSinceMs: 7 };
  t.equal(attentionAt(1400, 250, before).awakeSinceMs, 7);
  t.equal(attentionAt(1501, 250, before).awakeSinceMs, 1501);
});

t.test('requests that handlers have but no thread serves', async (t) => {
  const states = ['idle', 'handling'];
  const stats = processOf(snapshot, { slot: 0, side: 0 });
  if (stats === null) throw new Error('the fixture has a process in slot 0');
  const busy = { ...stats, connections: [7, 3] };
  const serving = [0, 1].map((thread) => ({ thread, method: 'GET', path: '/', forMs: 1 }));
  t.equal(waitingOf(busy, states, serving), 2, 'that of the I/O thread is not handled elsewhere');
  t.equal(waitingOf(busy, states, []), 3);
  t.equal(waitingOf({ ...stats, connections: [7, 0] }, states, serving), 0);
  t.equal(waitingOf(null, states, []), 0);
});
