import t from 'tap';
import type { ReactorStatus, StatusReport } from '../../../../src/master/admin/status.js';
import {
  formatBytes,
  formatMs,
  formatNumber,
  formatSpan,
} from '../../../../src/master/top/figures.js';
import {
  afterKey,
  INITIAL,
  type Line,
  page,
  type TopState,
  view,
  withReport,
} from '../../../../src/master/top/view.js';

const RATES = { requests: 100, connections: 1, receivedBytes: 2048, sentBytes: 4096 };

function reactor(index: number, changes: Partial<ReactorStatus> = {}): ReactorStatus {
  return {
    reactor: index,
    state: 'ready',
    pid: 100 + index,
    generation: 3,
    allocator: 'system',
    uptimeSeconds: 60,
    connections: { idle: 4, reading: 0, handling: 1, writing: 0, lingering: 0 },
    requests: 1000,
    rates: { ...RATES, requests: 100 * (index + 1), p50Ms: 0.25, p99Ms: 12 },
    queueDepth: 0,
    allocatorBytes: null,
    heartbeatAgeMs: 1,
    serving: [],
    crashLoop: null,
    successors: 0,
    predecessors: 0,
    ...changes,
  };
}

function usage(process: string, cpuSeconds: number, residentBytes: number) {
  const cpu = { cpuUserSeconds: cpuSeconds, cpuSystemSeconds: 0, cpuSeconds };
  const rest = { startTimeSeconds: 0, virtualBytes: 0, openFds: 3, maxFds: 100 };
  return { process, ...cpu, ...rest, residentBytes };
}

function reportOf(reactors: readonly ReactorStatus[], changes: Partial<StatusReport> = {}) {
  const report: StatusReport = {
    version: '1.2.3',
    pid: 99,
    phase: 'serving',
    ready: true,
    minReactors: 1,
    started: true,
    uptimeSeconds: 100,
    generation: 3,
    reload: 'idle',
    accept: 'reuseport',
    requests: 5,
    rates: { ...RATES, p50Ms: 0.25, p99Ms: 12 },
    reactors,
    memoryLimitBytes: 0,
    restarts: { signal: 0, exit: 0, stuck: 0, start: 0, memory: 0 },
    reloads: { ok: 2, rejected: 0 },
    boss: { accepted: 0, passed: [], relayed: 0, held: 0, lost: 0, pauses: 0 },
    shared: [],
    spans: null,
    topics: [],
    tls: null,
    processes: reactors.map(({ reactor }) => usage(`reactor-${reactor}`, 10, 50 * 2 ** 20)),
    ...changes,
  };
  return report;
}

function textOf(lines: readonly Line[]): string[] {
  return lines.map((line) => line.map(({ text }) => text).join(''));
}

function shown(state: TopState, columns = 100, rows = 30): string[] {
  return textOf(view(state, { columns, rows, address: '/run/admin.sock' }));
}

const two = withReport(INITIAL, reportOf([reactor(0), reactor(1)]));

/** The first cells of the rows between the title and the requests. */
function order(lines: readonly string[]): string[] {
  const from = lines.findIndex((line) => line.includes('STATE')) + 1;
  const rows = lines.slice(from, lines.indexOf('', from));
  return rows.map((line) => line.trim().split(/\s+/)[0] ?? '');
}

t.test('a frame has as many lines as the terminal, and no line is wider than it', async (t) => {
  for (const [columns, rows] of [
    [100, 30],
    [80, 24],
    [40, 10],
    [20, 3],
    [300, 100],
  ] as const) {
    const lines = shown(two, columns, rows);
    t.equal(lines.length, rows);
    t.ok(
      lines.every((line) => line.length <= columns),
      `${columns} columns`,
    );
  }
});

