import t from 'tap';
import { begin, type Driver, driveServing } from './driver.js';

const KILLED = { code: null, signal: 'SIGKILL' } as const;

function prepared(driver: Driver, child: number, problem: string | null = null) {
  const { reload } = driver.state();
  const generation = 'generation' in reload ? reload.generation : 0;
  return driver.say(child, { type: 'prepared', generation, problem });
}

const switched = (driver: Driver, child: number) =>
  driver.say(child, { type: 'switched', generation: driver.state().generation });

/** The files sent, in order, and the files closed. */
function files(driver: Driver) {
  return {
    sent: driver.effects.flatMap((effect) =>
      effect.type === 'send' && effect.appFd !== undefined ? [[effect.child, effect.appFd]] : [],
    ),
    closed: driver.effects.flatMap((effect) => (effect.type === 'close-app' ? [effect.appFd] : [])),
  };
}

t.test('when all reactors have loaded the Lua files all switch, and no process starts', (t) => {
  const driver = driveServing(2);
  driver.signal('SIGHUP');
  t.strictSame(driver.preparedLua(22), ['arm reload 20000', 'send 1 prepare', 'send 2 prepare']);
  t.strictSame(prepared(driver, 2), []);
  t.equal(driver.state().generation, 1, 'nothing has changed yet');
  t.strictSame(files(driver).closed, []);
  t.strictSame(prepared(driver, 1), ['cancel reload', 'send 1 switch', 'send 2 switch']);
  t.equal(driver.state().generation, 2);
  t.strictSame(switched(driver, 1), []);
  t.strictSame(switched(driver, 2), ['reloaded 2']);
  t.strictSame(driver.state().reloads, { ok: 1, rejected: 0 });
  t.strictSame(
    driver.state().children.map(({ generation, next }) => [generation, next]),
    [
      [2, 'none'],
      [2, 'none'],
    ],
  );
  t.strictSame(files(driver), {
    sent: [
      [1, 21],
      [2, 21],
      [1, 22],
      [2, 22],
    ],
    closed: [21],
  });
  t.end();
});

t.test('one does not load: the others discard the new files, and nothing changes', (t) => {
  const driver = driveServing(2);
  driver.signal('SIGHUP');
  driver.preparedLua(22);
  prepared(driver, 1);
  t.strictSame(prepared(driver, 2, 'app.lua:1: no'), [
    'send 1 discard',
    'send 2 discard',
    'cancel reload',
    'reloaded 1: reactor 1: app.lua:1: no',
  ]);
  t.strictSame(prepared(driver, 1), [], 'a late word changes nothing');
  t.strictSame(driver.state().reloads, { ok: 0, rejected: 1 });
  t.strictSame(files(driver).closed, [22]);
  t.strictSame(driver.signal('SIGHUP'), ['prepare'], 'the next one is tried');
  t.strictSame(driver.preparedLua(23).slice(1), ['send 1 prepare', 'send 2 prepare']);
  t.end();
});

t.test('one cannot begin to load: processes are replaced, with the same files', (t) => {
  const driver = driveServing(2);
  driver.signal('SIGHUP');
  driver.preparedLua(22);
  prepared(driver, 1);
  t.strictSame(driver.say(2, { type: 'unprepared', generation: 2, reason: 'why' }), [
    'send 1 discard',
    'send 2 discard',
    'cancel reload',
    'fork 3 in 0',
    'arm child 3 20000',
  ]);
  t.strictSame(driver.say(1, { type: 'unprepared', generation: 2, reason: 'why' }), []);
  const warning = driver.effects.find((each) => each.type === 'log' && each.level === 'warn');
  t.match(warning, { fields: { reactor: 1, reason: 'why' }, message: /replacing processes$/ });
  for (const child of [3, 4]) {
    driver.hello(child);
    driver.loaded(child);
  }
  driver.ready(3);
  t.strictSame(driver.ready(4).slice(-1), ['reloaded 2']);
  t.strictSame(files(driver).sent.slice(2), [
    [1, 22],
    [2, 22],
    [3, 22],
    [4, 22],
  ]);
  t.strictSame(files(driver).closed, [21]);
  t.end();
});

t.test('a reactor that never replies fails the reload, but is not killed', (t) => {
  const driver = driveServing(2);
  driver.signal('SIGHUP');
  driver.preparedLua(22);
  prepared(driver, 1);
  t.strictSame(driver.reloadTimer(), [
    'send 1 discard',
    'send 2 discard',
    'cancel reload',
    'reloaded 1: not all reactors loaded within 20000 ms',
  ]);
  t.strictSame(driver.reloadTimer(), [], 'it may fire late');
  t.strictSame(driver.tags(), ['ready', 'ready']);
  t.end();
});

