import t from 'tap';
import { begin, loadSuccessors, play, playServing } from './supervisor-play.js';

const KILLED = { code: null, signal: 'SIGKILL' } as const;
const CUT = 'exit ERR_MOONRING_DRAIN: a second signal';

for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) {
  t.test(`${signal} drains; when all have drained and gone, exit without an error`, async (t) => {
    const game = playServing(2);
    t.strictSame(game.signal(signal), [
      'cancel delay',
      'send 1 drain',
      'arm 0 32000',
      'send 2 drain',
      'arm 1 32000',
    ]);
    t.strictSame(game.drained(1), ['arm 0 2000']);
    t.strictSame(game.disconnect(1), ['arm 0 2000']);
    t.strictSame(game.exit(1), ['cancel 0']);
    game.drained(2);
    t.strictSame(game.exit(2), ['cancel 1', 'exit']);
    t.strictSame(game.tags(), ['stopped', 'stopped']);
    t.equal(game.phase(), 'ended');
  });
}

t.test(
  'with drain-delay all is served as before, crashes too, until the delay is over',
  async (t) => {
    const game = playServing(2, { drainDelayMs: 5000 });
    t.strictSame(game.signal('SIGTERM'), ['arm delay 5000']);
    t.equal(game.phase(), 'delaying');
    t.strictSame(game.exit(1, KILLED), ['fork 3 in 0', 'arm 0 20000']);
    game.hello(3);
    game.loaded(3);
    t.strictSame(game.ready(3), ['cancel 0']);
    t.strictSame(game.timer('delay').slice(1), [
      'send 3 drain',
      'arm 0 32000',
      'send 2 drain',
      'arm 1 32000',
    ]);
  },
);

t.test('a second signal stops now and is not a clean end', async (t) => {
  for (const drainDelayMs of [0, 5000]) {
    const game = playServing(2, { drainDelayMs });
    game.signal('SIGTERM');
    t.strictSame(game.signal('SIGTERM'), [
      'cancel delay',
      'send 1 stop',
      'arm 0 500',
      'send 2 stop',
      'arm 1 500',
    ]);
    game.exit(1);
    t.match(game.exit(2).at(-1), CUT);
  }
});

t.test('a reactor that does not stop is killed; a third signal kills at once', async (t) => {
  const game = playServing(2);
  game.signal('SIGTERM');
  game.signal('SIGTERM');
  t.strictSame(game.timer(0), ['kill 1']);
  t.strictSame(game.signal('SIGTERM'), ['kill 1', 'kill 2']);
  game.exit(1, KILLED);
  t.match(game.exit(2, KILLED).at(-1), CUT);
  t.strictSame(game.signal('SIGTERM'), [], 'after the end');
});

t.test('Ctrl-C under npm arrives twice and counts once', async (t) => {
  const game = playServing(1);
  game.signal('SIGINT');
  game.wait(100);
  t.strictSame(game.signal('SIGINT'), []);
  t.equal(game.phase(), 'draining');
  game.wait(300);
  t.match(game.signal('SIGINT'), ['cancel delay', 'send 1 stop']);
});

t.test('a second signal when all have drained cuts nothing: the end is clean', async (t) => {
  const game = playServing(1);
  game.signal('SIGTERM');
  game.drained(1);
  t.strictSame(game.signal('SIGTERM'), ['cancel delay', 'send 1 stop', 'arm 0 500']);
  t.strictSame(game.exit(1), ['cancel 0', 'exit']);
});

t.test('a second signal hurries a replacement that has not begun yet', async (t) => {
  const game = playServing(2);
  t.strictSame(game.exit(1, KILLED), ['fork 3 in 0', 'arm 0 20000']);
  game.signal('SIGTERM');
  game.drained(2);
  game.exit(2);
  t.strictSame(game.signal('SIGTERM'), ['cancel delay', 'send 3 stop', 'arm 0 500']);
  t.strictSame(game.timer(0), ['kill 3']);
  t.match(game.exit(3, KILLED), ['cancel 0', CUT]);
});

t.test('what a leaver cuts while the drain is still delayed is not the drain’s', async (t) => {
  const game = playServing(1, { drainDelayMs: 5000 });
  loadSuccessors(game, 2);
  game.ready(2);
  game.signal('SIGTERM');
  game.say(1, { type: 'cut' });
  game.drained(1);
  game.exit(1);
  game.timer('delay');
  game.drained(2);
  t.strictSame(game.exit(2).slice(-1), ['exit']);
});

