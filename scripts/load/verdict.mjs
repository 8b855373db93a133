import { exitCodes, meaningOf } from './k6.mjs';
import { growth } from './sampler.mjs';

/** More growth than this from the second to the last quarter of a run is a leak. */
const mostGrowth = { residentKb: 1.25, descriptors: 1.1 };

/**
 * The result of a run. A saturated generator comes first, because the other figures then say
 * nothing about the server.
 *
 * @returns {{ exitCode: number, verdict: string, reasons: string[] }}
 */
export function judge({ code, summary, scenario, samples, serverFailures }) {
  const of = (exitCode, reasons, verdict = meaningOf(exitCode)) => ({ exitCode, verdict, reasons });
  if (code !== exitCodes.passed && code !== exitCodes.thresholds) return of(code, []);
  if (summary === null) return of(1, ['k6 wrote no summary'], 'broken');
  if (summary.saturated.length > 0) return of(exitCodes.invalid, summary.saturated);
  const failures = [...serverFailures, ...(scenario.mustNotGrow ? leaks(samples) : [])];
  if (failures.length > 0) return of(1, failures, 'failed');
  if (scenario.endsAtThreshold) {
    return code === exitCodes.thresholds
      ? of(0, [], 'the limit was found')
      : of(0, [], 'no limit up to the rate that was asked for');
  }
  return of(code, crossed(summary.metrics));
}

function leaks(samples) {
  return Object.entries(mostGrowth).flatMap(([what, most]) => {
    const grown = growth(samples, what);
    return grown !== null && grown > most ? [`${what} grew ${grown.toFixed(2)} times`] : [];
  });
}

function crossed(metrics) {
  return Object.entries(metrics).flatMap(([metric, { thresholds = {} }]) =>
    Object.entries(thresholds)
      .filter(([, { ok }]) => !ok)
      .map(([threshold]) => `${metric} is not ${threshold}`),
  );
}