t.test('rates, latencies, connections by state, memory and CPU per reactor', async (t) => {
  const later = reportOf([reactor(0), reactor(1)], {
    uptimeSeconds: 102,
    processes: [usage('master', 1, 2 ** 20), usage('reactor-0', 11, 2 ** 20)],
  });
  const lines = shown(withReport(two, later));
  const [titles = '', first = '', second = ''] = lines.slice(
    lines.findIndex((line) => line.includes('STATE')),
  );
  const row = (line: string) => line.trim().split(/\s+/);
  t.strictSame(row(titles).slice(0, 7), ['▲#', 'STATE', 'PID', 'GEN', 'REQ/S', 'P50', 'P99']);
  t.strictSame(row(titles).slice(7), [
    ...['IDLE', 'READ', 'HANDLE', 'WRITE', 'LINGER'],
    ...['QUEUE', 'CPU', 'MEM'],
  ]);
  t.strictSame(row(first), [
    ...['0', 'ready', '100', '3', '100', '0.25ms', '12ms'],
    ...['4', '0', '1', '0', '0', '0', '50%', '1.0M'],
  ]);
  t.match(row(second).slice(-2), ['–', '–'], 'no process: no figures of one');
});

t.test('a narrow terminal drops columns, not the ends of lines', async (t) => {
  const titles = shown(two, 60).find((line) => line.includes('STATE')) ?? '';
  t.match(titles, /REQ\/S.*P99.*QUEUE.*CPU.*MEM/);
  t.notMatch(titles, /LINGER/);
});

t.test('keys: sort by the next column, reverse the order, scroll', async (t) => {
  const press = (state: TopState, ...keys: string[]) =>
    keys.reduce((before, key) => afterKey(before, key).state, state);
  t.strictSame(order(shown(two)), ['0', '1']);
  t.strictSame(order(shown(press(two, 's'))), ['1', '0'], 'the highest rate first');
  t.strictSame(order(shown(press(two, 's', 'o'))), ['0', '1']);
  const many = withReport(INITIAL, reportOf(Array.from({ length: 40 }, (_, i) => reactor(i))));
  const lines = shown(press(many, 'down', 'down'));
  t.equal(order(lines)[0], '2');
  t.ok(lines.some((line) => /\d+ more: up and down/.test(line)));
  const last = shown(press(many, ...Array(60).fill('down')));
  t.strictSame(order(last).slice(0, 1), ['39'], 'no further than the last one');
  t.equal(order(shown(press(many, 'down', 'up', 'up')))[0], '0');
  t.match(shown(press(two, 'space')).at(-1), /paused/);
});

t.test('a reload is started after a confirmation', async (t) => {
  const asked = afterKey(two, 'r');
  t.equal(asked.order, null);
  t.match(shown(asked.state).at(-1), /reload configuration and handler\? y or n/);
  t.match(afterKey(asked.state, 'n'), { order: null, state: { asking: false } });
  t.match(afterKey(asked.state, 'q'), { order: null, state: { asking: false } }, 'not the end');
  t.equal(afterKey(asked.state, 'y').order, 'reload');
  t.equal(afterKey(two, 'y').order, null);
  const done = { ...two, notice: 'reloaded' };
  t.equal(shown(done).at(-1), ' reloaded');
  t.notMatch(shown(afterKey(done, 'x').state).at(-1), /reloaded/, 'until the next key');
  for (const key of ['q', 'escape', 'ctrl-c']) t.equal(afterKey(two, key).order, 'quit', key);
});

t.test(
  'what is served now, the longest first, as text that is no order to a terminal',
  async (t) => {
    const note = (path: string, forMs: number, thread: number) => ({
      ...{ method: 'GET', path, forMs, thread },
    });
    const reactors = [
      reactor(0, { serving: [note('/quick', 5, 0)] }),
      reactor(1, { serving: [note('/\x1b]0;owned\x07/ä', 65_000, 2)] }),
    ];
    const lines = shown(withReport(INITIAL, reportOf(reactors)));
    const from = lines.findIndex((line) => line.includes('SERVED NOW'));
    t.strictSame(
      lines.slice(from + 1, from + 3).map((line) => line.trim().replace(/\s+/g, ' ')),
      ['1 worker 2 65.0s GET /?]0;owned?/?', '0 I/O 5.00ms GET /quick'],
    );
  },
);

