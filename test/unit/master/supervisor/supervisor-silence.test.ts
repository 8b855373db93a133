import t from 'tap';
import { loadSuccessors, playServing } from './supervisor-play.js';

t.test('a reactor whose heartbeat is lost is aborted, killed, and replaced', async (t) => {
  const game = playServing(2);
  t.strictSame(game.silent(1), ['abort 1', 'arm 0 2000']);
  t.strictSame(game.silent(1), [], 'once');
  t.strictSame(game.timer(0), ['kill 1']);
  t.strictSame(game.exit(1, { code: null, signal: 'SIGKILL' }), ['fork 3 in 0', 'arm 0 20000']);
  t.match(game.state().restarts, { stuck: 1, signal: 0 });
  t.strictSame(game.tags(), ['starting', 'ready'], 'the other one is left alone');
});

t.test('one that is being started has a timeout of its own', async (t) => {
  const game = playServing(1);
  game.exit(1, { code: 1 });
  t.strictSame(game.silent(2), []);
});

t.test('a replaced reactor that is stuck is ended too', async (t) => {
  const game = playServing(1);
  loadSuccessors(game, 2);
  game.ready(2);
  t.strictSame(game.silent(1), ['abort 1', 'arm child 1 2000']);
  t.strictSame(game.childTimer(1), ['kill 1']);
  t.strictSame(game.exit(1, { code: null, signal: 'SIGKILL' }), ['cancel child 1']);
  t.match(game.state().restarts, { stuck: 0 }, 'nobody had to be started for it');
});
