/*
 * Hours at a moderate rate, during which scripts/load.mjs watches memory and descriptors of the
 * reactors: they must not grow.
 */
import { checkAnswer, checkEcho } from './lib/checks.js';
import { constantRate } from './lib/executors.js';
import { number } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';
import { get, post } from './lib/target.js';
import { thresholds } from './lib/thresholds.js';

const body = 'x'.repeat(20_000);

export const options = {
  scenarios: { soak: constantRate(number('RATE', 500), number('DURATION', 3600)) },
  thresholds: thresholds(),
  summaryTrendStats,
};

export default async function () {
  if (Math.random() < 0.9) checkAnswer(await get('/'));
  else checkEcho(await post('/echo', body), body);
}

export const handleSummary = summary('soak', options);
