import t from 'tap';
import { begin, driveServing, loadSuccessors, reactorSettings } from './driver.js';

const HAND_OVER_MS = 32_000;
const KILLED = { code: null, signal: 'SIGKILL' } as const;

t.test(
  'all successors load first; then slot after slot serves and sends the old away',
  async (t) => {
    const driver = driveServing(2);
    t.strictSame(driver.signal('SIGHUP'), ['prepare']);
    t.strictSame(driver.prepared(), ['fork 3 in 0', 'arm child 3 20000']);
    t.strictSame(driver.hello(3), ['send 3 load']);
    t.strictSame(driver.loaded(3), ['cancel child 3', 'fork 4 in 1', 'arm child 4 20000']);
    driver.hello(4);
    t.equal(driver.state().generation, 1, 'nothing has changed yet');
    t.strictSame(driver.loaded(4), ['cancel child 4', 'send 3 serve', 'arm child 3 20000']);
    t.equal(driver.state().generation, 2);
    t.strictSame(driver.ready(3), [
      'cancel child 3',
      'cancel 0',
      'send 1 hand-over',
      `arm child 1 ${HAND_OVER_MS}`,
      'send 4 serve',
      'arm child 4 20000',
    ]);
    t.strictSame(driver.drained(1), ['arm child 1 2000']);
    t.strictSame(driver.exit(1), ['cancel child 1']);
    t.strictSame(driver.ready(4), [
      'cancel child 4',
      'cancel 1',
      'send 2 hand-over',
      `arm child 2 ${HAND_OVER_MS}`,
      'reloaded 2',
    ]);
    t.strictSame(driver.tags(), ['ready', 'ready']);
    t.strictSame(driver.state().reloads, { ok: 1, rejected: 0 });
  },
);

t.test(
  'successors are told the new settings and generation while others keep the old',
  async (t) => {
    const driver = driveServing(2);
    driver.signal('SIGHUP');
    driver.preparedWith({ drainTimeoutMs: 77, reactor: { ...reactorSettings, maxUrl: 77 } });
    driver.hello(3);
    driver.exit(2, { signal: 'SIGKILL', code: null });
    driver.hello(4);
    const orders = driver.effects.flatMap((effect) =>
      effect.type === 'send' && effect.message.type === 'load'
        ? [[effect.child, effect.message.options.generation, effect.message.options.maxUrl]]
        : [],
    );
    t.strictSame(orders.slice(2), [
      [3, 2, 77],
      [4, 1, reactorSettings.maxUrl],
    ]);
    t.equal(driver.state().settings.drainTimeoutMs, 30_000);
  },
);

t.test('a second reload during a reload is queued once', async (t) => {
  const driver = driveServing(1);
  driver.signal('SIGHUP');
  t.strictSame(driver.signal('SIGHUP'), []);
  t.strictSame(driver.order({ type: 'reload' }), []);
  driver.prepared();
  driver.hello(2);
  driver.loaded(2);
  t.strictSame(driver.ready(2).slice(-2), ['reloaded 2', 'prepare']);
  t.strictSame(driver.prepared(), ['fork 3 in 0', 'arm child 3 20000']);
});

t.test('a rejected handler or configuration changes nothing', async (t) => {
  const driver = driveServing(1);
  driver.signal('SIGHUP');
  t.strictSame(driver.prepared('app.lua:3: no'), ['reloaded 1: app.lua:3: no']);
  t.strictSame(driver.state().reloads, { ok: 0, rejected: 1 });
  t.strictSame(driver.signal('SIGHUP'), ['prepare'], 'the next one is tried');
});

