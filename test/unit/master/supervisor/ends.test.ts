import t from 'tap';
import { begin, type Driver, drive, driveServing, loadSuccessors } from './driver.js';

const KILLED = { code: null, signal: 'SIGKILL' } as const;
const CUT = 'exit ERR_MOONRING_DRAIN: a second signal';

for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) {
  t.test(`${signal} drains; when all have drained and exited, exit without an error`, async (t) => {
    const driver = driveServing(2);
    t.strictSame(driver.signal(signal), [
      'cancel delay',
      'send 1 drain',
      'arm 0 32000',
      'send 2 drain',
      'arm 1 32000',
    ]);
    t.strictSame(driver.drained(1), ['arm 0 2000']);
    t.strictSame(driver.disconnect(1), ['arm 0 2000']);
    t.strictSame(driver.exit(1), ['cancel 0']);
    driver.drained(2);
    t.strictSame(driver.exit(2), ['cancel 1', 'exit']);
    t.strictSame(driver.tags(), ['stopped', 'stopped']);
    t.equal(driver.phase(), 'ended');
  });
}

t.test(
  'with drain-delay all is served as before, crashes too, until the delay is over',
  async (t) => {
    const driver = driveServing(2, { drainDelayMs: 5000 });
    t.strictSame(driver.signal('SIGTERM'), ['arm delay 5000']);
    t.equal(driver.phase(), 'delaying');
    t.strictSame(driver.exit(1, KILLED), ['fork 3 in 0', 'arm 0 20000']);
    driver.hello(3);
    driver.loaded(3);
    t.strictSame(driver.ready(3), ['cancel 0']);
    t.strictSame(driver.timer('delay').slice(1), [
      'send 3 drain',
      'arm 0 32000',
      'send 2 drain',
      'arm 1 32000',
    ]);
  },
);

t.test('a second signal stops the server at once, and the exit is not clean', async (t) => {
  for (const drainDelayMs of [0, 5000]) {
    const driver = driveServing(2, { drainDelayMs });
    driver.signal('SIGTERM');
    t.strictSame(driver.signal('SIGTERM'), [
      'cancel delay',
      'send 1 stop',
      'arm 0 500',
      'send 2 stop',
      'arm 1 500',
    ]);
    driver.exit(1);
    t.match(driver.exit(2).at(-1), CUT);
  }
});

t.test('a reactor that does not stop is killed; a third signal kills at once', async (t) => {
  const driver = driveServing(2);
  driver.signal('SIGTERM');
  driver.signal('SIGTERM');
  t.strictSame(driver.timer(0), ['kill 1']);
  t.strictSame(driver.signal('SIGTERM'), ['kill 1', 'kill 2']);
  driver.exit(1, KILLED);
  t.match(driver.exit(2, KILLED).at(-1), CUT);
  t.strictSame(driver.signal('SIGTERM'), [], 'after the end');
});

t.test('Ctrl-C under npm arrives twice and counts once', async (t) => {
  const driver = driveServing(1);
  driver.signal('SIGINT');
  driver.wait(100);
  t.strictSame(driver.signal('SIGINT'), []);
  t.equal(driver.phase(), 'draining');
  driver.wait(300);
  t.match(driver.signal('SIGINT'), ['cancel delay', 'send 1 stop']);
});

t.test('a second signal after all have drained aborts nothing: the exit is clean', async (t) => {
  const driver = driveServing(1);
  driver.signal('SIGTERM');
  driver.drained(1);
  t.strictSame(driver.signal('SIGTERM'), ['cancel delay', 'send 1 stop', 'arm 0 500']);
  t.strictSame(driver.exit(1), ['cancel 0', 'exit']);
});