t.test('the drain’s deadline: what has not drained is killed, and that is an error', async (t) => {
  const game = playServing(2);
  game.signal('SIGTERM');
  game.drained(1);
  game.exit(1);
  t.strictSame(game.timer(1), ['kill 2']);
  t.strictSame(game.exit(2, KILLED), [
    'cancel 1',
    'exit ERR_MOONRING_DRAIN: reactor 1 was killed by SIGKILL before it had drained',
  ]);
});

t.test('a drain whose time was over is no clean end, whoever cut first', async (t) => {
  const game = playServing(2);
  game.signal('SIGTERM');
  game.drained(1);
  game.exit(1);
  t.strictSame(game.say(2, { type: 'cut' }), []);
  game.drained(2);
  t.strictSame(game.exit(2), [
    'cancel 1',
    'exit ERR_MOONRING_DRAIN: the time to drain was over before reactor 1 had finished its requests',
  ]);
});

t.test('a reactor that leaves after a reload and cuts something ends nothing', async (t) => {
  const game = playServing(1);
  t.strictSame(game.say(1, { type: 'cut' }), []);
  game.signal('SIGTERM');
  game.drained(1);
  t.strictSame(game.exit(1), ['cancel 0', 'exit']);
});

t.test('a crash in the drain is not restarted, the others go on draining', async (t) => {
  const game = playServing(2);
  game.signal('SIGTERM');
  t.strictSame(game.exit(1, { code: null, signal: 'SIGSEGV' }), ['cancel 0']);
  game.drained(2);
  t.match(game.exit(2).at(-1), 'reactor 0 was killed by SIGSEGV before it had drained');
});

t.test('a signal in start-up: nothing to drain, no delay', async (t) => {
  const game = play(2, { drainDelayMs: 5000 });
  game.boot();
  begin(game, 1);
  t.strictSame(game.signal('SIGTERM'), [
    'cancel delay',
    'send 1 drain',
    'arm 0 32000',
    'kill 2',
    'cancel 1',
  ]);
  t.strictSame(game.exit(2, KILLED), ['cancel 1']);
  game.drained(1);
  t.strictSame(game.exit(1), ['cancel 0', 'exit']);
});

t.test('a replacement may have requests before it is known to be ready: it drains', async (t) => {
  const game = playServing(2);
  game.exit(1, KILLED);
  game.hello(3);
  game.loaded(3);
  t.strictSame(game.signal('SIGTERM'), [
    'cancel delay',
    'send 3 drain',
    'arm 0 32000',
    'send 2 drain',
    'arm 1 32000',
  ]);
  t.strictSame(game.ready(3), [], 'the news was on its way');
  game.drained(2);
  game.exit(2);
  game.drained(3);
  t.strictSame(game.exit(3), ['cancel 0', 'exit']);
});

t.test('a replacement that had not begun answers what waits for it, then drains', async (t) => {
  const game = playServing(1);
  game.exit(1, KILLED);
  t.strictSame(game.signal('SIGTERM'), ['cancel delay', 'arm 0 32000']);
  t.strictSame(game.hello(2), ['send 2 load']);
  t.strictSame(game.loaded(2), ['send 2 serve', 'send 2 drain']);
  t.strictSame(game.ready(2), []);
  game.drained(2);
  t.strictSame(game.exit(2), ['cancel 0', 'exit']);
});

t.test('a replacement that dies in a drain leaves requests unanswered: an error', async (t) => {
  for (const died of ['before it loads', 'before it is ready']) {
    const game = playServing(1);
    game.exit(1, KILLED);
    game.hello(2);
    if (died === 'before it is ready') game.loaded(2);
    game.signal('SIGTERM');
    t.match(game.exit(2, KILLED).at(-1), /^exit ERR_MOONRING_DRAIN: reactor 0 was killed/, died);
  }
});

t.test('a reactor that waits to be restarted is not', async (t) => {
  const game = playServing(1);
  game.exit(1, KILLED);
  game.exit(2, KILLED);
  t.strictSame(game.tags(), ['backoff']);
  t.strictSame(game.signal('SIGTERM'), ['cancel delay', 'cancel 0', 'exit']);
  t.strictSame(game.timer(0), [], 'a timer that fired in the same instant');
});

