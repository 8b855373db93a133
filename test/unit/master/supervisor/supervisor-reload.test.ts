import t from 'tap';
import { begin, loadSuccessors, playServing, reactorSettings } from './supervisor-play.js';

const HAND_OVER_MS = 32_000;
const KILLED = { code: null, signal: 'SIGKILL' } as const;

t.test(
  'all successors load first; then slot after slot serves and sends the old away',
  async (t) => {
    const game = playServing(2);
    t.strictSame(game.signal('SIGHUP'), ['prepare']);
    t.strictSame(game.prepared(), ['fork 3 in 0', 'arm child 3 20000']);
    t.strictSame(game.hello(3), ['send 3 load']);
    t.strictSame(game.loaded(3), ['cancel child 3', 'fork 4 in 1', 'arm child 4 20000']);
    game.hello(4);
    t.equal(game.state().generation, 1, 'nothing has changed yet');
    t.strictSame(game.loaded(4), ['cancel child 4', 'send 3 serve', 'arm child 3 20000']);
    t.equal(game.state().generation, 2);
    t.strictSame(game.ready(3), [
      'cancel child 3',
      'cancel 0',
      'send 1 hand-over',
      `arm child 1 ${HAND_OVER_MS}`,
      'send 4 serve',
      'arm child 4 20000',
    ]);
    t.strictSame(game.drained(1), ['arm child 1 2000']);
    t.strictSame(game.exit(1), ['cancel child 1']);
    t.strictSame(game.ready(4), [
      'cancel child 4',
      'cancel 1',
      'send 2 hand-over',
      `arm child 2 ${HAND_OVER_MS}`,
      'reloaded 2',
    ]);
    t.strictSame(game.tags(), ['ready', 'ready']);
    t.strictSame(game.state().reloads, { ok: 1, rejected: 0 });
  },
);

t.test(
  'successors are told the new settings and generation while others keep the old',
  async (t) => {
    const game = playServing(2);
    game.signal('SIGHUP');
    game.preparedWith({ drainTimeoutMs: 77, reactor: { ...reactorSettings, maxUrl: 77 } });
    game.hello(3);
    game.exit(2, { signal: 'SIGKILL', code: null });
    game.hello(4);
    const orders = game.effects.flatMap((effect) =>
      effect.type === 'send' && effect.message.type === 'load'
        ? [[effect.child, effect.message.options.generation, effect.message.options.maxUrl]]
        : [],
    );
    t.strictSame(orders.slice(2), [
      [3, 2, 77],
      [4, 1, reactorSettings.maxUrl],
    ]);
    t.equal(game.state().settings.drainTimeoutMs, 30_000);
  },
);

t.test('a second order during a reload is kept once', async (t) => {
  const game = playServing(1);
  game.signal('SIGHUP');
  t.strictSame(game.signal('SIGHUP'), []);
  t.strictSame(game.order({ type: 'reload' }), []);
  game.prepared();
  game.hello(2);
  game.loaded(2);
  t.strictSame(game.ready(2).slice(-2), ['reloaded 2', 'prepare']);
  t.strictSame(game.prepared(), ['fork 3 in 0', 'arm child 3 20000']);
});

t.test('what is wrong with handler or configuration changes nothing', async (t) => {
  const game = playServing(1);
  game.signal('SIGHUP');
  t.strictSame(game.prepared('app.lua:3: no'), ['reloaded 1: app.lua:3: no']);
  t.strictSame(game.state().reloads, { ok: 0, rejected: 1 });
  t.strictSame(game.signal('SIGHUP'), ['prepare'], 'the next one is tried');
});

t.test(
  'a successor that does not load: the others are dismissed, nothing has changed',
  async (t) => {
    const game = playServing(2);
    loadSuccessors(game, 3);
    game.hello(4);
    game.say(4, { type: 'failed', code: 'HANDLER', message: 'app.lua:1: no' });
    t.strictSame(game.exit(4, { code: 1 }), [
      'cancel child 4',
      'cancel child 3',
      'kill 3',
      'reloaded 1: the new reactor 1 failed: app.lua:1: no',
    ]);
    t.strictSame(game.tags(), ['ready', 'ready']);
    t.equal(game.state().generation, 1);
    t.strictSame(game.exit(3, KILLED), ['cancel child 3']);
    game.signal('SIGHUP');
    t.strictSame(game.prepared(), ['fork 5 in 0', 'arm child 5 20000'], 'the next one is tried');
    t.strictSame(game.childTimer(5), ['kill 5'], 'nor does one that hangs');
    t.match(game.exit(5, KILLED), [/^cancel/, /not ready within/]);
  },
);

t.test(
  'a reload right after a rejected one does not wait for those that were dismissed',
  async (t) => {
    const game = playServing(2);
    loadSuccessors(game, 3);
    game.signal('SIGHUP');
    t.strictSame(game.exit(4, { code: 1 }).slice(-2), [
      'reloaded 1: the new reactor 1 exited with code 1',
      'prepare',
    ]);
    t.strictSame(game.prepared(), ['fork 5 in 0', 'arm child 5 20000']);
    t.strictSame(game.exit(3, KILLED), ['cancel child 3']);
  },
);

t.test('a successor of another version is no reason to end what serves', async (t) => {
  const game = playServing(1);
  game.signal('SIGHUP');
  game.prepared();
  t.strictSame(game.say(2, { type: 'hello', protocol: 99, pid: 102 }), ['kill 2']);
  t.match(game.exit(2, KILLED), [
    'cancel child 2',
    /^reloaded 1: the new reactor 0 failed: reactor 0 speaks protocol 99/,
  ]);
  t.strictSame(game.tags(), ['ready']);
});