t.test('a second signal stops a replacement that has not loaded yet', async (t) => {
  const driver = driveServing(2);
  t.strictSame(driver.exit(1, KILLED), ['fork 3 in 0', 'arm 0 20000']);
  driver.signal('SIGTERM');
  driver.drained(2);
  driver.exit(2);
  t.strictSame(driver.signal('SIGTERM'), ['cancel delay', 'send 3 stop', 'arm 0 500']);
  t.strictSame(driver.timer(0), ['kill 3']);
  t.match(driver.exit(3, KILLED), ['cancel 0', CUT]);
});

t.test('a replacement killed by the signal to its group is started again', async (t) => {
  for (const isKnown of [true, false]) {
    const driver = driveServing(1);
    driver.exit(1, KILLED);
    const interrupt = () => driver.signal('SIGINT');
    const end = () => driver.exit(2, { code: null, signal: 'SIGINT' });
    if (isKnown) interrupt();
    t.strictSame(end().slice(0, 1), ['fork 3 in 0']);
    if (!isKnown) interrupt();
    driver.hello(3);
    t.strictSame(driver.loaded(3), ['send 3 serve'], 'it serves what waits');
    t.strictSame(driver.ready(3), ['send 3 drain']);
    driver.drained(3);
    t.strictSame(driver.exit(3), ['cancel 0', 'exit']);
  }
});

t.test('a signal ends a replacement for good in a stop, or once it is serving', async (t) => {
  const stopped = driveServing(1);
  stopped.exit(1, KILLED);
  stopped.signal('SIGTERM');
  stopped.signal('SIGTERM');
  t.match(stopped.exit(2, { code: null, signal: 'SIGTERM' }), ['cancel 0', CUT]);

  const serving = driveServing(1);
  serving.signal('SIGTERM');
  t.strictSame(serving.exit(1, { code: null, signal: 'SIGTERM' }), [
    'cancel 0',
    'exit ERR_MOONRING_DRAIN: reactor 0 was killed by SIGTERM before it had drained',
  ]);
});

t.test(
  'connections aborted by a predecessor during drain-delay do not fail the drain',
  async (t) => {
    const driver = driveServing(1, { drainDelayMs: 5000 });
    loadSuccessors(driver, 2);
    driver.ready(2);
    driver.signal('SIGTERM');
    driver.say(1, { type: 'cut' });
    driver.drained(1);
    driver.exit(1);
    driver.timer('delay');
    driver.drained(2);
    t.strictSame(driver.exit(2).slice(-1), ['exit']);
  },
);

t.test(
  'a reactor that has not drained by the deadline is killed, and the exit is not clean',
  async (t) => {
    const driver = driveServing(2);
    driver.signal('SIGTERM');
    driver.drained(1);
    driver.exit(1);
    t.strictSame(driver.timer(1), ['kill 2']);
    t.strictSame(driver.exit(2, KILLED), [
      'cancel 1',
      'exit ERR_MOONRING_DRAIN: reactor 1 was killed by SIGKILL before it had drained',
    ]);
  },
);

t.test('a drain that aborted connections at its deadline is not clean', async (t) => {
  const driver = driveServing(2);
  driver.signal('SIGTERM');
  driver.drained(1);
  driver.exit(1);
  t.strictSame(driver.say(2, { type: 'cut' }), []);
  driver.drained(2);
  t.strictSame(driver.exit(2), [
    'cancel 1',
    'exit ERR_MOONRING_DRAIN: the drain timeout expired before reactor 1 finished its requests',
  ]);
});

t.test('connections aborted after a reload do not end the server', async (t) => {
  const driver = driveServing(1);
  t.strictSame(driver.say(1, { type: 'cut' }), []);
  driver.signal('SIGTERM');
  driver.drained(1);
  t.strictSame(driver.exit(1), ['cancel 0', 'exit']);
});

t.test(
  'a reactor that crashes in a drain is not restarted; the others go on draining',
  async (t) => {
    const driver = driveServing(2);
    driver.signal('SIGTERM');
    t.strictSame(driver.exit(1, { code: null, signal: 'SIGSEGV' }), ['cancel 0']);
    driver.drained(2);
    t.match(driver.exit(2).at(-1), 'reactor 0 was killed by SIGSEGV before it had drained');
  },
);

