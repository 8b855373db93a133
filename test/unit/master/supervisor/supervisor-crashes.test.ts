import t from 'tap';
import { FOREIGN_SIGNALS } from '../../../../src/shared/signals.js';
import { begin, playServing } from './supervisor-play.js';

const KILLED = { code: null, signal: 'SIGKILL' } as const;

t.test('a killed reactor is replaced at once, the others are not touched', async (t) => {
  const game = playServing(2);
  t.strictSame(game.exit(1, KILLED), ['cancel 0', 'fork 3 in 0', 'arm 0 20000']);
  t.strictSame(game.tags(), ['starting', 'ready']);
  t.strictSame(game.hello(3), ['send 3 load']);
  t.strictSame(game.loaded(3), ['send 3 serve']);
  t.strictSame(game.ready(3), ['cancel 0'], 'ready is not announced again');
});

t.test('an exit with code 0 that nobody asked for is a crash', async (t) => {
  t.strictSame(playServing(1).exit(1), ['cancel 0', 'fork 2 in 0', 'arm 0 20000']);
});

t.test('a crash loop backs off, then gives up: the others drain, exit 70', async (t) => {
  const game = playServing(2);
  t.strictSame(game.exit(1, KILLED), ['cancel 0', 'fork 3 in 0', 'arm 0 20000']);
  const delays = ['arm 0 100', 'arm 0 200'];
  for (const [i, delay] of delays.entries()) {
    const child = 3 + i;
    begin(game, child);
    t.strictSame(game.exit(child, KILLED), [delay]);
    t.strictSame(game.timer(0), [`fork ${child + 1} in 0`, 'arm 0 20000']);
  }
  begin(game, 5);
  t.strictSame(game.exit(5, KILLED), ['cancel 0', 'cancel delay', 'send 2 drain', 'arm 1 32000']);
  t.strictSame(game.tags(), ['failed', 'draining']);
  game.drained(2);
  const sentence = 'reactor 0 crashed 4 times in 60 seconds; the last time: was killed by SIGKILL';
  t.strictSame(game.exit(2), ['cancel 1', `exit ERR_MOONRING_CRASH_LOOP: ${sentence}`]);
});

t.test('crashes of different slots, and old ones, are not added up', async (t) => {
  const game = playServing(4);
  for (const child of [1, 2, 3, 4]) t.match(game.exit(child, KILLED)[1], /^fork/);
  const rare = playServing(1);
  for (let child = 1; child < 20; child++) {
    t.match(rare.exit(child, KILLED)[1], /^fork/);
    begin(rare, child + 1);
    rare.wait(60_000);
  }
});

t.test('a reactor without a channel is given time to exit, then killed', async (t) => {
  const game = playServing(1);
  t.strictSame(game.disconnect(1), ['arm 0 2000']);
  t.strictSame(game.timer(0), ['kill 1']);
  t.strictSame(game.exit(1, KILLED), ['cancel 0', 'fork 2 in 0', 'arm 0 20000']);
});

t.test('a reactor that cannot be understood is killed', async (t) => {
  t.strictSame(playServing(1).unreadable(1), ['kill 1']);
});

t.test('what a buried child left behind is ignored', async (t) => {
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

t.test('signals of other servers end nothing', async (t) => {
  const game = playServing(1);
  for (const signal of FOREIGN_SIGNALS) {
    t.strictSame(game.signal(signal), [], signal);
    t.match(game.effects.at(-1), { type: 'log', level: 'warn', fields: { signal } });
  }
  t.equal(game.phase(), 'serving');
});

t.test('USR1 opens the logs of all anew', async (t) => {
  const game = playServing(2);
  t.strictSame(game.signal('SIGUSR1'), ['send 1 reopen-logs', 'send 2 reopen-logs']);
  t.ok(game.effects.some(({ type }) => type === 'reopen-logs'));
  t.equal(game.phase(), 'serving');
});
