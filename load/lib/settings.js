/*
 * Settings of a run from outside (k6 run -e NAME=value): all durations are in seconds.
 *
 *   BASE_URL   the server, by default http://127.0.0.1:8080
 *   TARGETS    drain only: address,readiness address pairs, separated by spaces; by default BASE_URL
 *   DURATION   length of the run
 *   RATE       requests per second of the constant part
 *   PROCESSES  reactors of the server: determines the number of connections
 */

export const baseUrl = __ENV.BASE_URL || 'http://127.0.0.1:8080';

/** The number in that variable, or `standard`. */
export function number(name, standard) {
  const value = Number(__ENV[name] || standard);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`${name}=${__ENV[name]} is not a positive number`);
}

/**
 * Connections are spread over reactors at random: with few per reactor, some reactors are idle.
 * With 32 per reactor the busiest one gets at most about half more than its share.
 */
export const virtualUsers = Math.max(64, 32 * number('PROCESSES', 2));
