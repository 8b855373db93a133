import t from 'tap';
import { startServer } from './server.js';

// They exit within milliseconds, and the system reports several exits to the master at once. A
// master that judges an exit before it has read the last messages sees a crash in a third of the
// drains.
t.test('reactors that exit at the same time have all drained', async (t) => {
  for (let i = 0; i < 3; i++) {
    const server = await startServer(t, { processes: 12, args: ['--threads', '0'] });
    t.strictSame(await server.stop(), { code: 0, signal: null });
  }
});