t.test('one that has loaded and dies before it serves: the others are replaced', async (t) => {
  const game = playServing(2);
  loadSuccessors(game, 3, 4);
  t.strictSame(game.exit(3, KILLED), ['cancel child 3', 'send 4 serve', 'arm child 4 20000']);
  t.strictSame(game.ready(4).slice(-1), ['reloaded 2: the new reactor 0 was killed by SIGKILL']);
  t.strictSame(game.tags(), ['ready', 'ready']);
  t.strictSame(game.state().reloads, { ok: 0, rejected: 1 });
});

t.test('a crash while successors load: the old generation starts again', async (t) => {
  const game = playServing(1);
  game.signal('SIGHUP');
  game.prepared();
  game.hello(2);
  t.strictSame(game.exit(1, KILLED), ['fork 3 in 0', 'arm 0 20000']);
  const generationOf = (id: number) =>
    game.state().children.find((child) => child.id === id)?.generation;
  t.strictSame([generationOf(2), generationOf(3)], [2, 1]);
  game.hello(3);
  t.strictSame(
    game.loaded(2),
    ['cancel child 2', 'send 2 serve', 'arm child 2 20000'],
    'the successor does not wait for it',
  );
  t.strictSame(game.ready(2), [
    'cancel child 2',
    'cancel 0',
    'send 3 hand-over',
    `arm child 3 ${HAND_OVER_MS}`,
    'reloaded 2',
  ]);
});

t.test('a slot that waits for its restart is served by its successor at once', async (t) => {
  const game = playServing(1);
  game.exit(1, KILLED);
  game.exit(2, KILLED);
  t.strictSame(game.tags(), ['backoff']);
  game.signal('SIGHUP');
  t.strictSame(game.prepared(), ['fork 3 in 0', 'arm child 3 20000'], 'it may be the cure');
  game.hello(3);
  game.loaded(3);
  t.strictSame(game.ready(3), ['cancel child 3', 'cancel 0', 'reloaded 2']);
  t.strictSame(game.tags(), ['ready']);
});

t.test('a crash while the successor begins to serve: it inherits the slot', async (t) => {
  const game = playServing(1);
  loadSuccessors(game, 2);
  t.strictSame(game.exit(1, KILLED), ['cancel child 2', 'arm 0 20000']);
  t.strictSame(game.ready(2), ['cancel 0', 'reloaded 2']);
});

t.test('a crash whose successor has loaded: it serves at once, out of turn', async (t) => {
  const game = playServing(2);
  loadSuccessors(game, 3, 4);
  t.strictSame(game.exit(2, KILLED), ['cancel child 4', 'arm 1 20000', 'send 4 serve']);
  game.ready(3);
  t.strictSame(game.ready(4), ['cancel 1', 'reloaded 2']);
});

t.test('no more than two processes leave a slot at a time', async (t) => {
  const game = playServing(1);
  for (const child of [2, 3]) {
    game.signal('SIGHUP');
    game.prepared();
    begin(game, child);
  }
  game.signal('SIGHUP');
  t.strictSame(game.prepared(), [], 'the third reload waits');
  game.drained(1);
  t.strictSame(game.exit(1), ['cancel child 1', 'fork 4 in 0', 'arm child 4 20000']);
  const sides = game.state().children.map(({ side }) => side);
  t.equal(new Set(sides).size, sides.length, 'no place on the page is used twice');
});

t.test('a stop during a reload: who was told to serve drains, who only loaded goes', async (t) => {
  const game = playServing(3);
  loadSuccessors(game, 4, 5, 6);
  game.ready(4);
  t.strictSame(game.signal('SIGTERM'), [
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
    'reloaded 2: the server stops',
  ]);
  for (const child of [1, 2, 3, 4, 5]) game.drained(child);
  for (const child of [1, 2, 3, 4, 5]) game.exit(child);
  t.strictSame(game.exit(6, KILLED), ['cancel child 6', 'exit']);
});

t.test('whoever waits for the next reload hears of its end when the server ends', async (t) => {
  const game = playServing(1);
  game.signal('SIGHUP');
  game.order({ type: 'reload' });
  const ends = game.signal('SIGTERM').filter((effect) => effect.startsWith('reloaded'));
  t.strictSame(ends, ['reloaded 1: the server stops', 'reloaded 1: the server stops']);
});

t.test('an order before the drain does not answer for the reload that is under way', async (t) => {
  const game = playServing(1, { drainDelayMs: 5000 });
  game.signal('SIGHUP');
  game.signal('SIGTERM');
  t.strictSame(game.order({ type: 'reload' }), []);
  t.strictSame(game.prepared('no'), ['reloaded 1: no', 'reloaded 1: it is stopping']);
});

t.test('the end of a reload that has begun to replace does not claim the old one', async (t) => {
  const game = playServing(2);
  loadSuccessors(game, 3, 4);
  game.ready(3);
  game.signal('SIGTERM');
  const lines = game.effects.flatMap((effect) => (effect.type === 'log' ? [effect.message] : []));
  t.ok(lines.includes('reload incomplete: some reactors serve the old generation'));
  t.notOk(lines.some((line) => line.startsWith('reload rejected')));
});

t.test('before all reactors are ready nothing is reloaded', async (t) => {
  const game = playServing(1);
  game.signal('SIGTERM');
  t.match(game.signal('SIGHUP'), [/^reloaded 1: it is stopping/]);
});