t.test(
  'a successor that does not load: the others are dismissed, nothing has changed',
  async (t) => {
    const driver = driveServing(2);
    loadSuccessors(driver, 3);
    driver.hello(4);
    driver.say(4, { type: 'failed', code: 'HANDLER', message: 'app.lua:1: no' });
    t.strictSame(driver.exit(4, { code: 1 }), [
      'cancel child 4',
      'cancel child 3',
      'kill 3',
      'reloaded 1: the new reactor 1 failed: app.lua:1: no',
    ]);
    t.strictSame(driver.tags(), ['ready', 'ready']);
    t.equal(driver.state().generation, 1);
    t.strictSame(driver.exit(3, KILLED), ['cancel child 3']);
    driver.signal('SIGHUP');
    t.strictSame(driver.prepared(), ['fork 5 in 0', 'arm child 5 20000'], 'the next one is tried');
    t.strictSame(driver.childTimer(5), ['kill 5'], 'nor does one that hangs');
    t.match(driver.exit(5, KILLED), [/^cancel/, /not ready within/]);
  },
);

t.test(
  'a reload right after a rejected one does not wait for those that were dismissed',
  async (t) => {
    const driver = driveServing(2);
    loadSuccessors(driver, 3);
    driver.signal('SIGHUP');
    t.strictSame(driver.exit(4, { code: 1 }).slice(-2), [
      'reloaded 1: the new reactor 1 exited with code 1',
      'prepare',
    ]);
    t.strictSame(driver.prepared(), ['fork 5 in 0', 'arm child 5 20000']);
    t.strictSame(driver.exit(3, KILLED), ['cancel child 3']);
  },
);

t.test('a successor of another version does not end the serving reactors', async (t) => {
  const driver = driveServing(1);
  driver.signal('SIGHUP');
  driver.prepared();
  t.strictSame(driver.say(2, { type: 'hello', protocol: 99, pid: 102 }), ['kill 2']);
  t.match(driver.exit(2, KILLED), [
    'cancel child 2',
    /^reloaded 1: the new reactor 0 failed: reactor 0 speaks protocol 99/,
  ]);
  t.strictSame(driver.tags(), ['ready']);
});

t.test('a successor that dies after loading: the others are replaced', async (t) => {
  const driver = driveServing(2);
  loadSuccessors(driver, 3, 4);
  t.strictSame(driver.exit(3, KILLED), ['cancel child 3', 'send 4 serve', 'arm child 4 20000']);
  t.strictSame(driver.ready(4).slice(-1), ['reloaded 2: the new reactor 0 was killed by SIGKILL']);
  t.strictSame(driver.tags(), ['ready', 'ready']);
  t.strictSame(driver.state().reloads, { ok: 0, rejected: 1 });
});

t.test('a crash while successors load: the old generation starts again', async (t) => {
  const driver = driveServing(1);
  driver.signal('SIGHUP');
  driver.prepared();
  driver.hello(2);
  t.strictSame(driver.exit(1, KILLED), ['fork 3 in 0', 'arm 0 20000']);
  const generationOf = (id: number) =>
    driver.state().children.find((child) => child.id === id)?.generation;
  t.strictSame([generationOf(2), generationOf(3)], [2, 1]);
  driver.hello(3);
  t.strictSame(
    driver.loaded(2),
    ['cancel child 2', 'send 2 serve', 'arm child 2 20000'],
    'the successor does not wait for it',
  );
  t.strictSame(driver.ready(2), [
    'cancel child 2',
    'cancel 0',
    'send 3 hand-over',
    `arm child 3 ${HAND_OVER_MS}`,
    'reloaded 2',
  ]);
});

t.test('a slot in backoff is served by its successor at once', async (t) => {
  const driver = driveServing(1);
  driver.exit(1, KILLED);
  driver.exit(2, KILLED);
  t.strictSame(driver.tags(), ['backoff']);
  driver.signal('SIGHUP');
  t.strictSame(
    driver.prepared(),
    ['fork 3 in 0', 'arm child 3 20000'],
    'the new generation may start',
  );
  driver.hello(3);
  driver.loaded(3);
  t.strictSame(driver.ready(3), ['cancel child 3', 'cancel 0', 'reloaded 2']);
  t.strictSame(driver.tags(), ['ready']);
});

