/*
 * One slow route beside a fast one (load/apps/mixed.lua): the slow one must not delay the fast one.
 */
import { checkAnswer } from './lib/checks.js';
import { constantRate } from './lib/executors.js';
import { number } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';
import { get } from './lib/target.js';
import { withoutLoss } from './lib/thresholds.js';

const rate = number('RATE', 500);
const seconds = number('DURATION', 60);

export const options = {
  scenarios: {
    fast: constantRate(rate, seconds, { exec: 'fast' }),
    slow: constantRate(Math.max(1, Math.round(rate / 100)), seconds, { exec: 'slow' }),
  },
  thresholds: { ...withoutLoss(), 'http_req_duration{route:/fast}': ['p(95)<20', 'p(99)<50'] },
  summaryTrendStats,
};

export async function fast() {
  checkAnswer(await get('/fast'));
}

export async function slow() {
  checkAnswer(await get('/slow'));
}

export const handleSummary = summary('mixed', options);
