/*
 * A basic check: a few clients, without pauses, for half a minute: every response must be
 * correct, speed does not matter.
 */
import { checkAnswer, checkEcho } from './lib/checks.js';
import { number } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';
import { get, post } from './lib/target.js';
import { withoutLoss } from './lib/thresholds.js';

const duration = `${number('DURATION', 30)}s`;

export const options = {
  scenarios: { smoke: { executor: 'constant-vus', vus: 4, duration } },
  thresholds: withoutLoss(),
  summaryTrendStats,
};

export default async function () {
  checkAnswer(await get('/'));
  const body = `smoke ${Math.random()}`;
  checkEcho(await post('/echo', body), body);
}

export const handleSummary = summary('smoke', options);
