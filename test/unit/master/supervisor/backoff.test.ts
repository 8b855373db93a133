import t from 'tap';
import {
  addCrash,
  CRASH_POLICY,
  type CrashHistory,
  judge,
  NO_CRASHES,
  type Verdict,
} from '../../../../src/master/supervisor/backoff.js';

/** The verdicts on crashes at these times. */
function verdicts(timesMs: readonly number[], wasReady: boolean, random = 0): Verdict[] {
  let history: CrashHistory = NO_CRASHES;
  return timesMs.map((nowMs) => {
    history = addCrash(history, { nowMs, wasReady }, CRASH_POLICY);
    return judge(history, random, CRASH_POLICY);
  });
}

function delays(list: readonly Verdict[]): (number | string)[] {
  return list.map((verdict) => (verdict.type === 'restart' ? verdict.delayMs : verdict.type));
}

const times = (count: number, everyMs: number) =>
  Array.from({ length: count }, (_, i) => i * everyMs);

t.test('a reactor that served is back at once, then ever later, then not any more', async (t) => {
  t.strictSame(delays(verdicts(times(10, 10), true)), [
    0,
    50,
    100,
    200,
    400,
    800,
    1600,
    2000,
    2000,
    'give-up',
  ]);
  t.match(verdicts(times(10, 10), true).at(-1), { reason: 'crashed 10 times in 60 seconds' });
});

t.test('a reactor that never gets ready is given up sooner', async (t) => {
  t.strictSame(delays(verdicts(times(5, 10), false)), [50, 50, 100, 200, 'give-up']);
  t.match(verdicts(times(5, 10), false).at(-1), { reason: 'did not start 5 times in a row' });
});

t.test('rare crashes are forgotten', async (t) => {
  const rare = verdicts(times(50, CRASH_POLICY.windowMs), true);
  t.ok(rare.every((verdict) => verdict.type === 'restart' && verdict.delayMs === 0));
});

t.test('failed starts count in a row, however slow', async (t) => {
  t.equal(verdicts(times(5, CRASH_POLICY.windowMs * 2), false).at(-1)?.type, 'give-up');
});

t.test('a start that succeeded ends the row', async (t) => {
  let history = NO_CRASHES;
  for (let i = 0; i < 9; i++) {
    history = addCrash(history, { nowMs: i, wasReady: i % 2 === 0 }, CRASH_POLICY);
    t.equal(judge(history, 0, CRASH_POLICY).type, 'restart');
  }
});

t.test('chance shortens a delay to no less than half', async (t) => {
  const longest = delays(verdicts(times(9, 10), true, 0)).map(Number);
  const shortest = delays(verdicts(times(9, 10), true, 0.999_999)).map(Number);
  for (const [i, longMs] of longest.entries()) {
    t.ok(Math.abs((shortest[i] ?? 0) - longMs / 2) <= 1);
  }
});
