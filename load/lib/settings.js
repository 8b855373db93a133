/*
 * What a run can be told from outside (k6 run -e NAME=value): all durations in seconds.
 *
 *   BASE_URL   the server, http://127.0.0.1:8080 without it
 *   TARGETS    drain only: address,readiness address pairs, separated by spaces; without it, BASE_URL
 *   DURATION   length of the run
 *   RATE       requests a second of the constant part
 *   PROCESSES  reactors of the server: decides how many connections there must be
 */

export const baseUrl = __ENV.BASE_URL || 'http://127.0.0.1:8080';

/** The number in that variable, or `standard`. */
export function number(name, standard) {
  const value = Number(__ENV[name] || standard);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`${name}=${__ENV[name]} is not a positive number`);
}

/**
 * Connections spread over reactors by chance: with a few a reactor, some reactors idle. 32 a reactor
 * keep the busiest within about half of its share.
 */
export const virtualUsers = Math.max(64, 32 * number('PROCESSES', 2));
