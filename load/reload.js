/*
 * A constant rate while the server is reloaded repeatedly (scripts/load.mjs sends HUP): no
 * request may be lost.
 */
import { checkAnswer, checkEcho } from './lib/checks.js';
import { constantRate, throughStalls } from './lib/executors.js';
import { number } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';
import { get, post } from './lib/target.js';
import { withoutLoss } from './lib/thresholds.js';

export const options = {
  scenarios: {
    reload: constantRate(number('RATE', 300), number('DURATION', 60), {}, throughStalls),
  },
  thresholds: withoutLoss(),
  summaryTrendStats,
};

export default async function () {
  if (Math.random() < 0.8) checkAnswer(await get('/'));
  else {
    const body = `reload ${Math.random()}`;
    checkEcho(await post('/echo', body), body);
  }
}

export const handleSummary = summary('reload', options);
