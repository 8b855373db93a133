import t from 'tap';
import { scalingProblem } from '../../../../src/master/supervisor/supervisor.js';
import { begin, type Driver, driveServing } from './driver.js';

const NEAR = 'reactor is near its memory limit: replacing it';

function logged(driver: Driver, message: string | RegExp): unknown[] {
  return driver.effects.flatMap((effect) =>
    effect.type === 'log' && effect.message.match(message) !== null ? [effect] : [],
  );
}

/** The child near its limit gets a successor, which takes over. */
function renewed(driver: Driver, child: number, successor: number): void {
  driver.memory(child);
  begin(driver, successor);
  driver.drained(child);
  driver.exit(child);
}

t.test('a reactor near its limit is replaced once its successor has loaded', async (t) => {
  const driver = driveServing(2);
  t.strictSame(driver.memory(1), ['fork 3 in 0', 'arm child 3 20000']);
  t.match(logged(driver, NEAR), [
    {
      level: 'warn',
      fields: { reactor: 0, reactorPid: 101, residentBytes: 85_000_000, limitBytes: 100_000_000 },
    },
  ]);
  t.strictSame(driver.tags(), ['ready', 'ready'], 'it serves meanwhile');
  driver.hello(3);
  t.strictSame(driver.loaded(3), ['cancel child 3', 'send 3 serve', 'arm child 3 20000']);
  t.strictSame(driver.ready(3), [
    'cancel child 3',
    'cancel 0',
    'send 1 hand-over',
    'arm child 1 32000',
  ]);
  driver.drained(1);
  t.strictSame(driver.exit(1), ['cancel child 1']);
  t.strictSame(driver.tags(), ['ready', 'ready']);
  t.match(driver.state().restarts, { memory: 1, signal: 0 });
  t.strictSame(logged(driver, 'reactor crashed'), []);
});

t.test('repeated reports from several reactors: one after the other', async (t) => {
  const driver = driveServing(2);
  driver.memory(1);
  t.strictSame(driver.memory(1), []);
  t.strictSame(driver.memory(2), [], 'one successor at a time');
  begin(driver, 3);
  t.strictSame(driver.memory(1), [], 'it leaves already');
  t.strictSame(driver.memory(2), ['fork 4 in 1', 'arm child 4 20000']);
});

t.test('a reactor that uses too much from its start is replaced less and less often', async (t) => {
  const driver = driveServing(1);
  renewed(driver, 1, 2);
  driver.wait(1000);
  t.strictSame(driver.memory(2), []);
  t.strictSame(driver.memory(2), []);
  const [told, ...more] = logged(driver, /again soon after it was replaced/);
  t.match(told, { level: 'error', fields: { reactor: 0, againInMs: 9000 } });
  t.strictSame(more, [], 'told once');
  driver.wait(9000);
  renewed(driver, 2, 3);
  driver.wait(10_000);
  t.strictSame(driver.memory(3), [], 'the delay doubles');
  driver.wait(10_000);
  renewed(driver, 3, 4);
  driver.wait(100_000);
  renewed(driver, 4, 5);
  driver.wait(60_000);
  renewed(driver, 5, 6);
  t.match(driver.state().restarts, { memory: 5 });
});

t.test('a successor that does not load does not affect the serving reactor', async (t) => {
  const driver = driveServing(1);
  driver.memory(1);
  driver.hello(2);
  driver.say(2, { type: 'failed', code: 'HANDLER', message: 'app.lua:1: no' });
  driver.exit(2, { code: 1 });
  t.match(logged(driver, /cannot be replaced/), [
    { level: 'error', fields: { reactor: 0, reason: /app\.lua:1: no/ } },
  ]);
  t.strictSame(driver.tags(), ['ready']);
  t.equal(scalingProblem(driver.state(), 2), null);
});

t.test('a reactor that crashes while it is being replaced: its successor takes over', async (t) => {
  const driver = driveServing(1);
  driver.memory(1);
  driver.hello(2);
  t.equal(scalingProblem(driver.state(), 2), 'a reactor is being replaced');
  t.strictSame(driver.disconnect(1), ['arm 0 2000']);
  t.strictSame(driver.exit(1, { code: null, signal: 'SIGKILL' }), [
    'cancel child 2',
    'arm 0 20000',
  ]);
  t.strictSame(driver.loaded(2), ['send 2 serve']);
  driver.ready(2);
  t.strictSame(driver.tags(), ['ready']);
  t.equal(driver.state().children.length, 1);
});

t.test('at the limit it exits by itself, and the reason is reported', async (t) => {
  const driver = driveServing(1);
  t.strictSame(driver.memory(1, 'limit'), []);
  t.strictSame(driver.exit(1, { code: null, signal: 'SIGKILL' }), ['fork 2 in 0', 'arm 0 20000']);
  t.match(logged(driver, 'reactor crashed'), [{ fields: { reactor: 0, reason: 'memory' } }]);
  t.match(driver.state().restarts, { memory: 1, signal: 0 });
});

t.test('a reload replaces the reactor anyway', async (t) => {
  const driver = driveServing(1);
  driver.memory(1);
  driver.hello(2);
  driver.signal('SIGHUP');
  t.strictSame(driver.prepared(), ['cancel child 2', 'kill 2', 'fork 3 in 0', 'arm child 3 20000']);
  t.strictSame(driver.memory(1), [], 'not during a reload');
  driver.exit(2, { code: null, signal: 'SIGKILL' });
  begin(driver, 3);
  t.match(driver.effects.at(-1), { type: 'reloaded', failure: null, generation: 2 });
  driver.drained(1);
  driver.exit(1);
  t.strictSame(driver.tags(), ['ready']);
});

t.test('a reload of Lua files waits for a successor that is already serving', async (t) => {
  const driver = driveServing(1);
  driver.memory(1);
  driver.hello(2);
  driver.loaded(2);
  driver.signal('SIGHUP');
  t.strictSame(driver.preparedLua(22), [], 'it takes new processes then');
  driver.ready(2);
  t.equal(driver.state().children.filter(({ role }) => role === 'successor').length, 1);
});

t.test('a drain dismisses its successor', async (t) => {
  const driver = driveServing(1);
  driver.memory(1);
  driver.hello(2);
  const drain = driver.signal('SIGTERM');
  t.ok(drain.includes('kill 2') && drain.includes('send 1 drain'));
  driver.exit(2, { code: null, signal: 'SIGKILL' });
  driver.drained(1);
  t.equal(driver.exit(1).at(-1), 'exit');
});
