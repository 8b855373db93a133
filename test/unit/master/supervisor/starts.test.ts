import t from 'tap';
import { begin, drive, driveServing } from './driver.js';

t.test('all are forked, load and serve; ready is announced once, by the last one', async (t) => {
  const driver = drive(2);
  t.strictSame(driver.boot(), ['fork 1 in 0', 'arm 0 20000', 'fork 2 in 1', 'arm 1 20000']);
  t.strictSame(driver.hello(2), ['send 2 load']);
  t.strictSame(driver.hello(1), ['send 1 load']);
  t.strictSame(driver.loaded(2), ['send 2 serve']);
  t.strictSame(driver.loaded(1), ['send 1 serve']);
  t.strictSame(driver.ready(2), ['cancel 1']);
  t.equal(driver.phase(), 'starting');
  t.strictSame(driver.ready(1), ['cancel 0', 'ready system']);
  t.equal(driver.phase(), 'serving');
  const starts = driver.effects.flatMap((effect) =>
    effect.type === 'send' && effect.message.type === 'load' ? [effect.message.options] : [],
  );
  t.strictSame(
    starts.map((options) => options.index),
    [1, 0],
    'each knows its own number',
  );
});

t.test('a reactor of another version ends the server', async (t) => {
  const driver = drive(2);
  driver.boot();
  const said = driver.say(1, { type: 'hello', protocol: 99, pid: 101 });
  t.strictSame(said, ['cancel delay', 'kill 1', 'cancel 0', 'kill 2', 'cancel 1']);
  driver.exit(1, { code: null, signal: 'SIGKILL' });
  const [last] = driver.exit(2, { code: null, signal: 'SIGKILL' }).slice(-1);
  t.match(last, /^exit ERR_MOONRING_PROTOCOL: reactor 0 speaks protocol 99/);
});

t.test('a replacement of another version is a failed start', async (t) => {
  const driver = driveServing(2);
  driver.exit(1, { code: null, signal: 'SIGKILL' });
  t.strictSame(driver.say(3, { type: 'hello', protocol: 99, pid: 103 }), ['kill 3']);
  t.strictSame(driver.exit(3, { code: null, signal: 'SIGKILL' }), ['arm 0 100']);
  t.strictSame(driver.tags(), ['backoff', 'ready']);
});

t.test('a handler that fails at the first start ends the server, with its message', async (t) => {
  for (const [code, error] of [
    ['HANDLER', 'ERR_MOONRING_HANDLER'],
    ['INVALID', 'ERR_MOONRING_CONFIG'],
  ] as const) {
    const driver = drive(2);
    driver.boot();
    driver.hello(1);
    begin(driver, 2);
    t.strictSame(driver.say(1, { type: 'failed', code, message: 'app.lua:3: oh' }), []);
    t.strictSame(driver.exit(1, { code: 1 }), [
      'cancel 0',
      'cancel delay',
      'send 2 stop',
      'arm 1 500',
    ]);
    t.strictSame(driver.tags(), ['stopped', 'draining']);
    t.strictSame(driver.exit(2), ['cancel 1', `exit ${error}: app.lua:3: oh`]);
  }
});

t.test('the same failure later is a crash: the handler served before', async (t) => {
  const driver = driveServing(2);
  driver.exit(1, { code: null, signal: 'SIGKILL' });
  driver.hello(3);
  driver.say(3, { type: 'failed', code: 'HANDLER', message: 'app.lua:3: oh' });
  t.strictSame(driver.exit(3, { code: 1 }), ['arm 0 100']);
  t.strictSame(driver.tags(), ['backoff', 'ready']);
});

t.test(
  'crashes during the start of the only reactor: retried, then the server exits',
  async (t) => {
    const driver = drive(1);
    driver.boot();
    t.strictSame(driver.exit(1, { code: null, signal: 'SIGSEGV' }), ['arm 0 100']);
    t.strictSame(driver.timer(0), ['fork 2 in 0', 'arm 0 20000']);
    driver.hello(2);
    driver.say(2, { type: 'failed', code: 'SYSTEM', message: 'no descriptors left' });
    t.strictSame(driver.exit(2, { code: 1 }), ['arm 0 100']);
    driver.timer(0);
    const sentence = 'reactor 0 did not start 3 times in a row; the last time: exited with code 1';
    t.strictSame(driver.exit(3, { code: 1 }), [
      'cancel delay',
      'cancel 0',
      `exit ERR_MOONRING_CRASH_LOOP: ${sentence}`,
    ]);
    t.equal(driver.phase(), 'ended');
  },
);

t.test('a reactor that does not become ready in time is killed and counted', async (t) => {
  const driver = drive(1);
  driver.boot();
  driver.hello(1);
  t.strictSame(driver.timer(0), ['kill 1']);
  t.strictSame(driver.exit(1, { code: null, signal: 'SIGKILL' }), ['arm 0 100']);
  for (const child of [2, 3]) {
    driver.timer(0);
    driver.timer(0);
    driver.exit(child, { code: null, signal: 'SIGKILL' });
  }
  t.match(driver.effects.at(-1), {
    type: 'exit',
    failure: { message: /3 times in a row; the last time: not ready within 20000 ms$/ },
  });
});

t.test('a process that could not be forked counts as crashed', async (t) => {
  const driver = drive(1);
  driver.boot();
  t.strictSame(driver.exit(1, { pid: null, code: null }), ['arm 0 100']);
  t.match(
    driver.effects.find(({ type }) => type === 'log'),
    { fields: { reactorPid: null, code: null, signal: null } },
  );
});

t.test('a crash before all are ready does not delay the others', async (t) => {
  const driver = drive(2);
  driver.boot();
  begin(driver, 1);
  driver.exit(2, { code: 1 });
  t.strictSame(driver.tags(), ['ready', 'backoff']);
  driver.timer(1);
  driver.hello(3);
  driver.loaded(3);
  t.strictSame(driver.ready(3), ['cancel 1', 'ready system']);
});

t.test('a reactor that cannot start does not prevent the others from serving', async (t) => {
  const driver = drive(2);
  driver.boot();
  begin(driver, 1);
  let last: string[] = [];
  while (driver.phase() === 'starting') {
    const child = driver.state().children.find(({ slot }) => slot === 1)?.id;
    if (child === undefined) driver.timer(1);
    else last = driver.exit(child, { code: 1 });
  }
  t.strictSame(last, ['ready system', 'arm 1 1000'], 'it is retried');
  t.strictSame(driver.tags(), ['ready', 'failed']);
});

t.test('with min-reactors the start waits for that many', async (t) => {
  const driver = drive(2, { minReactors: 2 });
  driver.boot();
  begin(driver, 1);
  while (driver.tags()[1] !== 'failed') {
    const child = driver.state().children.find(({ slot }) => slot === 1)?.id;
    if (child === undefined) driver.timer(1);
    else driver.exit(child, { code: 1 });
  }
  t.equal(driver.phase(), 'starting');
  driver.timer(1);
  begin(driver, driver.state().nextChild - 1);
  t.equal(driver.phase(), 'serving');
});

t.test('time during which the master was stopped does not count towards a start', async (t) => {
  const driver = drive(1);
  driver.boot();
  t.strictSame(driver.timer(0, 5000), ['arm 0 20000'], 'it gets its time once more');
  t.strictSame(driver.timer(0, 3), ['kill 1']);
});
