/*
 * Distinguishes a slow server from a generator at its limit. In the latter case the figures are the
 * generator's, and the run is invalid: neither passed nor failed.
 */

const nearMaximum = 0.95;

/**
 * Why the generator was at its limit, one sentence per reason; empty if it was not.
 *
 * @param {Record<string, { values: Record<string, number> }>} metrics of handleSummary
 * @param {{ scenarios: Record<string, object> }} options of the script
 * @returns {string[]}
 */
export function saturation(metrics, options) {
  const reasons = [];
  const dropped = metrics.dropped_iterations?.values.count ?? 0;
  if (dropped > 0) reasons.push(`${dropped} iterations could not start in time`);
  const most = mostVirtualUsers(options);
  const used = metrics.vus?.values.max ?? 0;
  if (used >= most * nearMaximum) reasons.push(`${used} of ${most} virtual users were at work`);
  return reasons;
}

/**
 * Only for arrival-rate executors that may add virtual users does their number show how many were
 * needed; for others all count as busy from the start, and dropped iterations show the limit.
 */
function mostVirtualUsers({ scenarios }) {
  const all = Object.values(scenarios);
  if (!all.every(({ preAllocatedVUs, maxVUs }) => maxVUs > preAllocatedVUs)) {
    return Number.POSITIVE_INFINITY;
  }
  return all.reduce((sum, { maxVUs }) => sum + maxVUs, 0);
}
