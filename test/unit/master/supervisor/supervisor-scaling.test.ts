import t from 'tap';
import { scalingProblem } from '../../../../src/master/supervisor/supervisor.js';
import { begin, playServing } from './supervisor-play.js';

t.test('more: new slots, the others are left alone', async (t) => {
  const game = playServing(1);
  t.strictSame(game.order({ type: 'scale', processes: 3 }), [
    'fork 2 in 1',
    'arm 1 20000',
    'fork 3 in 2',
    'arm 2 20000',
  ]);
  begin(game, 2);
  t.strictSame(game.tags(), ['ready', 'ready', 'starting']);
});

t.test('fewer: the last ones hand over, and come back when asked', async (t) => {
  const game = playServing(3);
  t.strictSame(game.order({ type: 'scale', processes: 1 }), [
    'close-slot 1',
    'send 2 hand-over',
    'arm 1 32000',
    'close-slot 2',
    'send 3 hand-over',
    'arm 2 32000',
  ]);
  t.strictSame(game.order({ type: 'scale', processes: 2 }), [], 'one order after the other');
  game.drained(2);
  t.strictSame(game.exit(2), ['cancel 1', 'reclaim-slot 1']);
  game.drained(3);
  game.exit(3);
  t.strictSame(game.tags(), ['ready', 'stopped', 'stopped']);
  t.strictSame(game.order({ type: 'scale', processes: 2 }), ['fork 4 in 1', 'arm 1 20000']);
});

t.test('a slot that waits for its restart is not started any more', async (t) => {
  const game = playServing(2);
  game.exit(2, { code: 1 });
  game.exit(3, { code: 1 });
  t.strictSame(game.tags(), ['ready', 'backoff']);
  t.strictSame(game.order({ type: 'scale', processes: 1 }), [
    'close-slot 1',
    'cancel 1',
    'reclaim-slot 1',
  ]);
  t.strictSame(game.signal('SIGTERM'), ['cancel delay', 'send 1 drain', 'arm 0 32000']);
  game.drained(1);
  t.strictSame(game.exit(1), ['cancel 0', 'exit']);
});

t.test('one that is not known to be ready hands over if it may have begun', async (t) => {
  const game = playServing(1);
  game.order({ type: 'scale', processes: 3 });
  game.hello(2);
  game.hello(3);
  game.loaded(3);
  t.strictSame(game.order({ type: 'scale', processes: 1 }), [
    'close-slot 1',
    'kill 2',
    'cancel 1',
    'close-slot 2',
    'send 3 hand-over',
    'arm 2 32000',
  ]);
  t.strictSame(game.ready(3), [], 'its word was under way');
});

t.test('not during a reload', async (t) => {
  const game = playServing(1);
  game.signal('SIGHUP');
  t.strictSame(game.order({ type: 'scale', processes: 2 }), []);
});

t.test('what was scaled away and is still busy drains with the others', async (t) => {
  const game = playServing(2);
  game.order({ type: 'scale', processes: 1 });
  t.strictSame(game.signal('SIGTERM'), [
    'cancel delay',
    'send 1 drain',
    'arm 0 32000',
    'send 2 drain',
    'arm 1 32000',
  ]);
  for (const child of [1, 2]) game.drained(child);
  game.exit(1);
  t.equal(game.exit(2).at(-1), 'exit');
});

t.test('what was scaled away during the delay leaves its inbox to the others', async (t) => {
  const game = playServing(2, { drainDelayMs: 5000 });
  game.order({ type: 'scale', processes: 1 });
  game.signal('SIGTERM');
  game.drained(2);
  t.strictSame(game.exit(2), ['cancel 1', 'reclaim-slot 1']);
});

t.test('a number that cannot be is refused with a reason, and changes nothing', async (t) => {
  const game = playServing(3, { minReactors: 2 });
  for (const processes of [0, -1, 1.5, Number.NaN, Infinity]) {
    t.equal(scalingProblem(game.state(), processes), 'processes must be a whole number from 1');
    t.strictSame(game.order({ type: 'scale', processes }), [], `${processes}`);
  }
  t.equal(scalingProblem(game.state(), 1), '--min-reactors is 2');
  t.equal(scalingProblem(game.state(), 2), null);
  t.strictSame(game.tags(), ['ready', 'ready', 'ready']);
});
