import t from 'tap';
import {
  formatDuration,
  formatSize,
  type Parsed,
  parseCount,
  parseDuration,
  parseSize,
} from '../../../src/shared/units.js';

function valueOrProblem(result: Parsed<number>): number | string {
  return result.ok ? result.value : result.problem;
}

t.test('sizes', async (t) => {
  const valid: readonly [string, number][] = [
    ['0', 0],
    ['8192', 8192],
    ['1k', 1024],
    ['64k', 65_536],
    ['4m', 4_194_304],
    ['1g', 1_073_741_824],
  ];
  for (const [text, bytes] of valid) t.equal(valueOrProblem(parseSize(text)), bytes, text);
  const invalid = ['', ' 1k', '1k ', '1K', '64kb', '1.5m', '-1', '+1', '1e3', '0x10', 'k', '1_000'];
  for (const text of [...invalid, '99999999999g', '9'.repeat(30), '１']) {
    t.match(valueOrProblem(parseSize(text)), /is not a size/, JSON.stringify(text));
  }
});

t.test('durations', async (t) => {
  const valid: readonly [string, number][] = [
    ['0', 0],
    ['0s', 0],
    ['500ms', 500],
    ['30s', 30_000],
    ['2m', 120_000],
    ['24h', 86_400_000],
  ];
  for (const [text, durationMs] of valid) {
    t.equal(valueOrProblem(parseDuration(text)), durationMs, text);
  }
  for (const text of ['', '1 s', '1S', '1.5s', '-1s', 's', '1d', '1sec', '1mss']) {
    t.match(valueOrProblem(parseDuration(text)), /is not a duration/, JSON.stringify(text));
  }
  t.equal(valueOrProblem(parseDuration('30')), '"30" has no unit: write 30s or 30ms');
});

t.test('counts', async (t) => {
  t.equal(valueOrProblem(parseCount('0')), 0);
  t.equal(valueOrProblem(parseCount('65536')), 65_536);
  for (const text of ['', '1.0', '-1', '+1', ' 1', '1e3', '0x1', 'auto', '9'.repeat(16)]) {
    t.match(valueOrProblem(parseCount(text)), /is not a whole number/, JSON.stringify(text));
  }
});

t.test('a formatted line is parsed into its fields', async (t) => {
  for (const bytes of [0, 1, 1000, 1024, 1536, 65_536, 3 * 1024 ** 2, 1024 ** 3]) {
    t.equal(valueOrProblem(parseSize(formatSize(bytes))), bytes);
  }
  for (const durationMs of [0, 1, 999, 1000, 1500, 60_000, 90_000, 3_600_000]) {
    t.equal(valueOrProblem(parseDuration(formatDuration(durationMs))), durationMs);
  }
  t.equal(formatSize(65_536), '64k');
  t.equal(formatDuration(90_000), '90s');
});
