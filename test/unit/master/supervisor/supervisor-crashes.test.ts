import t from 'tap';
import { FOREIGN_SIGNALS } from '../../../../src/shared/signals.js';
import { begin, type Play, playServing } from './supervisor-play.js';

const KILLED = { code: null, signal: 'SIGKILL' } as const;

t.test('a killed reactor is replaced at once, the others are not touched', async (t) => {
  const game = playServing(2);
  t.strictSame(game.exit(1, KILLED), ['fork 3 in 0', 'arm 0 20000']);
  t.strictSame(game.tags(), ['starting', 'ready']);
  t.strictSame(game.hello(3), ['send 3 load']);
  t.strictSame(game.loaded(3), ['send 3 serve']);
  t.strictSame(game.ready(3), ['cancel 0'], 'ready is not announced again');
});

t.test('an exit with code 0 that was not ordered is a crash', async (t) => {
  t.strictSame(playServing(1).exit(1), ['fork 2 in 0', 'arm 0 20000']);
});

/** Crashes until slot 0 is in a crash loop; returns the child that crashed last. */
function crashLoop(game: Play, first: number): number {
  let child = first;
  while (game.tags()[0] !== 'failed') {
    if (game.tags()[0] === 'backoff') game.timer(0);
    child = game.state().children.find(({ slot }) => slot === 0)?.id ?? 0;
    begin(game, child);
    game.exit(child, KILLED);
  }
  return child;
}

t.test('a crash loop is retried with a longer delay, and the others go on', async (t) => {
  const game = playServing(2);
  const last = crashLoop(game, 1);
  t.strictSame(game.tags(), ['failed', 'ready']);
  t.equal(game.phase(), 'serving');
  t.match(
    game.effects.find((effect) => effect.type === 'log' && effect.message.includes('crash loop')),
    { level: 'error', fields: { reactor: 0, reason: 'crashed 4 times in 60 seconds' } },
  );
  t.match(game.effects.at(-1), { type: 'arm-timer', delayMs: 1000 });
  t.strictSame(game.timer(0), [`fork ${last + 1} in 0`, 'arm 0 20000']);
  game.hello(last + 1);
  t.strictSame(game.exit(last + 1, KILLED), ['arm 0 2000'], 'the delay doubles');
  game.timer(0);
  begin(game, last + 2);
  t.strictSame(game.tags(), ['ready', 'ready'], 'it may recover');
});

t.test('when the last reactor is in a crash loop, the server ends with its reason', async (t) => {
  const game = playServing(2);
  crashLoop(game, 1);
  let last: string[] = [];
  for (let child = 2; game.phase() === 'serving'; ) {
    last = game.exit(child, KILLED);
    if (game.tags()[1] === 'backoff') game.timer(1);
    child = game.state().children.find(({ slot }) => slot === 1)?.id ?? 0;
    if (game.phase() === 'serving') begin(game, child);
  }
  const message = 'reactor 1 crashed 4 times in 60 seconds; the last time: was killed by SIGKILL';
  t.equal(last.at(-1), `exit ERR_MOONRING_CRASH_LOOP: ${message}`);
});

t.test('a reactor that serves in spite of a crash loop counts as left', async (t) => {
  const game = playServing(2);
  const last = crashLoop(game, 1);
  game.timer(0);
  begin(game, last + 1);
  let child = 2;
  while (game.tags()[1] !== 'failed') {
    game.exit(child, KILLED);
    if (game.tags()[1] === 'backoff') game.timer(1);
    child = game.state().children.find(({ slot }) => slot === 1)?.id ?? 0;
    begin(game, child);
  }
  t.strictSame(game.tags(), ['ready', 'failed']);
  t.equal(game.phase(), 'serving');
  game.exit(last + 1, KILLED);
  t.equal(game.phase(), 'ended');
});

t.test('the crash loop of a slot does not keep the others from being reloaded', async (t) => {
  const game = playServing(2);
  const last = crashLoop(game, 1);
  game.signal('SIGHUP');
  t.strictSame(game.prepared(), [`fork ${last + 1} in 1`, `arm child ${last + 1} 20000`]);
  game.hello(last + 1);
  t.strictSame(
    game.loaded(last + 1),
    [
      `cancel child ${last + 1}`,
      `fork ${last + 2} in 0`,
      'arm 0 20000',
      `send ${last + 1} serve`,
      `arm child ${last + 1} 20000`,
    ],
    'the new generation may be the cure',
  );
  game.ready(last + 1);
  begin(game, last + 2);
  t.match(game.effects.at(-1), { type: 'reloaded', failure: null, generation: 2 });
  t.strictSame(game.tags(), ['ready', 'ready']);
});

t.test('crashes of different slots, and old ones, are not added up', async (t) => {
  const game = playServing(4);
  for (const child of [1, 2, 3, 4]) t.match(game.exit(child, KILLED)[0], /^fork/);
  const rare = playServing(1);
  for (let child = 1; child < 20; child++) {
    t.match(rare.exit(child, KILLED)[0], /^fork/);
    begin(rare, child + 1);
    rare.wait(60_000);
  }
});

t.test('a reactor without a channel is given time to exit, then killed', async (t) => {
  const game = playServing(1);
  t.strictSame(game.disconnect(1), ['arm 0 2000']);
  t.strictSame(game.timer(0), ['kill 1']);
  t.strictSame(game.exit(1, KILLED), ['fork 2 in 0', 'arm 0 20000']);
});

t.test('a reactor that sends an unreadable message is killed', async (t) => {
  t.strictSame(playServing(1).unreadable(1), ['kill 1']);
});

t.test('late events of a process that has exited are ignored', async (t) => {
  const game = playServing(1);
  game.exit(1, KILLED);
  for (const late of [game.exit(1), game.hello(1), game.loaded(1), game.ready(1)]) {
    t.strictSame(late, []);
  }
  t.strictSame(game.disconnect(1), []);
  t.strictSame(game.tags(), ['starting']);
});

t.test('messages out of place change nothing', async (t) => {
  const game = playServing(1);
  for (const effects of [game.hello(1), game.loaded(1), game.ready(1), game.drained(1)]) {
    t.strictSame(effects, []);
  }
  t.strictSame(game.timer(7), []);
  t.strictSame(game.say(1, { type: 'failed', code: 'SYSTEM', message: 'late' }), []);
  t.strictSame(game.say(1, { type: 'orphaned' }), []);
  t.strictSame(game.tags(), ['ready']);
});

t.test('signals that mean something to other servers are ignored', async (t) => {
  const game = playServing(1);
  for (const signal of FOREIGN_SIGNALS) {
    t.strictSame(game.signal(signal), [], signal);
    t.match(game.effects.at(-1), { type: 'log', level: 'warn', fields: { signal } });
  }
  t.equal(game.phase(), 'serving');
});

t.test('USR1 reopens the logs of all processes', async (t) => {
  const game = playServing(2);
  t.strictSame(game.signal('SIGUSR1'), ['send 1 reopen-logs', 'send 2 reopen-logs']);
  t.ok(game.effects.some(({ type }) => type === 'reopen-logs'));
  t.equal(game.phase(), 'serving');
});
