import t from 'tap';
import { FOREIGN_SIGNALS } from '../../../../src/shared/signals.js';
import { begin, type Driver, driveServing } from './driver.js';

const KILLED = { code: null, signal: 'SIGKILL' } as const;

t.test('a killed reactor is replaced at once, the others are not affected', async (t) => {
  const driver = driveServing(2);
  t.strictSame(driver.exit(1, KILLED), ['fork 3 in 0', 'arm 0 20000']);
  t.strictSame(driver.tags(), ['starting', 'ready']);
  t.strictSame(driver.hello(3), ['send 3 load']);
  t.strictSame(driver.loaded(3), ['send 3 serve']);
  t.strictSame(driver.ready(3), ['cancel 0'], 'ready is not announced again');
});

t.test('an unexpected exit with code 0 is a crash', async (t) => {
  t.strictSame(driveServing(1).exit(1), ['fork 2 in 0', 'arm 0 20000']);
});

/** Crashes until slot 0 is in a crash loop; returns the child that crashed last. */
function crashLoop(driver: Driver, first: number): number {
  let child = first;
  while (driver.tags()[0] !== 'failed') {
    if (driver.tags()[0] === 'backoff') driver.timer(0);
    child = driver.state().children.find(({ slot }) => slot === 0)?.id ?? 0;
    begin(driver, child);
    driver.exit(child, KILLED);
  }
  return child;
}

t.test(
  'a reactor in a crash loop is retried with a longer delay, and the others keep running',
  async (t) => {
    const driver = driveServing(2);
    const last = crashLoop(driver, 1);
    t.strictSame(driver.tags(), ['failed', 'ready']);
    t.equal(driver.phase(), 'serving');
    t.match(
      driver.effects.find(
        (effect) => effect.type === 'log' && effect.message.includes('crash loop'),
      ),
      { level: 'error', fields: { reactor: 0, reason: 'crashed 4 times in 60 seconds' } },
    );
    t.match(driver.effects.at(-1), { type: 'arm-timer', delayMs: 1000 });
    t.strictSame(driver.timer(0), [`fork ${last + 1} in 0`, 'arm 0 20000']);
    driver.hello(last + 1);
    t.strictSame(driver.exit(last + 1, KILLED), ['arm 0 2000'], 'the delay doubles');
    driver.timer(0);
    begin(driver, last + 2);
    t.strictSame(driver.tags(), ['ready', 'ready'], 'it may recover');
  },
);

t.test('when the last reactor is in a crash loop, the server exits with its reason', async (t) => {
  const driver = driveServing(2);
  crashLoop(driver, 1);
  let last: string[] = [];
  for (let child = 2; driver.phase() === 'serving'; ) {
    last = driver.exit(child, KILLED);
    if (driver.tags()[1] === 'backoff') driver.timer(1);
    child = driver.state().children.find(({ slot }) => slot === 1)?.id ?? 0;
    if (driver.phase() === 'serving') begin(driver, child);
  }
  const message = 'reactor 1 crashed 4 times in 60 seconds; the last time: was killed by SIGKILL';
  t.equal(last.at(-1), `exit ERR_MOONRING_CRASH_LOOP: ${message}`);
});

t.test('a reactor that serves in spite of a crash loop counts as running', async (t) => {
  const driver = driveServing(2);
  const last = crashLoop(driver, 1);
  driver.timer(0);
  begin(driver, last + 1);
  let child = 2;
  while (driver.tags()[1] !== 'failed') {
    driver.exit(child, KILLED);
    if (driver.tags()[1] === 'backoff') driver.timer(1);
    child = driver.state().children.find(({ slot }) => slot === 1)?.id ?? 0;
    begin(driver, child);
  }
  t.strictSame(driver.tags(), ['ready', 'failed']);
  t.equal(driver.phase(), 'serving');
  driver.exit(last + 1, KILLED);
  t.equal(driver.phase(), 'ended');
});

