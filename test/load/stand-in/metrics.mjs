/* The samples: by metric, and by `metric{tag:value}` for each tag. */

const metrics = new Map();

/** @param {'counter' | 'rate' | 'trend' | 'gauge'} type */
export function sample(name, type, value, tags = {}) {
  add(name, type, value);
  for (const [tag, text] of Object.entries(tags)) add(`${name}{${tag}:${text}}`, type, value);
}

function add(name, type, value) {
  if (!metrics.has(name)) metrics.set(name, { type, samples: [] });
  metrics.get(name).samples.push(value);
}

/** The figures of a metric in k6's form; zeros without samples. */
export function valuesOf(name, durationMs) {
  const { type = 'counter', samples = [] } = metrics.get(name) ?? {};
  const sum = samples.reduce((total, value) => total + value, 0);
  if (type === 'counter') return { count: sum, rate: (sum / durationMs) * 1000 };
  if (type === 'rate') {
    return { rate: sum / samples.length, passes: sum, fails: samples.length - sum };
  }
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return {
    ...{ min: sorted[0], max: sorted.at(-1), avg: sum / samples.length, value: samples.at(-1) },
    ...{ med: at(0.5), 'p(90)': at(0.9), 'p(95)': at(0.95), 'p(99)': at(0.99) },
  };
}

/** For handleSummary: like k6, without tagged metrics that no threshold uses. */
export function allMetrics(durationMs, thresholds) {
  const names = [...metrics.keys()].filter((name) => !name.includes('{') || name in thresholds);
  for (const name of Object.keys(thresholds)) if (metrics.has(name)) names.push(name);
  return Object.fromEntries(
    [...new Set(names)].map((name) => [
      name,
      {
        type: metrics.get(name).type,
        values: valuesOf(name, durationMs),
        ...(thresholds[name] ? { thresholds: thresholds[name] } : {}),
      },
    ]),
  );
}
