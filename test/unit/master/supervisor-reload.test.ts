import t from 'tap';
import { playServing } from './supervisor-play.js';

const HAND_OVER_MS = 32_000;

t.test(
  'slot after slot: start the successor, wait until it is ready, send the old away',
  async (t) => {
    const game = playServing(2);
    t.strictSame(game.signal('SIGHUP'), ['prepare']);
    t.strictSame(game.prepared(), ['fork 3 in 0', 'arm child 3 20000']);
    t.strictSame(game.hello(3), ['send 3 start']);
    t.strictSame(game.ready(3), [
      'cancel child 3',
      'cancel 0',
      'send 1 hand-over',
      `arm child 1 ${HAND_OVER_MS}`,
      'fork 4 in 1',
      'arm child 4 20000',
    ]);
    t.strictSame(game.drained(1), ['arm child 1 2000']);
    t.strictSame(game.exit(1), ['cancel child 1']);
    game.hello(4);
    t.strictSame(game.ready(4), [
      'cancel child 4',
      'cancel 1',
      'send 2 hand-over',
      `arm child 2 ${HAND_OVER_MS}`,
      'reloaded 2',
    ]);
    t.strictSame(game.tags(), ['ready', 'ready']);
    t.strictSame(game.state().tally.reloads, { ok: 1, rejected: 0 });
  },
);

t.test('a second order during a reload is kept once', async (t) => {
  const game = playServing(1);
  game.signal('SIGHUP');
  t.strictSame(game.signal('SIGHUP'), []);
  t.strictSame(game.order({ type: 'reload' }), []);
  game.prepared();
  game.hello(2);
  t.strictSame(game.ready(2).slice(-2), ['reloaded 2', 'prepare']);
  t.strictSame(game.prepared(), ['fork 3 in 0', 'arm child 3 20000']);
});

t.test('what is wrong with handler or configuration changes nothing', async (t) => {
  const game = playServing(1);
  game.signal('SIGHUP');
  t.strictSame(game.prepared('app.lua:3: no'), ['reloaded 1: app.lua:3: no']);
  t.strictSame(game.state().tally.reloads, { ok: 0, rejected: 1 });
  t.strictSame(game.signal('SIGHUP'), ['prepare'], 'the next one is tried');
});

t.test('a successor that does not start leaves the old one alone', async (t) => {
  const game = playServing(2);
  game.signal('SIGHUP');
  game.prepared();
  game.hello(3);
  game.say(3, { type: 'failed', code: 'HANDLER', message: 'app.lua:1: no' });
  t.strictSame(game.exit(3, { code: 1 }), [
    'cancel child 3',
    'reloaded 2: the new reactor 0 said: app.lua:1: no',
  ]);
  t.strictSame(game.tags(), ['ready', 'ready']);
  game.signal('SIGHUP');
  game.prepared();
  t.strictSame(game.childTimer(4), ['kill 4'], 'nor one that hangs');
  t.match(game.exit(4, { code: null, signal: 'SIGKILL' }), [/^cancel/, /not ready within/]);
});

t.test('a crash while the successor starts: the successor inherits the slot', async (t) => {
  const game = playServing(1);
  game.signal('SIGHUP');
  game.prepared();
  t.strictSame(game.exit(1, { signal: 'SIGSEGV', code: null }), [
    'cancel 0',
    'cancel child 2',
    'arm 0 20000',
  ]);
  t.strictSame(game.hello(2), ['send 2 start']);
  t.strictSame(game.ready(2), ['cancel 0', 'reloaded 2']);
});

t.test('a crash of another slot: it starts with the new generation', async (t) => {
  const game = playServing(2);
  game.signal('SIGHUP');
  game.prepared();
  t.strictSame(game.exit(2, { signal: 'SIGKILL', code: null }).slice(-2), [
    'fork 4 in 1',
    'arm 1 20000',
  ]);
  game.hello(3);
  game.ready(3);
  game.hello(4);
  t.strictSame(game.ready(4), ['cancel 1', 'reloaded 2']);
});

t.test('no more than two processes leave a slot at a time', async (t) => {
  const game = playServing(1);
  for (const child of [2, 3]) {
    game.signal('SIGHUP');
    game.prepared();
    game.hello(child);
    game.ready(child);
  }
  game.signal('SIGHUP');
  t.strictSame(game.prepared(), [], 'the third reload waits');
  game.drained(1);
  t.strictSame(game.exit(1), ['cancel child 1', 'fork 4 in 0', 'arm child 4 20000']);
  const sides = game.state().children.map(({ side }) => side);
  t.equal(new Set(sides).size, sides.length, 'no place on the page is used twice');
});

t.test(
  'a stop during a reload: the successor may have requests too and drains, what leaves closes',
  async (t) => {
    const game = playServing(2);
    game.signal('SIGHUP');
    game.prepared();
    game.hello(3);
    game.ready(3);
    t.strictSame(game.signal('SIGTERM'), [
      'cancel delay',
      `arm child 1 ${HAND_OVER_MS}`,
      `arm child 4 ${HAND_OVER_MS}`,
      'send 3 drain',
      `arm 0 ${HAND_OVER_MS}`,
      'send 2 drain',
      `arm 1 ${HAND_OVER_MS}`,
      'send 1 drain',
      'send 4 drain',
      'reloaded 2: the server stops',
    ]);
    for (const child of [1, 2, 3]) game.drained(child);
    for (const child of [1, 2, 3]) game.exit(child);
    t.strictSame(game.exit(4, { code: null, signal: 'SIGKILL' }), ['cancel child 4', 'exit']);
  },
);

t.test('before all reactors are ready nothing is reloaded', async (t) => {
  const game = playServing(1);
  game.signal('SIGTERM');
  t.match(game.signal('SIGHUP'), [/^reloaded 1: it is stopping/]);
});
