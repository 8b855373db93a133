import { valuesOf } from './metrics.mjs';

const comparisons = {
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
  '==': (a, b) => a === b,
};

/**
 * @param {Record<string, (string | { threshold: string, abortOnFail?: boolean })[]>} thresholds
 * @returns the thresholds crossed, and whether the run must be aborted because of them
 */
export function judgeThresholds(thresholds, durationMs) {
  const results = {};
  let failed = false;
  let abort = false;
  for (const [metric, list] of Object.entries(thresholds)) {
    results[metric] = {};
    for (const entry of list) {
      const {
        threshold,
        abortOnFail,
        delayAbortEval = '0s',
      } = typeof entry === 'string' ? { threshold: entry } : entry;
      const ok = holds(threshold, valuesOf(metric, durationMs));
      results[metric][threshold] = { ok };
      failed ||= !ok;
      abort ||= !ok && abortOnFail && durationMs > Number.parseInt(delayAbortEval, 10) * 1000;
    }
  }
  return { failed, abort, results };
}

function holds(threshold, values) {
  const match = /^([a-z]+(?:\(\d+\))?)(<=|>=|==|<|>)([\d.]+)$/.exec(threshold.replaceAll(' ', ''));
  if (!match) throw new Error(`threshold ${threshold}`);
  const seen = values[match[1]];
  // A metric without samples crosses no threshold.
  return seen === undefined || Number.isNaN(seen) || comparisons[match[2]](seen, Number(match[3]));
}