t.test('the order to drain carries the timeout', async (t) => {
  const game = playServing(1, { drainTimeoutMs: 1234 });
  game.signal('SIGTERM');
  t.ok(
    game.effects.some(
      (effect) =>
        effect.type === 'send' &&
        effect.message.type === 'drain' &&
        effect.message.timeoutMs === 1234,
    ),
  );
});

t.test('a successor that gets ready in a drain leaves with the others', async (t) => {
  const game = playServing(1);
  loadSuccessors(game, 2);
  t.ok(game.signal('SIGTERM').includes('send 2 drain'));
  t.strictSame(game.ready(2), [], 'its word was under way');
  game.drained(2);
  game.exit(2);
  game.drained(1);
  t.strictSame(game.exit(1), ['cancel 0', 'exit']);
});

t.test('a successor that gets ready while a stop kills it serves nobody', async (t) => {
  const game = playServing(1, { drainDelayMs: 5000 });
  loadSuccessors(game, 2);
  game.signal('SIGTERM');
  t.ok(game.signal('SIGTERM').includes('kill 2'));
  t.strictSame(game.ready(2), [], 'its word was under way');
});

t.test('a drain that kills a replaced reactor is no clean end', async (t) => {
  const game = playServing(1);
  loadSuccessors(game, 2);
  game.ready(2);
  game.signal('SIGTERM');
  game.drained(2);
  game.exit(2);
  t.strictSame(game.childTimer(1), ['kill 1']);
  const end = 'exit ERR_MOONRING_DRAIN: the replaced reactor 0 was killed by SIGKILL before';
  t.match(game.exit(1, KILLED).at(-1), end);
});

t.test('orders to drain count once, whatever came before', async (t) => {
  for (const drainDelayMs of [0, 5000]) {
    const game = playServing(1, { drainDelayMs });
    game.order({ type: 'drain' });
    t.strictSame(game.order({ type: 'drain' }), []);
    t.strictSame(game.signal('SIGTERM'), [], 'the first signal goes on with the drain');
    t.strictSame(game.order({ type: 'drain' }), []);
    game.wait(1000);
    t.match(game.signal('SIGTERM'), ['cancel delay', 'send 1 stop'], 'a second one does not');
    t.strictSame(game.order({ type: 'drain' }), []);
  }
});

t.test('a signal in a drain that a crash loop began does not cut it', async (t) => {
  const game = playServing(2);
  loadSuccessors(game, 3, 4);
  game.ready(3);
  game.ready(4);
  let alive = game.state().children.filter(({ role }) => role === 'main');
  while (game.phase() === 'serving') {
    for (const { id } of alive) game.exit(id, KILLED);
    for (const slot of [0, 1]) if (game.tags()[slot] === 'backoff') game.timer(slot);
    alive = game.state().children.filter(({ role }) => role === 'main');
    for (const { id } of alive) if (game.phase() === 'serving') begin(game, id);
    for (const slot of [0, 1]) if (game.tags()[slot] === 'failed') game.timer(slot);
  }
  t.equal(game.phase(), 'draining', 'replaced reactors still have connections');
  t.strictSame(game.signal('SIGTERM'), []);
});

t.test('a stop is a clean end: no fatal record', async (t) => {
  const game = playServing(2);
  t.strictSame(game.order({ type: 'stop' }), [
    'cancel delay',
    'send 1 stop',
    'arm 0 500',
    'send 2 stop',
    'arm 1 500',
  ]);
  t.strictSame(game.order({ type: 'stop' }), [], 'once');
  game.exit(1);
  t.strictSame(game.exit(2, KILLED), ['cancel 1', 'exit']);
  t.notOk(game.effects.some((effect) => effect.type === 'log' && effect.level === 'fatal'));
});

t.test('a stop in a drain fails the drain, and says so without a fatal record', async (t) => {
  const game = playServing(1);
  game.order({ type: 'drain' });
  game.order({ type: 'stop' });
  t.match(game.exit(1).at(-1), 'exit ERR_MOONRING_DRAIN: a stop order cut the drain short');
  t.notOk(game.effects.some((effect) => effect.type === 'log' && effect.level === 'fatal'));
});

t.test('the beginning of the end is announced once', async (t) => {
  const game = playServing(1, { drainDelayMs: 5000 });
  game.signal('SIGTERM');
  game.timer('delay');
  game.order({ type: 'stop' });
  game.order({ type: 'stop' });
  t.equal(game.effects.filter(({ type }) => type === 'announce-stopping').length, 1);
});
