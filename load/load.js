/*
 * The expected production rate, held for a while.
 */
import { checkAnswer } from './lib/checks.js';
import { constantRate } from './lib/executors.js';
import { number } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';
import { get } from './lib/target.js';
import { thresholds } from './lib/thresholds.js';

export const options = {
  scenarios: { load: constantRate(number('RATE', 1000), number('DURATION', 120)) },
  thresholds: thresholds(),
  summaryTrendStats,
};

export default async function () {
  checkAnswer(await get('/'));
}

export const handleSummary = summary('load', options);