t.test('many requests leave half of the lines for the reactors', async (t) => {
  const serving = Array.from({ length: 40 }, (_, thread) => ({
    ...{ method: 'GET', path: '/', forMs: 1, thread },
  }));
  const reactors = Array.from({ length: 40 }, (_, i) => reactor(i, { serving }));
  const lines = shown(withReport(INITIAL, reportOf(reactors)));
  t.ok(order(lines).length >= 10);
  t.ok(lines.filter((line) => line.includes('worker')).length >= 8);
});

t.test('the state in words: crash loops, rejected reloads, no response', async (t) => {
  const bad = reportOf([reactor(0, { state: 'failed', crashLoop: 'it does not load' })], {
    ready: false,
    reload: 'preparing',
    reloads: { ok: 0, rejected: 1 },
  });
  const state = withReport(INITIAL, bad);
  const text = shown(state).join('\n');
  for (const part of [
    'not ready',
    'reloads 0, 1 rejected  reloading',
    'crash loop: it does not load',
  ])
    t.ok(text.includes(part), part);
  const lost = shown({ ...state, problem: 'connect ENOENT' });
  t.equal(lost.at(-1), ' no response from /run/admin.sock: connect ENOENT');
  t.ok(lost.join('\n').includes('not ready'), 'what was known last stays');
});

t.test('the rates of the last minutes are drawn as bars, with the highest value', async (t) => {
  const rates = [0, 50, 100].map((requests) => ({ ...RATES, requests, p50Ms: null, p99Ms: null }));
  const state = rates.reduce((s, each) => withReport(s, reportOf([], { rates: each })), INITIAL);
  t.equal(shown(state)[3], '▁▅█ 100/s at most');
  const long = Array.from({ length: 1000 }, () => reportOf([])).reduce(withReport, INITIAL);
  t.equal(shown(long, 80)[3]?.length, 80);
});

t.test('without a terminal all reactors are printed', async (t) => {
  const many = withReport(INITIAL, reportOf(Array.from({ length: 64 }, (_, i) => reactor(i))));
  t.equal(order(textOf(page(many, 'a', 100))).length, 64);
});

t.test('short figures', async (t) => {
  t.strictSame([null, 0, 0.25, 12.4, 12_345, 250_000, 12e6].map(formatNumber), [
    ...['–', '0', '0.3', '12', '12,345', '250k', '12m'],
  ]);
  t.strictSame([null, 0.051, 9.99, 10, 999, 1500, 200_000].map(formatMs), [
    ...['–', '0.05ms', '9.99ms', '10ms', '999ms', '1.5s', '3m 20s'],
  ]);
  t.strictSame([null, 0, 999, 1024, 1_500_000, 52 * 2 ** 20, 2 ** 40].map(formatBytes), [
    ...['–', '0', '999', '1.0K', '1.4M', '52M', '1.0T'],
  ]);
  t.strictSame([0.5, 59, 61, 7322, 90_000].map(formatSpan), [
    '0s',
    '59s',
    '1m 1s',
    '2h 2m',
    '1d 1h',
  ]);
});

t.test(
  'topics have a line once they are used, with what changed since the report before',
  async (t) => {
    t.notMatch(shown(two).join('\n'), /topics/);
    const counts = { published: 10, delivered: 100, lost: 0, subscribers: 4 };
    const idle = { published: 0, delivered: 0, lost: 0, subscribers: 0 };
    const first = reportOf([reactor(0)], {
      topics: [
        { process: 'master', ...idle },
        { process: 'reactor-0', ...counts },
      ],
    });
    const second = reportOf([reactor(0)], {
      uptimeSeconds: 102,
      topics: [
        { process: 'master', ...idle, published: 20 },
        { process: 'reactor-0', ...counts, delivered: 300, lost: 7 },
      ],
    });
    const before = withReport(INITIAL, first);
    t.match(
      shown(before).join('\n'),
      /topics 4 subscribers {2}published –\/s {2}delivered –\/s {2}lost 0/,
    );
    t.match(
      shown(withReport(before, second)).join('\n'),
      /topics 4 subscribers {2}published 10\/s {2}delivered 100\/s {2}lost 7/,
    );
  },
);
