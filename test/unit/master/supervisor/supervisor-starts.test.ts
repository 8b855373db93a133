import t from 'tap';
import { begin, play, playServing } from './supervisor-play.js';

t.test('all are forked, greeted, load, serve; ready is announced once, by the last', async (t) => {
  const game = play(2);
  t.strictSame(game.boot(), ['fork 1 in 0', 'arm 0 20000', 'fork 2 in 1', 'arm 1 20000']);
  t.strictSame(game.hello(2), ['send 2 load']);
  t.strictSame(game.hello(1), ['send 1 load']);
  t.strictSame(game.loaded(2), ['send 2 serve']);
  t.strictSame(game.loaded(1), ['send 1 serve']);
  t.strictSame(game.ready(2), ['cancel 1']);
  t.equal(game.phase(), 'starting');
  t.strictSame(game.ready(1), ['cancel 0', 'ready system']);
  t.equal(game.phase(), 'serving');
  const starts = game.effects.flatMap((effect) =>
    effect.type === 'send' && effect.message.type === 'load' ? [effect.message.options] : [],
  );
  t.strictSame(
    starts.map((options) => options.index),
    [1, 0],
    'each knows its own number',
  );
});

t.test('a reactor of another version ends everything', async (t) => {
  const game = play(2);
  game.boot();
  const said = game.say(1, { type: 'hello', protocol: 99, pid: 101 });
  t.strictSame(said, ['cancel delay', 'kill 1', 'cancel 0', 'kill 2', 'cancel 1']);
  game.exit(1, { code: null, signal: 'SIGKILL' });
  const [last] = game.exit(2, { code: null, signal: 'SIGKILL' }).slice(-1);
  t.match(last, /^exit ERR_MOONRING_PROTOCOL: reactor 0 speaks protocol 99/);
});

t.test('a replacement of another version is a failed start', async (t) => {
  const game = playServing(2);
  game.exit(1, { code: null, signal: 'SIGKILL' });
  t.strictSame(game.say(3, { type: 'hello', protocol: 99, pid: 103 }), ['kill 3']);
  t.strictSame(game.exit(3, { code: null, signal: 'SIGKILL' }), ['arm 0 100']);
  t.strictSame(game.tags(), ['backoff', 'ready']);
});

t.test('a handler that fails in the first start ends everything, with its message', async (t) => {
  for (const [code, error] of [
    ['HANDLER', 'ERR_MOONRING_HANDLER'],
    ['INVALID', 'ERR_MOONRING_CONFIG'],
  ] as const) {
    const game = play(2);
    game.boot();
    game.hello(1);
    begin(game, 2);
    t.strictSame(game.say(1, { type: 'failed', code, message: 'app.lua:3: oh' }), []);
    t.strictSame(game.exit(1, { code: 1 }), [
      'cancel 0',
      'cancel delay',
      'send 2 stop',
      'arm 1 500',
    ]);
    t.strictSame(game.tags(), ['stopped', 'draining']);
    t.strictSame(game.exit(2), ['cancel 1', `exit ${error}: app.lua:3: oh`]);
  }
});

t.test('the same failure later is a crash: the handler served before', async (t) => {
  const game = playServing(2);
  game.exit(1, { code: null, signal: 'SIGKILL' });
  game.hello(3);
  game.say(3, { type: 'failed', code: 'HANDLER', message: 'app.lua:3: oh' });
  t.strictSame(game.exit(3, { code: 1 }), ['arm 0 100']);
  t.strictSame(game.tags(), ['backoff', 'ready']);
});

t.test('crashes in the start of the only reactor: retried, then the server ends', async (t) => {
  const game = play(1);
  game.boot();
  t.strictSame(game.exit(1, { code: null, signal: 'SIGSEGV' }), ['arm 0 100']);
  t.strictSame(game.timer(0), ['fork 2 in 0', 'arm 0 20000']);
  game.hello(2);
  game.say(2, { type: 'failed', code: 'SYSTEM', message: 'no descriptors left' });
  t.strictSame(game.exit(2, { code: 1 }), ['arm 0 100']);
  game.timer(0);
  const sentence = 'reactor 0 did not start 3 times in a row; the last time: exited with code 1';
  t.strictSame(game.exit(3, { code: 1 }), [
    'cancel delay',
    'cancel 0',
    `exit ERR_MOONRING_CRASH_LOOP: ${sentence}`,
  ]);
  t.equal(game.phase(), 'ended');
});

t.test('a reactor that does not get ready in time is killed and counted', async (t) => {
  const game = play(1);
  game.boot();
  game.hello(1);
  t.strictSame(game.timer(0), ['kill 1']);
  t.strictSame(game.exit(1, { code: null, signal: 'SIGKILL' }), ['arm 0 100']);
  for (const child of [2, 3]) {
    game.timer(0);
    game.timer(0);
    game.exit(child, { code: null, signal: 'SIGKILL' });
  }
  t.match(game.effects.at(-1), {
    type: 'exit',
    failure: { message: /3 times in a row; the last time: not ready within 20000 ms$/ },
  });
});

t.test('a process that could not be forked counts as crashed', async (t) => {
  const game = play(1);
  game.boot();
  t.strictSame(game.exit(1, { pid: null, code: null }), ['arm 0 100']);
  t.match(
    game.effects.find(({ type }) => type === 'log'),
    { fields: { reactorPid: null, code: null, signal: null } },
  );
});

t.test('a crash before all are ready does not hold up the others', async (t) => {
  const game = play(2);
  game.boot();
  begin(game, 1);
  game.exit(2, { code: 1 });
  t.strictSame(game.tags(), ['ready', 'backoff']);
  game.timer(1);
  game.hello(3);
  game.loaded(3);
  t.strictSame(game.ready(3), ['cancel 1', 'ready system']);
});

t.test('a reactor that cannot start does not keep the others from serving', async (t) => {
  const game = play(2);
  game.boot();
  begin(game, 1);
  let last: string[] = [];
  while (game.phase() === 'starting') {
    const child = game.state().children.find(({ slot }) => slot === 1)?.id;
    if (child === undefined) game.timer(1);
    else last = game.exit(child, { code: 1 });
  }
  t.strictSame(last, ['ready system', 'arm 1 1000'], 'it is retried');
  t.strictSame(game.tags(), ['ready', 'failed']);
});

t.test('with min-reactors the start waits for so many', async (t) => {
  const game = play(2, { minReactors: 2 });
  game.boot();
  begin(game, 1);
  while (game.tags()[1] !== 'failed') {
    const child = game.state().children.find(({ slot }) => slot === 1)?.id;
    if (child === undefined) game.timer(1);
    else game.exit(child, { code: 1 });
  }
  t.equal(game.phase(), 'starting');
  game.timer(1);
  begin(game, game.state().nextChild - 1);
  t.equal(game.phase(), 'serving');
});

t.test('time in which the master itself was stopped does not count for a start', async (t) => {
  const game = play(1);
  game.boot();
  t.strictSame(game.timer(0, 5000), ['arm 0 20000'], 'it gets its time once more');
  t.strictSame(game.timer(0, 3), ['kill 1']);
});
