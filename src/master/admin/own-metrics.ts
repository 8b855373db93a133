import type { OwnMetric, OwnSeries } from '../../shared/native-stats.js';
import { type Family, histogramSamples, type Labels, type Sample } from './exposition.js';

/** The value of all labels of the overflow series, as in metrics.lua. */
const OTHER = '_other';

/**
 * The handlers' own metrics for /metrics, summed over all processes by name. Names and labels were
 * validated when declared. Pure.
 */
export function ownFamilies(metrics: readonly OwnMetric[]): Family[] {
  const byName = new Map<string, OwnMetric[]>();
  for (const metric of metrics) {
    const alike = byName.get(metric.name);
    if (alike === undefined) byName.set(metric.name, [metric]);
    else alike.push(metric);
  }
  return [...byName.values()].map(familyOf);
}

/** Processes may define a metric differently: those that differ from the first are left out. */
function familyOf(all: readonly OwnMetric[]): Family {
  const [first] = all as readonly [OwnMetric, ...OwnMetric[]];
  const alike = all.filter((each) => shapeOf(each) === shapeOf(first));
  const samples = summed(alike.flatMap(({ series }) => series)).flatMap((series) =>
    samplesOf(first, series),
  );
  return { name: first.name, type: first.kind, help: first.help, samples };
}

function shapeOf({ kind, labels, bounds }: OwnMetric): string {
  return JSON.stringify([kind, labels, bounds]);
}

/** One per combination of values, in the order of their first appearance. */
function summed(all: readonly OwnSeries[]): OwnSeries[] {
  const byValues = new Map<string, OwnSeries>();
  for (const series of all) {
    const key = JSON.stringify(series.values);
    const before = byValues.get(key)?.cells;
    const cells = series.cells.map((cell, i) => cell + (before?.[i] ?? 0));
    byValues.set(key, { values: series.values, cells });
  }
  return [...byValues.values()];
}

function samplesOf({ kind, labels, bounds }: OwnMetric, { values, cells }: OwnSeries): Sample[] {
  const isOther = values.length > 0 && values.every((value) => value === OTHER);
  if (isOther && cells.every((cell) => cell === 0)) return [];
  const pairs: Labels = Object.fromEntries(labels.map((name, i) => [name, values[i] ?? '']));
  if (kind !== 'histogram') return [{ labels: pairs, value: cells[0] ?? 0 }];
  const sum = cells.at(-1) ?? 0;
  return histogramSamples(bounds, pairs, { counts: cells.slice(0, -1), sum });
}
