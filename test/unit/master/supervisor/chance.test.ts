import t, { type Test } from 'tap';
import { begin, type Driver, drive, driveServing } from './driver.js';

/** Never gives up. */
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
    const driver = drive(2, { drainDelayMs: random(2) * 1000 });
    driver.boot();
    const alive = new Set([1, 2]);
    for (let turn = 0; turn < 60; turn++) {
      const child = 1 + random(12);
      const moves = [
        () => driver.hello(child),
        () => driver.loaded(child),
        () => driver.ready(child),
        () => driver.drained(child),
        () => driver.say(child, { type: 'failed', code: 'HANDLER', message: 'x' }),
        () => (alive.delete(child) ? driver.exit(child, random(2) ? KILLED : {}) : []),
        () => driver.timer(random(2)),
        () => driver.disconnect(child),
        () => (random(8) === 0 ? driver.signal(random(2) ? 'SIGTERM' : 'SIGINT') : []),
        () => driver.timer('delay'),
      ];
      for (const effect of (moves[random(moves.length)] ?? driver.boot)()) {
        const forked = /^fork (\d+)/.exec(effect);
        if (forked) alive.add(Number(forked[1]));
      }
      driver.wait(random(500));
      const { children } = driver.state();
      const dying = children.filter(({ crash }) => crash !== null).length;
      if (children.length - dying > 2) t.fail(`round ${round}: ${children.length} in 2 slots`);
      const ended = driver.effects.filter(({ type }) => type === 'exit').length;
      if (ended > 1 || (ended === 1 && alive.size > 0)) t.fail(`round ${round}: exit too early`);
    }
    // Whatever happened before: two signals, and the death of all processes, end it.
    for (const signal of ['SIGTERM', 'SIGQUIT'] as const) driver.signal(signal);
    for (const child of alive) driver.exit(child, KILLED);
    if (driver.phase() !== 'ended')
      t.fail(`round ${round}: ${driver.tags()} after the death of all`);
    ends += driver.effects.filter(({ type }) => type === 'exit').length;
  }
  t.equal(ends, 300);
});

t.test(
  'no sequence of reloads, crashes and ends gets stuck, or gives one place to two',
  async (t) => {
    let reloaded = 0;
    let renewed = 0;
    let swapped = 0;
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    for (let round = 0; round < 300; round++) {
      const renewals = { windowMs: 1000, baseMs: 100, capMs: 1000 };
      const driver = driveServing(2, { crashes: { ...GENTLE }, renewals });
      for (let turn = 0; turn < 160; turn++) {
        const alive = driver.state().children.map(({ id }) => id);
        const child = alive[random(alive.length)] ?? 0;
        const moves = [
          () => driver.signal('SIGHUP'),
          () => prepare(driver, random),
          () => driver.say(child, preparedBy(driver, random(8) === 0 ? 'no' : null)),
          () => driver.say(child, preparedBy(driver)),
          () => driver.say(child, { type: 'switched', generation: driver.state().generation }),
          () => (random(8) === 0 ? driver.reloadTimer() : []),
          () => driver.hello(child),
          () => driver.loaded(child),
          () => driver.ready(child),
          () => driver.ready(child),
          () => begin(driver, child),
          () => begin(driver, child),
          () => begin(driver, child),
          () => begin(driver, child),
          () => driver.say(child, { type: 'hello', protocol: random(9), pid: 1 }),
          () => driver.drained(child),
          () => driver.childTimer(child),
          () => driver.timer(random(2)),
          () => driver.say(child, { type: 'failed', code: 'HANDLER', message: 'x' }),
          () => (random(2) ? driver.exit(child, KILLED) : driver.exit(child)),
          () => driver.memory(child, random(6) === 0 ? 'limit' : 'near'),
          () => driver.memory(child),
          () => (random(40) === 0 ? driver.signal('SIGTERM') : []),
        ];
        (moves[random(moves.length)] ?? driver.boot)();
        driver.wait(random(500));
        for (const slot of [0, 1]) {
          const sides = driver.state().children.filter((each) => each.slot === slot);
          if (new Set(sides.map(({ side }) => side)).size !== sides.length)
            t.fail(`round ${round}: sides`);
        }
      }
      renewed += driver.state().restarts.memory;
      reloaded += driver.state().reloads.ok;
      swapped += driver.effects.filter(
        (effect) => effect.type === 'reloaded' && effect.replaced === 'lua states',
      ).length;
      settle(driver);
      if (driver.phase() === 'serving') {
        t.equal(driver.state().reload.tag, 'idle', `round ${round}: no reload is left over`);
        const problems = driver.effects.flatMap((effect) =>
          effect.type === 'reloaded' && effect.failure?.message !== 'no'
            ? [effect.failure?.message ?? null]
            : [],
        );
        const { children, generation } = driver.state();
        const isOne = children.every((child) => child.generation === generation);
        // Generations mix only if a process loaded and died before it served.
        const isIncomplete = problems.some((each) => /was killed|exited|failed/.test(each ?? ''));
        if (!isOne) t.ok(isIncomplete, `round ${round}`);
        driver.signal('SIGTERM');
      }
      settle(driver);
      t.equal(driver.phase(), 'ended', `round ${round}`);
      checkFiles(t, driver, `round ${round}`);
    }
    t.ok(renewed > 100, `${renewed} reactors were replaced because of memory`);
    t.ok(reloaded > 100, `${reloaded} reloads went through`);
    t.ok(swapped > 100, `${swapped} of them exchanged Lua states`);
  },
);

/** Each prepared generation has separate files. */
const filesOf = new WeakMap<Driver, number>();

function prepare(driver: Driver, random: (below: number) => number): string[] {
  if (random(4) === 0) return driver.prepared('no');
  if (driver.state().reload.tag !== 'checking') return [];
  const appFd = (filesOf.get(driver) ?? 21) + 1;
  filesOf.set(driver, appFd);
  return random(2) === 0 ? driver.preparedWith({ appFd }) : driver.preparedLua(appFd);
}

function preparedBy(driver: Driver, problem: string | null = null) {
  const { reload } = driver.state();
  const generation = 'generation' in reload ? reload.generation : 0;
  return { type: 'prepared', generation, problem } as const;
}

/** All files are closed at the end, once, and none are passed on after that. */
function checkFiles(t: Test, driver: Driver, what: string): void {
  const closed = new Set<number>();
  for (const effect of driver.effects) {
    if (effect.type === 'send' && closed.has(effect.appFd ?? 0))
      t.fail(`${what}: sent closed files`);
    if (effect.type !== 'close-app') continue;
    if (closed.has(effect.appFd)) t.fail(`${what}: files are closed twice`);
    closed.add(effect.appFd);
  }
  const opened = (filesOf.get(driver) ?? 21) - 20;
  if (closed.size !== opened) t.fail(`${what}: ${closed.size} of ${opened} files are closed`);
}

/** Performs all effects, in any order, until there are none. */
function settle(driver: Driver): void {
  for (let turn = 0; turn < 200; turn++) {
    prepare(driver, () => 1);
    driver.timer(0);
    driver.timer(1);
    for (const { id, role } of driver.state().children) {
      begin(driver, id);
      driver.say(id, preparedBy(driver));
      driver.say(id, { type: 'switched', generation: driver.state().generation });
      if (role === 'predecessor' || driver.phase() !== 'serving') {
        driver.drained(id);
        driver.exit(id);
      }
    }
  }
}
