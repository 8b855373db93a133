import { virtualUsers } from './settings.js';

/*
 * Arrival rates, so that requests come when they are due and not when the last answer was there: a
 * slow server gets no mercy.
 */

/**
 * k6 drops an iteration for each virtual user that it has to add, so there are enough from the start
 * for answers that take `slowestSeconds`: a server that is slower crosses its thresholds before, and
 * is not taken for a generator at its limit.
 */
const usual = { slowestSeconds: 0.25 };

/** For runs that ask what is lost and not how fast it goes: a stall does not make them invalid. */
export const throughStalls = { slowestSeconds: 1 };

/** Requests a second and virtual users are whole numbers; k6 takes no others. */
const whole = (rate) => Math.max(1, Math.round(rate));

function pool(rate, { slowestSeconds }) {
  const preAllocatedVUs = Math.max(virtualUsers, Math.ceil(rate * slowestSeconds));
  return { preAllocatedVUs, maxVUs: 2 * preAllocatedVUs, gracefulStop: '10s' };
}

/** `rate` requests a second for `seconds`; `more` are settings of k6 on top. */
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

/** From `startRate` over `[rate, seconds]` steps; each ramps up or down in a straight line. */
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