t.test(
  'a reactor that crashes during a reload starts with the old files, and prepares too',
  (t) => {
    const driver = driveServing(2);
    driver.signal('SIGHUP');
    driver.preparedLua(22);
    prepared(driver, 1);
    t.strictSame(driver.exit(2, KILLED).slice(0, 2), ['fork 3 in 1', 'arm 1 20000']);
    driver.hello(3);
    driver.loaded(3);
    t.equal(driver.state().generation, 1, 'it is waited for');
    t.strictSame(driver.ready(3), ['cancel 1', 'send 3 prepare']);
    t.strictSame(prepared(driver, 3).slice(1), ['send 1 switch', 'send 3 switch']);
    t.strictSame(files(driver).sent.slice(2), [
      [1, 22],
      [2, 22],
      [3, 21],
      [3, 22],
    ]);
    t.end();
  },
);

t.test('a reactor that waits for its restart starts with the new files', (t) => {
  const driver = driveServing(2);
  driver.exit(2, KILLED);
  driver.exit(3, KILLED);
  t.strictSame(driver.tags(), ['ready', 'backoff']);
  driver.signal('SIGHUP');
  driver.preparedLua(22);
  t.strictSame(prepared(driver, 1), ['cancel reload', 'send 1 switch']);
  t.strictSame(switched(driver, 1), ['reloaded 2']);
  driver.timer(1);
  driver.hello(4);
  t.strictSame(files(driver).sent.at(-1), [4, 22]);
  t.equal(driver.state().children.at(-1)?.generation, 2);
  t.end();
});

t.test('a reactor that crashes before it has switched is replaced by a new one', (t) => {
  const driver = driveServing(2);
  driver.signal('SIGHUP');
  driver.preparedLua(22);
  prepared(driver, 1);
  prepared(driver, 2);
  switched(driver, 1);
  t.strictSame(driver.exit(2, KILLED), ['fork 3 in 1', 'arm 1 20000', 'reloaded 2']);
  begin(driver, 3);
  t.strictSame(files(driver).sent.at(-1), [3, 22]);
  t.end();
});

t.test('a slot in a crash loop does not take part, and is started with the new generation', (t) => {
  const driver = driveServing(2);
  let child = 2;
  while (driver.tags()[1] !== 'failed') {
    driver.exit(child, KILLED);
    child = driver.state().nextChild;
    if (driver.tags()[1] === 'backoff') driver.timer(1);
    child = driver.state().nextChild - 1;
  }
  driver.signal('SIGHUP');
  t.strictSame(driver.preparedLua(22), ['arm reload 20000', 'send 1 prepare']);
  const next = driver.state().nextChild;
  t.strictSame(prepared(driver, 1), [
    'cancel reload',
    `fork ${next} in 1`,
    'arm 1 20000',
    'send 1 switch',
  ]);
  driver.hello(next);
  t.strictSame(files(driver).sent.at(-1), [next, 22]);
  t.end();
});

t.test('the server stops while reactors load, or switch', (t) => {
  const loading = driveServing(2);
  loading.signal('SIGHUP');
  loading.preparedLua(22);
  t.strictSame(loading.order({ type: 'stop' }).slice(-4), [
    'send 1 discard',
    'send 2 discard',
    'cancel reload',
    'reloaded 1: the server is stopping',
  ]);
  t.strictSame(files(loading).closed, [22]);
  t.equal(loading.state().reload.tag, 'idle');

  const switching = driveServing(1);
  switching.signal('SIGHUP');
  switching.preparedLua(22);
  prepared(switching, 1);
  t.equal(switching.order({ type: 'stop' }).at(-1), 'reloaded 2');
  switching.exit(1);
  t.strictSame(files(switching).closed, [21, 22]);

  const checking = driveServing(1);
  checking.signal('SIGHUP');
  checking.order({ type: 'stop' });
  checking.preparedLua(22);
  t.strictSame(files(checking).closed, [22]);
  t.end();
});

t.test(
  'a reactor that an earlier reload could not replace: processes, as it has old options',
  (t) => {
    const driver = driveServing(2);
    driver.signal('SIGHUP');
    driver.prepared();
    for (const child of [3, 4]) {
      driver.hello(child);
      driver.loaded(child);
    }
    driver.ready(3);
    t.match(driver.exit(4, KILLED).at(-1), /^reloaded 2: the new reactor 1 was killed by SIGKILL/);
    driver.signal('SIGHUP');
    t.match(driver.preparedLua(22), ['fork 5 in 0']);
    t.end();
  },
);

t.test('a second reload is queued, and runs after the first', (t) => {
  const driver = driveServing(1);
  driver.signal('SIGHUP');
  driver.preparedLua(22);
  t.strictSame(driver.signal('SIGHUP'), []);
  prepared(driver, 1);
  t.strictSame(switched(driver, 1), ['reloaded 2', 'prepare']);
  t.strictSame(driver.preparedLua(23), ['arm reload 20000', 'send 1 prepare']);
  t.end();
});
