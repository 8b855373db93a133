import t from 'tap';
import { silentChildren } from '../../../../src/master/supervisor/liveness.js';
import { snapshot } from '../admin/stats-fixture.js';
import { playServing } from './supervisor-play.js';

t.test('who has been silent for longer than the grace, and what they serve', async (t) => {
  const { children } = playServing(2).state();
  t.match(silentChildren(snapshot, children, 500), [
    { child: { id: 2 }, silentMs: 1000, serving: [{ path: '/slow', forMs: 200 }] },
  ]);
  t.strictSame(silentChildren(snapshot, children, 1000), []);
  t.strictSame(silentChildren(snapshot, children, 0), []);
});
