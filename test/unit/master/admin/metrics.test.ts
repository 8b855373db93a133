import { readFileSync } from 'node:fs';
import t from 'tap';
import { histogramSamples, renderExposition } from '../../../../src/master/admin/exposition.js';
import { metricFamilies } from '../../../../src/master/admin/metrics.js';
import { readProcessUsage } from '../../../../src/master/admin/process-usage.js';
import { isAlive } from '../../../../src/master/admin/status.js';
import { metricsInputs, status } from './stats-fixture.js';

const families = metricFamilies(metricsInputs());

interface Sample {
  readonly name: string;
  readonly labels: string;
  readonly value: number;
}

/** As strict as promtool: HELP, TYPE, then only samples of that family, all distinct. */
function parseExposition(text: string): Map<string, Sample[]> {
  const parsed = new Map<string, Sample[]>();
  const seen = new Set<string>();
  const lines = text.split('\n');
  if (lines.pop() !== '') throw new Error('the last line does not end');
  let family = '';
  let type = '';
  for (const [i, line] of lines.entries()) {
    const help = /^# HELP ([a-z_]+) \S/.exec(line);
    if (help) {
      family = help[1] ?? '';
      if (parsed.has(family)) throw new Error(`${family} comes twice`);
      parsed.set(family, []);
      type =
        new RegExp(`^# TYPE ${family} (counter|gauge|histogram)$`).exec(lines[i + 1] ?? '')?.[1] ??
        '';
      if (type === '') throw new Error(`${family} has no type`);
      continue;
    }
    if (line.startsWith('# TYPE ')) continue;
    const label = '[a-z_]+="(?:[^"\\\\]|\\\\[\\\\n"])*"';
    const sample = new RegExp(`^([a-z_]+)(\\{${label}(?:,${label})*\\})? (\\S+)$`).exec(line);
    const [, name = '', labels = '', value = ''] = sample ?? [];
    const base = type === 'histogram' ? name.replace(/_(bucket|sum|count)$/, '') : name;
    if (base !== family) throw new Error(`not a sample of ${family}: ${line}`);
    if (!Number.isFinite(Number(value)) || seen.has(name + labels)) throw new Error(line);
    if (type === 'counter' && !name.endsWith('_total')) throw new Error(`counter ${name}`);
    seen.add(name + labels);
    parsed.get(family)?.push({ name, labels, value: Number(value) });
  }
  return parsed;
}

t.test('the text can be read back', async (t) => {
  const parsed = parseExposition(renderExposition(families));
  t.strictSame(
    [...parsed.keys()],
    families.map(({ name }) => name),
  );
  t.strictSame(parsed.get('process_max_fds'), [], 'no limit, no sample');
  t.match(parsed.get('process_cpu_seconds_total'), [{ labels: '{process="reactor-0"}', value: 2 }]);
  t.strictSame(
    parsed.get('moonring_topic_subscribers')?.map(({ labels, value }) => [labels, value]),
    [
      ['{process="master"}', 1],
      ['{process="reactor-0"}', 3],
      ['{process="reactor-1"}', 3],
    ],
  );
  t.match(parsed.get('moonring_build_info'), [
    { labels: '{version="1",luajit="a\\"b",llhttp="c\\\\d",openssl="3",node="e\\nf"}', value: 1 },
  ]);
  t.match(parsed.get('moonring_requests_total')?.[0], { labels: /GET/, value: 30 });
  t.strictSame(parsed.get('moonring_allocator_bytes'), [
    { name: 'moonring_allocator_bytes', labels: '{reactor="0",kind="allocated"}', value: 1000 },
    { name: 'moonring_allocator_bytes', labels: '{reactor="0",kind="resident"}', value: 3000 },
  ]);
  t.match(parsed.get('http_server_active_requests'), [{ value: 6 }]);
});

t.test('a histogram is cumulative and complete', async (t) => {
  t.strictSame(histogramSamples([0.1, 1], { a: 'b' }, { counts: [2, 3, 4], sum: 7.5 }), [
    { suffix: '_bucket', labels: { a: 'b', le: '0.1' }, value: 2 },
    { suffix: '_bucket', labels: { a: 'b', le: '1' }, value: 5 },
    { suffix: '_bucket', labels: { a: 'b', le: '+Inf' }, value: 9 },
    { suffix: '_sum', labels: { a: 'b' }, value: 7.5 },
    { suffix: '_count', labels: { a: 'b' }, value: 9 },
  ]);
});

t.test('latencies are by method and status class, summed over the reactors', async (t) => {
  const samples = parseExposition(renderExposition(families)).get(
    'http_server_request_duration_seconds',
  );
  const counts = samples?.filter(({ name }) => name.endsWith('_count'));
  t.strictSame(
    counts?.map(({ labels, value }) => [labels, value]),
    [
      ['{http_request_method="GET",http_response_status_code="2xx"}', 18],
      ['{http_request_method="_OTHER",http_response_status_code="4xx"}', 3],
    ],
  );
});

const noProc = process.platform === 'linux' ? false : 'reads /proc';

t.test('the resource usage of a process comes from the system', { skip: noProc }, async (t) => {
  const own = readProcessUsage('master', process.pid);
  if (own === null) throw new TypeError('no usage');
  t.ok(own.cpuSeconds > 0 && own.openFds > 3 && own.maxFds >= own.openFds);
  t.ok(own.residentBytes > 2 ** 20 && own.virtualBytes > own.residentBytes);
  t.ok(Math.abs(own.startTimeSeconds - (Date.now() / 1000 - process.uptime())) < 5);
  t.equal(readProcessUsage('gone', 2 ** 30), null);
});

t.test('every metric is documented, with its type, and no other', async (t) => {
  const text = readFileSync(new URL('../../../../docs/operations.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| `([a-z_]+)` \| (\w+) \| [^|]+ \|/gm)];
  t.strictSame(
    rows.map(([, name, type]) => `${name} ${type}`),
    families.map(({ name, type }) => `${name} ${type}`),
  );
});

t.test('a server is alive while a reactor has a heartbeat', async (t) => {
  const now = status();
  t.equal(now.reactors[0]?.heartbeatAgeMs, 100);
  t.ok(isAlive(now, 100));
  t.notOk(isAlive(now, 99));
  t.ok(isAlive(now, 0), 'or with the check turned off');
});
