/*
 * Conditions for a failed run. Iterations that could not start are a threshold too, so that a run
 * with a saturated generator never passes; lib/saturation.js then reports that the run is invalid.
 */

const nothingDropped = { dropped_iterations: [{ threshold: 'count==0', abortOnFail: false }] };

/** For runs at a rate that the server must sustain. Milliseconds. */
export function thresholds({ p95 = 50, p99 = 200 } = {}) {
  return {
    ...nothingDropped,
    checks: ['rate>0.99'],
    http_req_failed: ['rate<0.01'],
    http_req_duration: [`p(95)<${p95}`, `p(99)<${p99}`],
  };
}

/** For runs in which no request may be lost. */
export function withoutLoss() {
  return { ...nothingDropped, checks: ['rate==1'], http_req_failed: ['rate==0'] };
}

/** For ramps: the run ends where the server can no longer keep up. */
export function untilItBreaks({ p95 = 100 } = {}) {
  const abort = { abortOnFail: true, delayAbortEval: '5s' };
  return {
    dropped_iterations: [{ threshold: 'count==0', ...abort }],
    http_req_failed: [{ threshold: 'rate<0.01', ...abort }],
    http_req_duration: [{ threshold: `p(95)<${p95}`, ...abort }],
  };
}
