import t from 'tap';
import {
  addCrash,
  CRASH_POLICY,
  type CrashHistory,
  NO_CRASHES,
  restartDelayMs,
} from '../../../../src/master/supervisor/backoff.js';

interface Verdict {
  readonly delayMs: number;
  readonly loop: string | null;
}

/** What follows from crashes at these times. */
function verdicts(timesMs: readonly number[], wasReady: boolean, random = 0): Verdict[] {
  let history: CrashHistory = NO_CRASHES;
  return timesMs.map((nowMs) => {
    history = addCrash(history, { nowMs, wasReady }, CRASH_POLICY);
    const delayMs = restartDelayMs(history, random, CRASH_POLICY);
    return { delayMs, loop: history.loop?.reason ?? null };
  });
}

function delays(list: readonly Verdict[]): number[] {
  return list.map(({ delayMs }) => delayMs);
}

const times = (count: number, everyMs: number) =>
  Array.from({ length: count }, (_, i) => i * everyMs);

t.test('a reactor that served is back at once, then later and later', async (t) => {
  const list = verdicts(times(16, 10), true);
  t.strictSame(
    delays(list),
    [0, 50, 100, 200, 400, 800, 1600, 2000, 2000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000],
  );
  t.equal(list[8]?.loop, null);
  t.equal(list[9]?.loop, 'crashed 10 times in 60 seconds');
});

t.test('failed starts make a crash loop sooner than crashes', async (t) => {
  const list = verdicts(times(7, 10), false);
  t.strictSame(delays(list), [50, 50, 100, 200, 2000, 4000, 8000]);
  t.equal(list[3]?.loop, null);
  t.equal(list[4]?.loop, 'did not start 5 times in a row');
});

t.test('rare crashes are forgotten', async (t) => {
  const rare = verdicts(times(50, CRASH_POLICY.windowMs), true);
  t.ok(rare.every(({ delayMs, loop }) => delayMs === 0 && loop === null));
});

t.test('failed starts count in a row, however slow', async (t) => {
  t.ok(verdicts(times(5, CRASH_POLICY.windowMs * 2), false).at(-1)?.loop);
});

t.test('a start that succeeded ends the row', async (t) => {
  let history = NO_CRASHES;
  for (let i = 0; i < 9; i++) {
    history = addCrash(history, { nowMs: i, wasReady: i % 2 === 0 }, CRASH_POLICY);
    t.equal(history.loop, null);
  }
});

t.test('a crash loop lasts as long as crashes follow each other, and no longer', async (t) => {
  const loop = times(10, 10);
  const slow = [60_000, 120_000, 180_000].map((ms) => ms + 90);
  t.ok(verdicts([...loop, ...slow], true).at(-1)?.loop, 'the delays between do not end it');
  t.equal(verdicts([...loop, 90 + 90_000], true).at(-1)?.loop, null, 'a whole window does');
});

t.test('chance shortens a delay to no less than half', async (t) => {
  const longest = delays(verdicts(times(14, 10), true, 0));
  const shortest = delays(verdicts(times(14, 10), true, 0.999_999));
  for (const [i, longMs] of longest.entries()) {
    t.ok(Math.abs((shortest[i] ?? 0) - longMs / 2) <= 1);
  }
});
