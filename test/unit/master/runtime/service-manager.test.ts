import t from 'tap';
import { inheritedListeners } from '../../../../src/master/runtime/service-manager.js';

t.test('descriptors from 3 on, if LISTEN_PID is this process', async (t) => {
  t.strictSame(inheritedListeners({ LISTEN_FDS: '2', LISTEN_PID: '7' }, 7), [3, 4]);
  t.strictSame(inheritedListeners({ LISTEN_FDS: '2', LISTEN_PID: '8' }, 7), []);
  t.strictSame(inheritedListeners({ LISTEN_FDS: '2' }, 7), []);
  for (const count of ['', '0', '-1', 'x', '1.5', '65']) {
    t.strictSame(inheritedListeners({ LISTEN_FDS: count, LISTEN_PID: '7' }, 7), [], count);
  }
});
