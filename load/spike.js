/*
 * Ten times RATE within a sixth of the run, and back: queues fill and must empty again.
 */
import { checkAnswer } from './lib/checks.js';
import { ramp } from './lib/executors.js';
import { number } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';
import { get } from './lib/target.js';
import { thresholds } from './lib/thresholds.js';

const rate = number('RATE', 200);
const part = number('DURATION', 60) / 6;
const steps = [
  [rate, part],
  [10 * rate, part],
  [10 * rate, part],
  [rate, part],
  [rate, 2 * part],
];

export const options = {
  scenarios: { spike: ramp(rate, steps) },
  thresholds: thresholds({ p95: 200, p99: 1000 }),
  summaryTrendStats,
};

export default async function () {
  checkAnswer(await get('/'));
}

export const handleSummary = summary('spike', options);
