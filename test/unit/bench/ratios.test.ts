import t from 'tap';

import { ratioOfSums, ratios } from '../../../bench/lib/statistics.mjs';

const value = (round: { micros: number }): number => round.micros;
const rounds = (...all: number[]): { micros: number }[] => all.map((micros) => ({ micros }));

t.test('ratios are taken round by round, not between medians', async (t) => {
  t.same(ratios(rounds(2, 40, 9), rounds(1, 10, 9), value), { median: 2, lowest: 1, highest: 4 });
});

t.test('a coarse figure is divided over all rounds, unless the base is nothing', async (t) => {
  t.equal(ratioOfSums(rounds(3, 3), rounds(0, 2), value), 3);
  t.equal(ratioOfSums(rounds(3, 3), rounds(0, 0), value), undefined);
});
