import { virtualUsers } from './settings.js';

/*
 * Arrival rates, so that requests come when they are due and not when the last answer was there: a
 * slow server gets no mercy.
 */

const pool = { preAllocatedVUs: virtualUsers, maxVUs: virtualUsers * 8, gracefulStop: '10s' };

/** `rate` requests a second for `seconds`. */
export function constantRate(rate, seconds, more = {}) {
  return {
    executor: 'constant-arrival-rate',
    rate,
    timeUnit: '1s',
    duration: `${seconds}s`,
    ...pool,
    ...more,
  };
}

/** From `startRate` over `[rate, seconds]` steps; each ramps up or down in a straight line. */
export function ramp(startRate, steps, more = {}) {
  return {
    executor: 'ramping-arrival-rate',
    startRate,
    timeUnit: '1s',
    stages: steps.map(([target, seconds]) => ({ target, duration: `${seconds}s` })),
    ...pool,
    ...more,
  };
}
