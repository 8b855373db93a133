import t, { type Test } from 'tap';
import { begin, type Play, play, playServing } from './supervisor-play.js';

/** Gives nothing up. */
const GENTLE = {
  maxFailedStarts: 1000,
  maxCrashes: 1000,
  windowMs: 60_000,
  baseMs: 100,
  capMs: 1000,
  loopCapMs: 8000,
};
const KILLED = { code: null, signal: 'SIGKILL' } as const;

t.test('no sequence of events forks two children into one slot or exits twice', async (t) => {
  let ends = 0;
  let seed = 1;
  const random = (below: number) => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % below;
  };
  for (let round = 0; round < 300; round++) {
    const game = play(2, { drainDelayMs: random(2) * 1000 });
    game.boot();
    const alive = new Set([1, 2]);
    for (let turn = 0; turn < 60; turn++) {
      const child = 1 + random(12);
      const moves = [
        () => game.hello(child),
        () => game.loaded(child),
        () => game.ready(child),
        () => game.drained(child),
        () => game.say(child, { type: 'failed', code: 'HANDLER', message: 'x' }),
        () => (alive.delete(child) ? game.exit(child, random(2) ? KILLED : {}) : []),
        () => game.timer(random(2)),
        () => game.disconnect(child),
        () => (random(8) === 0 ? game.signal(random(2) ? 'SIGTERM' : 'SIGINT') : []),
        () => game.timer('delay'),
      ];
      for (const effect of (moves[random(moves.length)] ?? game.boot)()) {
        const forked = /^fork (\d+)/.exec(effect);
        if (forked) alive.add(Number(forked[1]));
      }
      game.wait(random(500));
      if (alive.size > 2) t.fail(`round ${round}: ${alive.size} children in 2 slots`);
      const ended = game.effects.filter(({ type }) => type === 'exit').length;
      if (ended > 1 || (ended === 1 && alive.size > 0)) t.fail(`round ${round}: exit too early`);
    }
    // Whatever has happened: two signals, and the death of all, are the end.
    for (const signal of ['SIGTERM', 'SIGQUIT'] as const) game.signal(signal);
    for (const child of alive) game.exit(child, KILLED);
    if (game.phase() !== 'ended') t.fail(`round ${round}: ${game.tags()} after the death of all`);
    ends += game.effects.filter(({ type }) => type === 'exit').length;
  }
  t.equal(ends, 300);
});

t.test(
  'no sequence of reloads, crashes and ends gets stuck, or gives one place to two',
  async (t) => {
    let reloaded = 0;
    let swapped = 0;
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    for (let round = 0; round < 300; round++) {
      const game = playServing(2, { crashes: { ...GENTLE } });
      for (let turn = 0; turn < 160; turn++) {
        const alive = game.state().children.map(({ id }) => id);
        const child = alive[random(alive.length)] ?? 0;
        const moves = [
          () => game.signal('SIGHUP'),
          () => prepare(game, random),
          () => game.say(child, preparedBy(game, random(8) === 0 ? 'no' : null)),
          () => game.say(child, preparedBy(game)),
          () => game.say(child, { type: 'switched', generation: game.state().generation }),
          () => (random(8) === 0 ? game.reloadTimer() : []),
          () => game.hello(child),
          () => game.loaded(child),
          () => game.ready(child),
          () => game.ready(child),
          () => begin(game, child),
          () => begin(game, child),
          () => begin(game, child),
          () => begin(game, child),
          () => game.say(child, { type: 'hello', protocol: random(9), pid: 1 }),
          () => game.drained(child),
          () => game.childTimer(child),
          () => game.timer(random(2)),
          () => game.say(child, { type: 'failed', code: 'HANDLER', message: 'x' }),
          () => (random(2) ? game.exit(child, KILLED) : game.exit(child)),
          () => (random(40) === 0 ? game.signal('SIGTERM') : []),
        ];
        (moves[random(moves.length)] ?? game.boot)();
        game.wait(random(500));
        for (const slot of [0, 1]) {
          const sides = game.state().children.filter((each) => each.slot === slot);
          if (new Set(sides.map(({ side }) => side)).size !== sides.length)
            t.fail(`round ${round}: sides`);
        }
      }
      reloaded += game.state().reloads.ok;
      swapped += game.effects.filter(
        (effect) => effect.type === 'reloaded' && effect.replaced === 'lua states',
      ).length;
      settle(game);
      if (game.phase() === 'serving') {
        t.equal(game.state().reload.tag, 'idle', `round ${round}: no reload is left over`);
        const problems = game.effects.flatMap((effect) =>
          effect.type === 'reloaded' && effect.failure?.message !== 'no'
            ? [effect.failure?.message ?? null]
            : [],
        );
        const { children, generation } = game.state();
        const isOne = children.every((child) => child.generation === generation);
        // Who had loaded and died before it served is the one case in which generations mix.
        const isIncomplete = problems.some((each) => /was killed|exited|failed/.test(each ?? ''));
        if (!isOne) t.ok(isIncomplete, `round ${round}`);
        game.signal('SIGTERM');
      }
      settle(game);
      t.equal(game.phase(), 'ended', `round ${round}`);
      checkFiles(t, game, `round ${round}`);
    }
    t.ok(reloaded > 100, `${reloaded} reloads went through`);
    t.ok(swapped > 100, `${swapped} of them exchanged Lua states`);
  },
);

/** Each prepared generation has files of its own. */
const filesOf = new WeakMap<Play, number>();

function prepare(game: Play, random: (below: number) => number): string[] {
  if (random(4) === 0) return game.prepared('no');
  if (game.state().reload.tag !== 'checking') return [];
  const appFd = (filesOf.get(game) ?? 21) + 1;
  filesOf.set(game, appFd);
  return random(2) === 0 ? game.preparedWith({ appFd }) : game.preparedLua(appFd);
}

function preparedBy(game: Play, problem: string | null = null) {
  const { reload } = game.state();
  const generation = 'generation' in reload ? reload.generation : 0;
  return { type: 'prepared', generation, problem } as const;
}

/** All files are closed at the end, once, and none are passed on after that. */
function checkFiles(t: Test, game: Play, what: string): void {
  const closed = new Set<number>();
  for (const effect of game.effects) {
    if (effect.type === 'send' && closed.has(effect.appFd ?? 0))
      t.fail(`${what}: sent closed files`);
    if (effect.type !== 'close-app') continue;
    if (closed.has(effect.appFd)) t.fail(`${what}: files are closed twice`);
    closed.add(effect.appFd);
  }
  const opened = (filesOf.get(game) ?? 21) - 20;
  if (closed.size !== opened) t.fail(`${what}: ${closed.size} of ${opened} files are closed`);
}

/** All that is asked for is done, in whatever order, until nothing more is asked for. */
function settle(game: Play): void {
  for (let turn = 0; turn < 200; turn++) {
    prepare(game, () => 1);
    game.timer(0);
    game.timer(1);
    for (const { id, role } of game.state().children) {
      begin(game, id);
      game.say(id, preparedBy(game));
      game.say(id, { type: 'switched', generation: game.state().generation });
      if (role === 'predecessor' || game.phase() !== 'serving') {
        game.drained(id);
        game.exit(id);
      }
    }
  }
}