t.test(
  'a signal during the start: processes that are not ready are killed, without drain-delay',
  async (t) => {
    const driver = drive(2, { drainDelayMs: 5000 });
    driver.boot();
    begin(driver, 1);
    t.strictSame(driver.signal('SIGTERM'), [
      'cancel delay',
      'send 1 drain',
      'arm 0 32000',
      'kill 2',
      'cancel 1',
    ]);
    t.strictSame(driver.exit(2, KILLED), ['cancel 1']);
    driver.drained(1);
    t.strictSame(driver.exit(1), ['cancel 0', 'exit']);
  },
);

/** The boss has been told that the slot's reactor accepts connections. */
const isUp = (driver: Driver) =>
  driver.effects.findLast((effect) => effect.type === 'slot-up')?.up === true;

t.test('a replacement that was told to serve drains when it is ready', async (t) => {
  const driver = driveServing(2);
  driver.exit(1, KILLED);
  driver.hello(3);
  driver.loaded(3);
  t.notOk(isUp(driver));
  t.strictSame(driver.signal('SIGTERM'), [
    'cancel delay',
    'arm 0 32000',
    'send 2 drain',
    'arm 1 32000',
  ]);
  t.ok(isUp(driver), 'it gets what the process before it has left');
  t.strictSame(driver.ready(3), ['send 3 drain']);
  driver.drained(2);
  driver.exit(2);
  driver.drained(3);
  t.strictSame(driver.exit(3), ['cancel 0', 'exit']);
});

t.test(
  'a replacement that is still loading serves the queued connections, then drains',
  async (t) => {
    const driver = driveServing(1);
    driver.exit(1, KILLED);
    t.strictSame(driver.signal('SIGTERM'), ['cancel delay', 'arm 0 32000']);
    t.strictSame(driver.hello(2), ['send 2 load']);
    t.notOk(isUp(driver));
    t.strictSame(driver.loaded(2), ['send 2 serve']);
    t.ok(isUp(driver), 'it gets what the process before it has left');
    t.strictSame(driver.ready(2), ['send 2 drain']);
    driver.drained(2);
    t.strictSame(driver.exit(2), ['cancel 0', 'exit']);
  },
);

t.test('a replacement that dies in a drain makes the exit unclean', async (t) => {
  for (const died of ['before it loads', 'before it is ready']) {
    const driver = driveServing(1);
    driver.exit(1, KILLED);
    driver.hello(2);
    if (died === 'before it is ready') driver.loaded(2);
    driver.signal('SIGTERM');
    t.match(driver.exit(2, KILLED).at(-1), /^exit ERR_MOONRING_DRAIN: reactor 0 was killed/, died);
  }
});

t.test('a slot in backoff is not restarted in a drain', async (t) => {
  const driver = driveServing(1);
  driver.exit(1, KILLED);
  driver.exit(2, KILLED);
  t.strictSame(driver.tags(), ['backoff']);
  t.strictSame(driver.signal('SIGTERM'), ['cancel delay', 'cancel 0', 'exit']);
  t.strictSame(driver.timer(0), [], 'a timer that fired in the same instant');
});

t.test('the drain message has the timeout', async (t) => {
  const driver = driveServing(1, { drainTimeoutMs: 1234 });
  driver.signal('SIGTERM');
  t.ok(
    driver.effects.some(
      (effect) =>
        effect.type === 'send' &&
        effect.message.type === 'drain' &&
        effect.message.timeoutMs === 1234,
    ),
  );
});

t.test('a successor that was told to serve drains with the others', async (t) => {
  const driver = driveServing(1);
  loadSuccessors(driver, 2);
  t.ok(driver.signal('SIGTERM').includes('send 2 drain'));
  t.strictSame(driver.ready(2), [], 'its word was under way');
  driver.drained(2);
  driver.exit(2);
  driver.drained(1);
  t.strictSame(driver.exit(1), ['cancel 0', 'exit']);
});

