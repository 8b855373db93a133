import t from 'tap';
import { scalingProblem } from '../../../../src/master/supervisor/supervisor.js';
import { begin, driveServing } from './driver.js';

t.test('scaling up starts new slots only', async (t) => {
  const driver = driveServing(1);
  t.strictSame(driver.order({ type: 'scale', processes: 3 }), [
    'fork 2 in 1',
    'arm 1 20000',
    'fork 3 in 2',
    'arm 2 20000',
  ]);
  begin(driver, 2);
  t.strictSame(driver.tags(), ['ready', 'ready', 'starting']);
});

t.test('scaling down: the last slots hand over, and can be started again', async (t) => {
  const driver = driveServing(3);
  t.strictSame(driver.order({ type: 'scale', processes: 1 }), [
    'close-slot 1',
    'send 2 hand-over',
    'arm 1 32000',
    'close-slot 2',
    'send 3 hand-over',
    'arm 2 32000',
  ]);
  t.strictSame(driver.order({ type: 'scale', processes: 2 }), [], 'one order after the other');
  driver.drained(2);
  t.strictSame(driver.exit(2), ['cancel 1', 'reclaim-slot 1']);
  driver.drained(3);
  driver.exit(3);
  t.strictSame(driver.tags(), ['ready', 'stopped', 'stopped']);
  t.strictSame(driver.order({ type: 'scale', processes: 2 }), ['fork 4 in 1', 'arm 1 20000']);
});

t.test('a slot in backoff that is scaled down is not restarted', async (t) => {
  const driver = driveServing(2);
  driver.exit(2, { code: 1 });
  driver.exit(3, { code: 1 });
  t.strictSame(driver.tags(), ['ready', 'backoff']);
  t.strictSame(driver.order({ type: 'scale', processes: 1 }), [
    'close-slot 1',
    'cancel 1',
    'reclaim-slot 1',
  ]);
  t.strictSame(driver.signal('SIGTERM'), ['cancel delay', 'send 1 drain', 'arm 0 32000']);
  driver.drained(1);
  t.strictSame(driver.exit(1), ['cancel 0', 'exit']);
});

t.test('a slot that was told to serve hands over, ready or not', async (t) => {
  const driver = driveServing(1);
  driver.order({ type: 'scale', processes: 3 });
  driver.hello(2);
  driver.hello(3);
  driver.loaded(3);
  t.strictSame(driver.order({ type: 'scale', processes: 1 }), [
    'close-slot 1',
    'kill 2',
    'cancel 1',
    'close-slot 2',
    'send 3 hand-over',
    'arm 2 32000',
  ]);
  t.strictSame(driver.ready(3), [], 'its word was under way');
});

t.test('no scaling during a reload', async (t) => {
  const driver = driveServing(1);
  driver.signal('SIGHUP');
  t.strictSame(driver.order({ type: 'scale', processes: 2 }), []);
});

t.test('a slot that was scaled down and still has requests drains with the others', async (t) => {
  const driver = driveServing(2);
  driver.order({ type: 'scale', processes: 1 });
  t.strictSame(driver.signal('SIGTERM'), [
    'cancel delay',
    'send 1 drain',
    'arm 0 32000',
    'send 2 drain',
    'arm 1 32000',
  ]);
  for (const child of [1, 2]) driver.drained(child);
  driver.exit(1);
  t.equal(driver.exit(2).at(-1), 'exit');
});

t.test('a slot scaled down during drain-delay returns its inbox', async (t) => {
  const driver = driveServing(2, { drainDelayMs: 5000 });
  driver.order({ type: 'scale', processes: 1 });
  driver.signal('SIGTERM');
  driver.drained(2);
  t.strictSame(driver.exit(2), ['cancel 1', 'reclaim-slot 1']);
});

t.test('an invalid number is rejected with a reason, and changes nothing', async (t) => {
  const driver = driveServing(3, { minReactors: 2 });
  for (const processes of [0, -1, 1.5, Number.NaN, Infinity]) {
    t.equal(
      scalingProblem(driver.state(), processes),
      'processes must be a whole number of at least 1',
    );
    t.strictSame(driver.order({ type: 'scale', processes }), [], `${processes}`);
  }
  t.equal(scalingProblem(driver.state(), 1), '--min-reactors is 2');
  t.equal(scalingProblem(driver.state(), 2), null);
  t.strictSame(driver.tags(), ['ready', 'ready', 'ready']);
});