t.test('the crash loop of one slot does not prevent a reload of the others', async (t) => {
  const driver = driveServing(2);
  const last = crashLoop(driver, 1);
  driver.signal('SIGHUP');
  t.strictSame(driver.prepared(), [`fork ${last + 1} in 1`, `arm child ${last + 1} 20000`]);
  driver.hello(last + 1);
  t.strictSame(
    driver.loaded(last + 1),
    [
      `cancel child ${last + 1}`,
      `fork ${last + 2} in 0`,
      'arm 0 20000',
      `send ${last + 1} serve`,
      `arm child ${last + 1} 20000`,
    ],
    'the new generation may start',
  );
  driver.ready(last + 1);
  begin(driver, last + 2);
  t.match(driver.effects.at(-1), { type: 'reloaded', failure: null, generation: 2 });
  t.strictSame(driver.tags(), ['ready', 'ready']);
});

t.test('crashes of different slots, and old ones, are not added together', async (t) => {
  const driver = driveServing(4);
  for (const child of [1, 2, 3, 4]) t.match(driver.exit(child, KILLED)[0], /^fork/);
  const rare = driveServing(1);
  for (let child = 1; child < 20; child++) {
    t.match(rare.exit(child, KILLED)[0], /^fork/);
    begin(rare, child + 1);
    rare.wait(60_000);
  }
});

t.test(
  'a reactor that lost its channel is replaced at once, and killed after a minute',
  async (t) => {
    const driver = driveServing(1);
    t.strictSame(driver.disconnect(1), ['arm child 1 60000', 'fork 2 in 0', 'arm 0 20000']);
    begin(driver, 2);
    t.strictSame(driver.tags(), ['ready']);
    t.strictSame(driver.childTimer(1), ['kill 1']);
    t.strictSame(driver.exit(1, KILLED), ['cancel child 1']);
    t.strictSame(driver.state().restarts, { signal: 1, exit: 0, stuck: 0, start: 0, memory: 0 });
    const crash = driver.effects.find(
      (effect) => effect.type === 'log' && effect.message === 'reactor crashed',
    );
    t.match(crash, { fields: { reactor: 0, signal: 'SIGKILL', reason: 'signal', restartInMs: 0 } });
  },
);

t.test('while core dumps of earlier crashes are written, a restart waits for them', async (t) => {
  const driver = driveServing(1);
  driver.disconnect(1);
  begin(driver, 2);
  driver.disconnect(2);
  driver.timer(0);
  begin(driver, 3);
  t.strictSame(driver.disconnect(3), ['arm 0 2000'], 'a slot has few places');
  t.strictSame(driver.exit(1, KILLED), ['cancel child 1']);
});

t.test('a reactor that sends an unreadable message is killed', async (t) => {
  t.strictSame(driveServing(1).unreadable(1), ['kill 1']);
});

t.test('late events of a process that has exited are ignored', async (t) => {
  const driver = driveServing(1);
  driver.exit(1, KILLED);
  for (const late of [driver.exit(1), driver.hello(1), driver.loaded(1), driver.ready(1)]) {
    t.strictSame(late, []);
  }
  t.strictSame(driver.disconnect(1), []);
  t.strictSame(driver.tags(), ['starting']);
});

t.test('unexpected messages change nothing', async (t) => {
  const driver = driveServing(1);
  for (const effects of [driver.hello(1), driver.loaded(1), driver.ready(1), driver.drained(1)]) {
    t.strictSame(effects, []);
  }
  t.strictSame(driver.timer(7), []);
  t.strictSame(driver.say(1, { type: 'failed', code: 'SYSTEM', message: 'late' }), []);
  t.strictSame(driver.say(1, { type: 'orphaned' }), []);
  t.strictSame(driver.tags(), ['ready']);
});

t.test('signals with a meaning for other servers are ignored', async (t) => {
  const driver = driveServing(1);
  for (const signal of FOREIGN_SIGNALS) {
    t.strictSame(driver.signal(signal), [], signal);
    t.match(driver.effects.at(-1), { type: 'log', level: 'warn', fields: { signal } });
  }
  t.equal(driver.phase(), 'serving');
});

t.test('USR1 reopens the logs of all processes', async (t) => {
  const driver = driveServing(2);
  t.strictSame(driver.signal('SIGUSR1'), ['send 1 reopen-logs', 'send 2 reopen-logs']);
  t.ok(driver.effects.some(({ type }) => type === 'reopen-logs'));
  t.equal(driver.phase(), 'serving');
});
