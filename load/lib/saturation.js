/*
 * Tells a slow server from a generator at its limit. In the latter case the figures are the
 * generator's, and the run is invalid: neither passed nor failed.
 */

const nearMaximum = 0.95;

/**
 * Why the generator was at its limit, a sentence each; empty if it was not.
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

/** Only arrival-rate executors can run out of virtual users; elsewhere all of them always work. */
function mostVirtualUsers({ scenarios }) {
  const limits = Object.values(scenarios).map((scenario) => scenario.maxVUs);
  if (!limits.every((limit) => typeof limit === 'number')) return Number.POSITIVE_INFINITY;
  return limits.reduce((sum, limit) => sum + limit, 0);
}
