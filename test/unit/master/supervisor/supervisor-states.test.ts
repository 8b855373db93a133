import t from 'tap';
import { begin, type Play, playServing } from './supervisor-play.js';

const KILLED = { code: null, signal: 'SIGKILL' } as const;

function prepared(game: Play, child: number, problem: string | null = null) {
  const { reload } = game.state();
  const generation = 'generation' in reload ? reload.generation : 0;
  return game.say(child, { type: 'prepared', generation, problem });
}

const switched = (game: Play, child: number) =>
  game.say(child, { type: 'switched', generation: game.state().generation });

/** The files that were sent, in order, and those that were closed. */
function files(game: Play) {
  return {
    sent: game.effects.flatMap((effect) =>
      effect.type === 'send' && effect.appFd !== undefined ? [[effect.child, effect.appFd]] : [],
    ),
    closed: game.effects.flatMap((effect) => (effect.type === 'close-app' ? [effect.appFd] : [])),
  };
}

t.test('when all reactors have loaded the Lua files all switch, and no process starts', (t) => {
  const game = playServing(2);
  game.signal('SIGHUP');
  t.strictSame(game.preparedLua(22), ['arm reload 20000', 'send 1 prepare', 'send 2 prepare']);
  t.strictSame(prepared(game, 2), []);
  t.equal(game.state().generation, 1, 'nothing has changed yet');
  t.strictSame(files(game).closed, []);
  t.strictSame(prepared(game, 1), ['cancel reload', 'send 1 switch', 'send 2 switch']);
  t.equal(game.state().generation, 2);
  t.strictSame(switched(game, 1), []);
  t.strictSame(switched(game, 2), ['reloaded 2']);
  t.strictSame(game.state().reloads, { ok: 1, rejected: 0 });
  t.strictSame(
    game.state().children.map(({ generation, next }) => [generation, next]),
    [
      [2, 'none'],
      [2, 'none'],
    ],
  );
  t.strictSame(files(game), {
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

t.test('one that does not load: the others forget theirs, and nothing has changed', (t) => {
  const game = playServing(2);
  game.signal('SIGHUP');
  game.preparedLua(22);
  prepared(game, 1);
  t.strictSame(prepared(game, 2, 'app.lua:1: no'), [
    'send 1 discard',
    'send 2 discard',
    'cancel reload',
    'reloaded 1: reactor 1: app.lua:1: no',
  ]);
  t.strictSame(prepared(game, 1), [], 'a late word changes nothing');
  t.strictSame(game.state().reloads, { ok: 0, rejected: 1 });
  t.strictSame(files(game).closed, [22]);
  t.strictSame(game.signal('SIGHUP'), ['prepare'], 'the next one is tried');
  t.strictSame(game.preparedLua(23).slice(1), ['send 1 prepare', 'send 2 prepare']);
  t.end();
});

t.test('one that never says anything ends the reload, not the reactor', (t) => {
  const game = playServing(2);
  game.signal('SIGHUP');
  game.preparedLua(22);
  prepared(game, 1);
  t.strictSame(game.reloadTimer(), [
    'send 1 discard',
    'send 2 discard',
    'cancel reload',
    'reloaded 1: not all reactors have loaded within 20000 ms',
  ]);
  t.strictSame(game.reloadTimer(), [], 'it may fire late');
  t.strictSame(game.tags(), ['ready', 'ready']);
  t.end();
});

t.test('a reactor that crashes meanwhile starts with the old files, and prepares too', (t) => {
  const game = playServing(2);
  game.signal('SIGHUP');
  game.preparedLua(22);
  prepared(game, 1);
  t.strictSame(game.exit(2, KILLED).slice(0, 2), ['fork 3 in 1', 'arm 1 20000']);
  game.hello(3);
  game.loaded(3);
  t.equal(game.state().generation, 1, 'it is waited for');
  t.strictSame(game.ready(3), ['cancel 1', 'send 3 prepare']);
  t.strictSame(prepared(game, 3).slice(1), ['send 1 switch', 'send 3 switch']);
  t.strictSame(files(game).sent.slice(2), [
    [1, 22],
    [2, 22],
    [3, 21],
    [3, 22],
  ]);
  t.end();
});

t.test('a reactor that waits for its restart starts with the new files', (t) => {
  const game = playServing(2);
  game.exit(2, KILLED);
  game.exit(3, KILLED);
  t.strictSame(game.tags(), ['ready', 'backoff']);
  game.signal('SIGHUP');
  game.preparedLua(22);
  t.strictSame(prepared(game, 1), ['cancel reload', 'send 1 switch']);
  t.strictSame(switched(game, 1), ['reloaded 2']);
  game.timer(1);
  game.hello(4);
  t.strictSame(files(game).sent.at(-1), [4, 22]);
  t.equal(game.state().children.at(-1)?.generation, 2);
  t.end();
});

t.test('a reactor that crashes before it has switched is replaced by a new one', (t) => {
  const game = playServing(2);
  game.signal('SIGHUP');
  game.preparedLua(22);
  prepared(game, 1);
  prepared(game, 2);
  switched(game, 1);
  t.strictSame(game.exit(2, KILLED), ['fork 3 in 1', 'arm 1 20000', 'reloaded 2']);
  begin(game, 3);
  t.strictSame(files(game).sent.at(-1), [3, 22]);
  t.end();
});

t.test('a slot in a crash loop has no part in it, and gets another chance', (t) => {
  const game = playServing(2);
  let child = 2;
  while (game.tags()[1] !== 'failed') {
    game.exit(child, KILLED);
    child = game.state().nextChild;
    if (game.tags()[1] === 'backoff') game.timer(1);
    child = game.state().nextChild - 1;
  }
  game.signal('SIGHUP');
  t.strictSame(game.preparedLua(22), ['arm reload 20000', 'send 1 prepare']);
  const next = game.state().nextChild;
  t.strictSame(prepared(game, 1), [
    'cancel reload',
    `fork ${next} in 1`,
    'arm 1 20000',
    'send 1 switch',
  ]);
  game.hello(next);
  t.strictSame(files(game).sent.at(-1), [next, 22]);
  t.end();
});

t.test('the server ends while reactors load, or switch', (t) => {
  const loading = playServing(2);
  loading.signal('SIGHUP');
  loading.preparedLua(22);
  t.strictSame(loading.order({ type: 'stop' }).slice(-4), [
    'send 1 discard',
    'send 2 discard',
    'cancel reload',
    'reloaded 1: the server stops',
  ]);
  t.strictSame(files(loading).closed, [22]);
  t.equal(loading.state().reload.tag, 'idle');

  const switching = playServing(1);
  switching.signal('SIGHUP');
  switching.preparedLua(22);
  prepared(switching, 1);
  t.equal(switching.order({ type: 'stop' }).at(-1), 'reloaded 2');
  switching.exit(1);
  t.strictSame(files(switching).closed, [21, 22]);

  const checking = playServing(1);
  checking.signal('SIGHUP');
  checking.order({ type: 'stop' });
  checking.preparedLua(22);
  t.strictSame(files(checking).closed, [22]);
  t.end();
});

t.test(
  'a reactor that an earlier reload could not replace: processes, as it has old options',
  (t) => {
    const game = playServing(2);
    game.signal('SIGHUP');
    game.prepared();
    for (const child of [3, 4]) {
      game.hello(child);
      game.loaded(child);
    }
    game.ready(3);
    t.match(game.exit(4, KILLED).at(-1), /^reloaded 2: the new reactor 1 was killed by SIGKILL/);
    game.signal('SIGHUP');
    t.match(game.preparedLua(22), ['fork 5 in 0']);
    t.end();
  },
);

t.test('a second order is kept, and runs after the first', (t) => {
  const game = playServing(1);
  game.signal('SIGHUP');
  game.preparedLua(22);
  t.strictSame(game.signal('SIGHUP'), []);
  prepared(game, 1);
  t.strictSame(switched(game, 1), ['reloaded 2', 'prepare']);
  t.strictSame(game.preparedLua(23), ['arm reload 20000', 'send 1 prepare']);
  t.end();
});
