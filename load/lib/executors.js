import { virtualUsers } from './settings.js';

/*
 * Arrival rates, so that requests are sent when they are due and not when the last response has
 * arrived: a slow server does not slow the load down.
 */

/**
 * k6 drops an iteration for each virtual user that it has to add, so there are enough from the
 * start for responses that take `slowestSeconds`: a slower server crosses its thresholds first, and
 * is not mistaken for a generator at its limit.
 */
const usual = { slowestSeconds: 0.25 };

/** For runs that measure losses, not speed: a stall does not make them invalid. */
export const throughStalls = { slowestSeconds: 1 };

/** Requests per second and virtual users are whole numbers; k6 accepts no others. */
const whole = (rate) => Math.max(1, Math.round(rate));

function pool(rate, { slowestSeconds }) {
  const preAllocatedVUs = Math.max(virtualUsers, Math.ceil(rate * slowestSeconds));
  return { preAllocatedVUs, maxVUs: 2 * preAllocatedVUs, gracefulStop: '10s' };
}

/** `rate` requests per second for `seconds`; `more` are additional k6 settings. */
export function constantRate(rate, seconds, more = {}, patience = usual) {
  return {
    executor: 'constant-arrival-rate',
    rate: whole(rate),
    timeUnit: '1s',
    duration: `${seconds}s`,
    ...pool(rate, patience),
    ...more,
  };
}

/** From `startRate` over `[rate, seconds]` steps; each ramps linearly. */
export function ramp(startRate, steps, more = {}) {
  return {
    executor: 'ramping-arrival-rate',
    startRate: whole(startRate),
    timeUnit: '1s',
    stages: steps.map(([target, seconds]) => ({ target: whole(target), duration: `${seconds}s` })),
    ...pool(Math.max(startRate, ...steps.map(([target]) => target)), usual),
    ...more,
  };
}
