import { saturation } from './saturation.js';

/** The statistics shown in a report. */
export const summaryTrendStats = ['min', 'med', 'avg', 'p(95)', 'p(99)', 'max'];

/**
 * k6's handleSummary for a script: writes SUMMARY (a file that scripts/load.mjs reads) if it is
 * set, and a few lines for people. Reads the classic form of the data
 * (--new-machine-readable-summary=false).
 *
 * @param {string} name of the script
 * @param {{ scenarios: Record<string, object> }} options of the script
 */
export function summary(name, options) {
  return (data) => {
    const saturated = saturation(data.metrics, options);
    const durationMs = data.state.testRunDurationMs;
    const { metrics } = data;
    const result = { name, durationMs, saturated, failed: failedRequests(metrics), metrics };
    const files = { stdout: `${lines(result).join('\n')}\n` };
    if (__ENV.SUMMARY) files[__ENV.SUMMARY] = JSON.stringify(result);
    return files;
  };
}

/** Of the requests with a threshold: a readiness check may fail. */
function failedRequests(metrics) {
  const all = Object.entries(metrics).filter(([name]) => name.startsWith('http_req_failed'));
  const [, watched] = all.find(([, { thresholds }]) => thresholds) ?? all[0] ?? [];
  return watched?.values.passes ?? 0;
}

function lines({ name, saturated, failed, metrics }) {
  const requests = metrics.http_reqs?.values ?? { count: 0, rate: 0 };
  const crossed = Object.entries(metrics).flatMap(([metric, { thresholds = {} }]) =>
    Object.entries(thresholds)
      .filter(([, { ok }]) => !ok)
      .map(([threshold]) => `crossed: ${metric} ${threshold}`),
  );
  return [
    `${name}: ${requests.count} requests (${requests.rate.toFixed(0)} a second), ${failed} failed`,
    ...crossed,
    ...saturated.map((reason) => `INVALID, the generator was at its limit: ${reason}`),
  ];
}