t.test('a crash while the successor starts to serve: it takes over the slot', async (t) => {
  const driver = driveServing(1);
  loadSuccessors(driver, 2);
  t.strictSame(driver.exit(1, KILLED), ['cancel child 2', 'arm 0 20000']);
  t.strictSame(driver.ready(2), ['cancel 0', 'reloaded 2']);
});

t.test('a crash after the successor has loaded: it serves at once, out of turn', async (t) => {
  const driver = driveServing(2);
  loadSuccessors(driver, 3, 4);
  t.strictSame(driver.exit(2, KILLED), ['cancel child 4', 'arm 1 20000', 'send 4 serve']);
  driver.ready(3);
  t.strictSame(driver.ready(4), ['cancel 1', 'reloaded 2']);
});

t.test('a slot has at most two predecessors', async (t) => {
  const driver = driveServing(1);
  for (const child of [2, 3]) {
    driver.signal('SIGHUP');
    driver.prepared();
    begin(driver, child);
  }
  driver.signal('SIGHUP');
  t.strictSame(driver.prepared(), [], 'the third reload waits');
  driver.drained(1);
  t.strictSame(driver.exit(1), ['cancel child 1', 'fork 4 in 0', 'arm child 4 20000']);
  const sides = driver.state().children.map(({ side }) => side);
  t.equal(new Set(sides).size, sides.length, 'no place on the page is used twice');
});

t.test(
  'a drain during a reload: successors that serve drain, those that only loaded are killed',
  async (t) => {
    const driver = driveServing(3);
    loadSuccessors(driver, 4, 5, 6);
    driver.ready(4);
    t.strictSame(driver.signal('SIGTERM'), [
      'cancel child 6',
      'kill 6',
      'cancel delay',
      'send 4 drain',
      `arm 0 ${HAND_OVER_MS}`,
      'send 2 drain',
      `arm 1 ${HAND_OVER_MS}`,
      'send 3 drain',
      `arm 2 ${HAND_OVER_MS}`,
      'send 1 drain',
      `arm child 1 ${HAND_OVER_MS}`,
      'send 5 drain',
      `arm child 5 ${HAND_OVER_MS}`,
      'reloaded 2: the server is stopping',
    ]);
    for (const child of [1, 2, 3, 4, 5]) driver.drained(child);
    for (const child of [1, 2, 3, 4, 5]) driver.exit(child);
    t.strictSame(driver.exit(6, KILLED), ['cancel child 6', 'exit']);
  },
);

t.test('waiting reloads are rejected when the server stops', async (t) => {
  const driver = driveServing(1);
  driver.signal('SIGHUP');
  driver.order({ type: 'reload' });
  const ends = driver.signal('SIGTERM').filter((effect) => effect.startsWith('reloaded'));
  t.strictSame(ends, ['reloaded 1: the server is stopping', 'reloaded 1: the server is stopping']);
});

t.test('a reload during drain-delay is rejected after the one in progress', async (t) => {
  const driver = driveServing(1, { drainDelayMs: 5000 });
  driver.signal('SIGHUP');
  driver.signal('SIGTERM');
  t.strictSame(driver.order({ type: 'reload' }), []);
  t.strictSame(driver.prepared('no'), ['reloaded 1: no', 'reloaded 1: it is stopping']);
});

t.test('a reload that is aborted while it replaces is incomplete, not rejected', async (t) => {
  const driver = driveServing(2);
  loadSuccessors(driver, 3, 4);
  driver.ready(3);
  driver.signal('SIGTERM');
  const lines = driver.effects.flatMap((effect) => (effect.type === 'log' ? [effect.message] : []));
  t.ok(lines.includes('reload incomplete: some reactors serve the old generation'));
  t.notOk(lines.some((line) => line.startsWith('reload rejected')));
});

t.test('a reload while the server is stopping is rejected', async (t) => {
  const driver = driveServing(1);
  driver.signal('SIGTERM');
  t.match(driver.signal('SIGHUP'), [/^reloaded 1: it is stopping/]);
});
