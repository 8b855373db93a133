import { growth } from './sampler.mjs';

/**
 * The report of a run, in Markdown.
 *
 * @param {{
 *   name: string, verdict: string, reasons: string[], facts: string[], command: string,
 *   summary: { durationMs: number, failed: number, metrics: Record<string, any> } | null,
 *   samples: import('./sampler.mjs').Sample[],
 * }} run
 */
export function report({ name, verdict, reasons, facts, command, summary, samples }) {
  return [
    `# ${name}: ${verdict}`,
    '',
    ...reasons.map((reason) => `- ${reason}`),
    ...(reasons.length > 0 ? [''] : []),
    `Run with \`${command}\` on ${new Date().toISOString()}.`,
    ...facts.map((fact) => `${fact}.`),
    '',
    ...(summary === null ? ['k6 wrote no summary.', ''] : measured(summary)),
    ...reactorTable(samples),
  ].join('\n');
}

function measured({ durationMs, failed, metrics }) {
  const requests = metrics.http_reqs?.values ?? { count: 0, rate: 0 };
  const seconds = (durationMs / 1000).toFixed(0);
  return [
    `${requests.count} requests in ${seconds} s, ${requests.rate.toFixed(0)} per second, ` +
      `${failed} failed.`,
    '',
    '## Thresholds',
    '',
    '| metric | threshold | |',
    '| --- | --- | --- |',
    ...thresholdRows(metrics),
    '',
    '## Durations',
    '',
    '| milliseconds | min | med | avg | p(95) | p(99) | max |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...Object.entries(metrics)
      .filter(([metric]) => /^(http_req_duration|iteration_duration)/.test(metric))
      .map(([metric, { values }]) => row(metric, durations(values))),
    '',
  ];
}

function thresholdRows(metrics) {
  return Object.entries(metrics).flatMap(([metric, { thresholds = {} }]) =>
    Object.entries(thresholds).map(([threshold, { ok }]) =>
      row(metric, [`\`${threshold}\``, ok ? 'kept' : '**crossed**']),
    ),
  );
}

function durations(values) {
  return ['min', 'med', 'avg', 'p(95)', 'p(99)', 'max'].map((name) => values[name]?.toFixed(2));
}

/** The sample with the most connections, which shows whether the load was spread. */
function reactorTable(samples) {
  if (samples.length === 0) return ['The reactors could not be watched.', ''];
  const busiest = samples.reduce((best, sample) =>
    connectionsOf(sample) > connectionsOf(best) ? sample : best,
  );
  const grown = { memory: growth(samples, 'residentKb'), fds: growth(samples, 'descriptors') };
  return [
    '## Reactors',
    '',
    `When most connections were open (after ${(busiest.atMs / 1000).toFixed(0)} s).`,
    '',
    '| reactor | connections | descriptors | resident MB |',
    '| --- | --- | --- | --- |',
    ...busiest.reactors.map(({ pid, connections, descriptors, residentKb }) =>
      row(pid, [connections, descriptors, (residentKb / 1024).toFixed(1)]),
    ),
    '',
    grown.memory === null
      ? 'The run was too short to say whether memory grows.'
      : `From the second to the last quarter: memory ${percent(grown.memory)}, ` +
        `descriptors ${percent(grown.fds)}.`,
    '',
  ];
}

function connectionsOf({ reactors }) {
  return reactors.reduce((sum, { connections }) => sum + connections, 0);
}

function percent(factor) {
  const change = (factor - 1) * 100;
  return `${change < 0 ? '' : '+'}${change.toFixed(1)} %`;
}

function row(first, cells) {
  return `| ${[first, ...cells.map((cell) => cell ?? '')].join(' | ')} |`;
}
