/*
 * Beyond saturation: up to four times RATE in steps, then back. The server must degrade instead
 * of failing, and recover.
 */
import { checkAnswer } from './lib/checks.js';
import { ramp } from './lib/executors.js';
import { number } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';
import { get } from './lib/target.js';
import { thresholds } from './lib/thresholds.js';

const rate = number('RATE', 1000);
const step = number('DURATION', 180) / 6;
const stairs = [1, 2, 3, 4].map((times) => [times * rate, step]);

export const options = {
  scenarios: { stress: ramp(rate, [...stairs, [4 * rate, step], [rate, step]]) },
  thresholds: thresholds({ p95: 200, p99: 1000 }),
  summaryTrendStats,
};

export default async function () {
  checkAnswer(await get('/'));
}

export const handleSummary = summary('stress', options);