t.test('a successor that becomes ready while a stop kills it is not promoted', async (t) => {
  const driver = driveServing(1, { drainDelayMs: 5000 });
  loadSuccessors(driver, 2);
  driver.signal('SIGTERM');
  t.ok(driver.signal('SIGTERM').includes('kill 2'));
  t.strictSame(driver.ready(2), [], 'its word was under way');
});

t.test('a drain that kills a replaced reactor is not clean', async (t) => {
  const driver = driveServing(1);
  loadSuccessors(driver, 2);
  driver.ready(2);
  driver.signal('SIGTERM');
  driver.drained(2);
  driver.exit(2);
  t.strictSame(driver.childTimer(1), ['kill 1']);
  const end = 'exit ERR_MOONRING_DRAIN: the replaced reactor 0 was killed by SIGKILL before';
  t.match(driver.exit(1, KILLED).at(-1), end);
});

t.test('repeated drain commands count once, also after a signal', async (t) => {
  for (const drainDelayMs of [0, 5000]) {
    const driver = driveServing(1, { drainDelayMs });
    driver.order({ type: 'drain' });
    t.strictSame(driver.order({ type: 'drain' }), []);
    t.strictSame(driver.signal('SIGTERM'), [], 'the first signal goes on with the drain');
    t.strictSame(driver.order({ type: 'drain' }), []);
    driver.wait(1000);
    t.match(driver.signal('SIGTERM'), ['cancel delay', 'send 1 stop'], 'a second one does not');
    t.strictSame(driver.order({ type: 'drain' }), []);
  }
});

t.test('a signal in a drain that a crash loop began does not abort it', async (t) => {
  const driver = driveServing(2);
  loadSuccessors(driver, 3, 4);
  driver.ready(3);
  driver.ready(4);
  let alive = driver.state().children.filter(({ role }) => role === 'main');
  while (driver.phase() === 'serving') {
    for (const { id } of alive) driver.exit(id, KILLED);
    for (const slot of [0, 1]) if (driver.tags()[slot] === 'backoff') driver.timer(slot);
    alive = driver.state().children.filter(({ role }) => role === 'main');
    for (const { id } of alive) if (driver.phase() === 'serving') begin(driver, id);
    for (const slot of [0, 1]) if (driver.tags()[slot] === 'failed') driver.timer(slot);
  }
  t.equal(driver.phase(), 'draining', 'replaced reactors still have connections');
  t.strictSame(driver.signal('SIGTERM'), []);
});

t.test('a stop is a clean end: no fatal record', async (t) => {
  const driver = driveServing(2);
  t.strictSame(driver.order({ type: 'stop' }), [
    'cancel delay',
    'send 1 stop',
    'arm 0 500',
    'send 2 stop',
    'arm 1 500',
  ]);
  t.strictSame(driver.order({ type: 'stop' }), [], 'once');
  driver.exit(1);
  t.strictSame(driver.exit(2, KILLED), ['cancel 1', 'exit']);
  t.notOk(driver.effects.some((effect) => effect.type === 'log' && effect.level === 'fatal'));
});

t.test('a stop in a drain fails the drain, and reports that without a fatal record', async (t) => {
  const driver = driveServing(1);
  driver.order({ type: 'drain' });
  driver.order({ type: 'stop' });
  t.match(driver.exit(1).at(-1), 'exit ERR_MOONRING_DRAIN: a stop order cut the drain short');
  t.notOk(driver.effects.some((effect) => effect.type === 'log' && effect.level === 'fatal'));
});

t.test('the shutdown is announced once', async (t) => {
  const driver = driveServing(1, { drainDelayMs: 5000 });
  driver.signal('SIGTERM');
  driver.timer('delay');
  driver.order({ type: 'stop' });
  driver.order({ type: 'stop' });
  t.equal(driver.effects.filter(({ type }) => type === 'announce-stopping').length, 1);
});
