/*
 * Finds the limit: the rate climbs to RATE until a threshold aborts the run. A run that reaches
 * the end has found no limit; one that drops iterations has found the generator's.
 */
import { checkAnswer } from './lib/checks.js';
import { ramp } from './lib/executors.js';
import { number, virtualUsers } from './lib/settings.js';
import { summary, summaryTrendStats } from './lib/summary.js';
import { get } from './lib/target.js';
import { untilItBreaks } from './lib/thresholds.js';

// A slow server keeps virtual users waiting: enough of them, from the start, to see the threshold
// crossed first. Each costs k6 up to a megabyte.
const all = 32 * virtualUsers;
const top = number('RATE', 20_000);

const more = { preAllocatedVUs: all, maxVUs: all };

export const options = {
  scenarios: { breakpoint: ramp(top / 20, [[top, number('DURATION', 300)]], more) },
  thresholds: untilItBreaks(),
  summaryTrendStats,
};

export default async function () {
  checkAnswer(await get('/'));
}

export const handleSummary = summary('breakpoint', options);
