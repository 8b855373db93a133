#!/usr/bin/env node
/*
 * Stands in for k6 in the tests of load/ and scripts/load.mjs, on machines without it: runs the
 * same scripts with the part of k6's API that they use, and exits with the same codes. It is
 * not a load generator: one thread, no guarantee about its speed.
 *
 *     k6.mjs run [-e NAME=value]... script.js
 */
import { writeFileSync } from 'node:fs';
import { register } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { runScenario } from './executors.mjs';
import { allMetrics, sample } from './metrics.mjs';
import { judgeThresholds } from './thresholds.mjs';

const failedThresholds = 99;
const exception = 107;

const words = process.argv.slice(2);
const env = Object.fromEntries(
  words.flatMap((word, index) => (words[index - 1] === '-e' ? [splitPair(word)] : [])),
);
globalThis.__ENV = { ...process.env, ...env };
register('./loader.mjs', import.meta.url);

try {
  const script = await import(pathToFileURL(resolve(words.at(-1))));
  process.exitCode = await run(script);
} catch (error) {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = exception;
}

async function run(script) {
  const { scenarios, thresholds = {} } = script.options;
  const startedAt = performance.now();
  const broken = new AbortController();
  const watch = setInterval(() => {
    const { abort } = judgeThresholds(thresholds, performance.now() - startedAt);
    if (abort) broken.abort();
  }, 200);
  await Promise.all(
    Object.values(scenarios).map((scenario) => {
      const iterate = script[scenario.exec ?? 'default'];
      return runScenario(scenario, () => iteration(iterate), broken.signal);
    }),
  );
  clearInterval(watch);
  const testRunDurationMs = performance.now() - startedAt;
  const { failed, results } = judgeThresholds(thresholds, testRunDurationMs);
  const metrics = allMetrics(testRunDurationMs, results);
  const data = { metrics, state: { testRunDurationMs } };
  for (const [path, text] of Object.entries(script.handleSummary?.(data) ?? {})) {
    if (path === 'stdout') process.stdout.write(text);
    else writeFileSync(path, text);
  }
  return failed ? failedThresholds : 0;
}

/** Like k6: an exception is logged and the next iteration begins. */
async function iteration(iterate) {
  const startedAt = performance.now();
  try {
    await iterate();
    sample('iterations', 'counter', 1);
    sample('iteration_duration', 'trend', performance.now() - startedAt);
  } catch (error) {
    process.stderr.write(`${error.stack}\n`);
  }
}

function splitPair(text) {
  const at = text.indexOf('=');
  return [text.slice(0, at), text.slice(at + 1)];
}
