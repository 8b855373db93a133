import t from 'tap';
import { driveServing, loadSuccessors } from './driver.js';

t.test('a reactor whose heartbeat is lost is aborted, killed, and replaced', async (t) => {
  const driver = driveServing(2);
  t.strictSame(driver.silent(1), ['abort 1', 'arm 0 2000']);
  t.strictSame(driver.silent(1), [], 'once');
  t.strictSame(driver.timer(0), ['kill 1']);
  t.strictSame(driver.exit(1, { code: null, signal: 'SIGKILL' }), ['fork 3 in 0', 'arm 0 20000']);
  t.match(driver.state().restarts, { stuck: 1, signal: 0 });
  t.strictSame(driver.tags(), ['starting', 'ready'], 'the other one is left alone');
});

t.test('the start timeout applies to a reactor that is being started', async (t) => {
  const driver = driveServing(1);
  driver.exit(1, { code: 1 });
  t.strictSame(driver.silent(2), []);
});

t.test('a replaced reactor that is stuck is aborted too', async (t) => {
  const driver = driveServing(1);
  loadSuccessors(driver, 2);
  driver.ready(2);
  t.strictSame(driver.silent(1), ['abort 1', 'arm child 1 2000']);
  t.strictSame(driver.childTimer(1), ['kill 1']);
  t.strictSame(driver.exit(1, { code: null, signal: 'SIGKILL' }), ['cancel child 1']);
  t.match(driver.state().restarts, { stuck: 0 }, 'no process was replaced');
});
