import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { runLoad } from './run-load.js';

const KEPT = { 'rate==0': { ok: true } };
const CROSSED = { 'rate==0': { ok: false } };

/** A k6 that writes this summary and exits with this code. */
function k6That(t: Test, code: number, summary: object | null): string {
  const directory = mkdtempSync(join(tmpdir(), 'moonring-k6-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'k6');
  const script = [
    '#!/usr/bin/env node',
    'const { writeFileSync } = require("node:fs");',
    'const pair = process.argv.find((word) => word.startsWith("SUMMARY="));',
    `const summary = ${JSON.stringify(summary)};`,
    'if (summary) writeFileSync(pair.slice("SUMMARY=".length), JSON.stringify(summary));',
    `process.exitCode = ${code};`,
  ];
  writeFileSync(path, script.join('\n'));
  chmodSync(path, 0o755);
  return path;
}

function summaryWith(thresholds: object, saturated: string[] = []): object {
  const metrics = { http_req_failed: { values: { rate: 0, passes: 0, fails: 10 }, thresholds } };
  return { name: 'load', durationMs: 1000, failed: 0, saturated, metrics };
}

t.test('a crossed threshold is a failed run, 99', async (t) => {
  const { code, report } = await runLoad(t, ['load'], k6That(t, 99, summaryWith(CROSSED)));
  t.equal(code, 99);
  t.match(report, /^# load: failed: a threshold was crossed$/m);
  t.match(report, 'http_req_failed is not rate==0');
});

t.test('a saturated generator makes the run invalid, even if k6 passes it', async (t) => {
  const why = '7 iterations could not start in time';
  for (const [k6Code, thresholds] of [
    [0, KEPT],
    [99, CROSSED],
  ] as const) {
    const k6 = k6That(t, k6Code, summaryWith(thresholds, [why]));
    const { code, report } = await runLoad(t, ['load'], k6);
    t.equal(code, 3);
    t.match(report, /^# load: invalid/m);
    t.match(report, why);
  }
});

t.test("a script's exception is k6's 107", async (t) => {
  const { code, output } = await runLoad(t, ['load'], k6That(t, 107, null));
  t.equal(code, 107);
  t.match(output, 'the script raised an exception');
});

t.test('a run without a summary has not passed', async (t) => {
  const { code } = await runLoad(t, ['load'], k6That(t, 0, null));
  t.equal(code, 1);
});

t.test('a ramp that ends at its threshold is a result', async (t) => {
  const k6 = k6That(t, 99, summaryWith(CROSSED));
  const { code, report } = await runLoad(t, ['breakpoint'], k6);
  t.equal(code, 0);
  t.match(report, /^# breakpoint: the limit was found$/m);
});

t.test('an unknown script is rejected with a list of all scripts', async (t) => {
  const { code, output } = await runLoad(t, ['smoek']);
  t.equal(code, 1);
  t.match(output, 'name one of smoke, load');
});
