import type { TopicCounters } from '../../shared/native-topics.js';
import type { ReactorStatus, StatusReport } from '../admin/status.js';
import {
  cpuShare,
  formatBytes,
  formatMs,
  formatNumber,
  formatSpan,
  perSecond,
  printable,
} from './figures.js';

/**
 * The view of `moonring top`: a table of the reactors, and the requests they are serving. Maps the
 * view's state to styled lines of text, and a key to the next state. Pure.
 */
export type Style = 'plain' | 'bold' | 'dim' | 'good' | 'warning' | 'bad' | 'inverse';

export interface Span {
  readonly text: string;
  readonly style: Style;
}

export type Line = readonly Span[];

export interface TopState {
  /** The last report, and the one before it: `null` until they are available. */
  readonly report: StatusReport | null;
  readonly earlier: StatusReport | null;
  /** Requests per second, in all; the oldest first. */
  readonly history: readonly number[];
  /** Why the last query had no response. */
  readonly problem: string | null;
  /** The result of the last order, until the next key. */
  readonly notice: string | null;
  readonly asking: boolean;
  readonly paused: boolean;
  /** The position among `SORT_KEYS`. */
  readonly sort: number;
  readonly ascending: boolean;
  /** The number of reactors scrolled away. */
  readonly scroll: number;
}

export interface Frame {
  readonly columns: number;
  readonly rows: number;
  /** The address that was queried. */
  readonly address: string;
}

export const INITIAL: TopState = {
  report: null,
  earlier: null,
  history: [],
  problem: null,
  notice: null,
  asking: false,
  paused: false,
  sort: 0,
  ascending: true,
  scroll: 0,
};

const HISTORY_MAX = 300;

export function withReport(state: TopState, report: StatusReport): TopState {
  const rate = report.rates?.requests ?? 0;
  const history = [...state.history, rate].slice(-HISTORY_MAX);
  return { ...state, report, earlier: state.report, history, problem: null };
}

export type Order = 'quit' | 'reload';

/** `key`: a character, or the name of another key in Node's readline. */
export function afterKey(state: TopState, key: string): { state: TopState; order: Order | null } {
  const none = (changes: Partial<TopState>) => ({
    state: { ...state, notice: null, ...changes },
    order: null,
  });
  if (state.asking) {
    const yes = key === 'y' || key === 'return';
    return {
      state: { ...state, asking: false, notice: yes ? 'reloading …' : null },
      order: yes ? 'reload' : null,
    };
  }
  const reactors = state.report?.reactors.length ?? 0;
  switch (key) {
    case 'q':
    case 'escape':
    case 'ctrl-c':
      return { state, order: 'quit' };
    case 'r':
      return none({ asking: true });
    case 's': {
      const sort = (state.sort + 1) % SORT_KEYS.length;
      return none({ sort, ascending: SORT_KEYS[sort]?.ascending ?? true, scroll: 0 });
    }
    case 'o':
      return none({ ascending: !state.ascending, scroll: 0 });
    case 'space':
      return none({ paused: !state.paused });
    case 'down':
      return none({ scroll: Math.min(state.scroll + 1, Math.max(0, reactors - 1)) });
    case 'up':
      return none({ scroll: Math.max(0, state.scroll - 1) });
    default:
      return none({});
  }
}

interface Row {
  readonly status: ReactorStatus;
  readonly cpu: number | null;
  readonly memory: number | null;
}

/** Figures are sorted in descending, reactors in ascending order. */
const SORT_KEYS: readonly {
  readonly column: string;
  readonly ascending: boolean;
  readonly of: (row: Row) => number;
}[] = [
  { column: '#', ascending: true, of: ({ status }) => status.reactor },
  { column: 'REQ/S', ascending: false, of: ({ status }) => status.rates?.requests ?? 0 },
  { column: 'P99', ascending: false, of: ({ status }) => status.rates?.p99Ms ?? 0 },
  { column: 'QUEUE', ascending: false, of: ({ status }) => status.queueDepth },
  { column: 'CPU', ascending: false, of: ({ cpu }) => cpu ?? 0 },
  { column: 'MEM', ascending: false, of: ({ memory }) => memory ?? 0 },
];

interface Column {
  readonly title: string;
  readonly width: number;
  readonly cell: (row: Row) => string;
  /** Columns with the highest number are dropped first when the terminal is too narrow. */
  readonly spare?: number;
}

const BEFORE: readonly Column[] = [
  { title: '#', width: 3, cell: ({ status }) => String(status.reactor) },
  { title: 'STATE', width: 9, cell: ({ status }) => status.state },
  { title: 'PID', width: 8, cell: ({ status }) => String(status.pid ?? '–'), spare: 3 },
  { title: 'GEN', width: 5, cell: ({ status }) => String(status.generation ?? '–'), spare: 5 },
  { title: 'REQ/S', width: 8, cell: ({ status }) => formatNumber(status.rates?.requests ?? null) },
  { title: 'P50', width: 8, cell: ({ status }) => formatMs(status.rates?.p50Ms ?? null), spare: 2 },
  { title: 'P99', width: 8, cell: ({ status }) => formatMs(status.rates?.p99Ms ?? null) },
];

const AFTER: readonly Column[] = [
  { title: 'QUEUE', width: 6, cell: ({ status }) => formatNumber(status.queueDepth) },
  { title: 'CPU', width: 6, cell: ({ cpu }) => percent(cpu) },
  { title: 'MEM', width: 7, cell: ({ memory }) => formatBytes(memory) },
];

const CONNECTION_TITLES: Readonly<Record<string, string>> = {
  reading: 'READ',
  handling: 'HANDLE',
  writing: 'WRITE',
  lingering: 'LINGER',
};

/** One for each connection state reported by the server. */
function connectionColumns({ reactors }: StatusReport): Column[] {
  return Object.keys(reactors[0]?.connections ?? {}).map((name, i) => {
    const title = CONNECTION_TITLES[name] ?? name.toUpperCase();
    const width = Math.max(6, title.length + 1);
    const cell = ({ status }: Row) => formatNumber(status.connections[name] ?? 0);
    return { title, width, cell, spare: 10 + i };
  });
}

function fitting(columns: readonly Column[], width: number): Column[] {
  const kept = [...columns];
  while (kept.reduce((all, column) => all + column.width, 0) > width) {
    const spare = kept.reduce((most, { spare }) => Math.max(most, spare ?? 0), 0);
    const at = kept.findIndex((column) => column.spare === spare);
    if (at === -1) break;
    kept.splice(at, 1);
  }
  return kept;
}

/** Exactly `rows` lines of at most `columns` characters. */
export function view(state: TopState, frame: Frame): Line[] {
  const { columns, rows } = frame;
  const { report } = state;
  const body = report === null ? [] : content(report, state, frame);
  const lines = [...body.slice(0, rows - 1)];
  while (lines.length < rows - 1) lines.push([]);
  lines.push(footer(state, frame));
  return lines.slice(0, rows).map((line) => cut(line, columns));
}

/** The output without a terminal: everything, once. */
export function page(state: TopState, address: string, columns: number): Line[] {
  const { report } = state;
  const rows = 1000;
  return report === null
    ? []
    : content(report, state, { columns, rows, address }).map((line) => cut(line, columns));
}

function content(report: StatusReport, state: TopState, frame: Frame): Line[] {
  const serving = servingLines(report);
  const head = summary(report, state, frame);
  // The table gets the lines left by the requests, but at least half.
  const left = frame.rows - head.length - 5;
  const room = Math.max(1, Math.ceil(left / 2), left - serving.length);
  return [
    ...head,
    [],
    ...table(report, state, frame.columns, room),
    [],
    [span(`${'#'.padStart(3)}  THREAD       FOR  SERVED NOW`.padEnd(frame.columns), 'inverse')],
    ...(serving.length === 0 ? [[span('     no thread is in a handler', 'dim')]] : serving),
  ];
}

function summary(report: StatusReport, state: TopState, frame: Frame): Line[] {
  const { rates, reactors, restarts, reloads } = report;
  const ready = reactors.filter((each) => each.state === 'ready').length;
  const total = (name: string) => reactors.reduce((all, r) => all + (r.connections[name] ?? 0), 0);
  const connections = Object.keys(reactors[0]?.connections ?? {}).reduce(
    (all, name) => all + total(name),
    0,
  );
  const crashed = Object.values(restarts).reduce((all, count) => all + count, 0);
  const master = processOf(report, 'master');
  const cpu = cpuShare(report, state.earlier, 'master');
  return [
    [
      span(`moonring ${report.version}`, 'bold'),
      span(`  ${report.phase}, `),
      span(report.ready ? 'ready' : 'not ready', report.ready ? 'good' : 'bad'),
      span(`  up ${formatSpan(report.uptimeSeconds)}  generation ${report.generation}`),
      span(`  ${report.accept}  ${frame.address}`, 'dim'),
    ],
    [
      span('requests '),
      span(`${formatNumber(rates?.requests ?? null)}/s`, 'bold'),
      span(`  p50 ${formatMs(rates?.p50Ms ?? null)}  p99 ${formatMs(rates?.p99Ms ?? null)}`),
      span(`  connections ${formatNumber(connections)}`),
      span(` (${formatNumber(rates?.connections ?? null)}/s new)`, 'dim'),
      span(`  in ${formatBytes(rates?.receivedBytes ?? null)}/s`),
      span(`  out ${formatBytes(rates?.sentBytes ?? null)}/s`),
    ],
    [
      span('reactors '),
      span(`${ready} of ${reactors.length} ready`, ready < reactors.length ? 'warning' : 'plain'),
      span('  crashes '),
      span(formatNumber(crashed), crashed > 0 ? 'warning' : 'plain'),
      span(`  reloads ${reloads.ok}`),
      span(reloads.rejected > 0 ? `, ${reloads.rejected} rejected` : '', 'warning'),
      span(report.reload === 'idle' ? '' : '  reloading', 'warning'),
      span(`  master ${report.pid}`),
      span(`  CPU ${percent(cpu)}  ${formatBytes(master?.residentBytes ?? null)}`, 'dim'),
    ],
    ...topics(report, state.earlier),
    history(state.history, frame.columns),
  ];
}

/** A line once there are subscribers, or messages. */
function topics(report: StatusReport, earlier: StatusReport | null): Line[] {
  const total = (at: StatusReport, key: keyof TopicCounters) =>
    at.topics.reduce((all, each) => all + each[key], 0);
  const rate = (key: keyof TopicCounters) =>
    formatNumber(perSecond(report, earlier, (at) => total(at, key)));
  const [subscribers, lost] = [total(report, 'subscribers'), total(report, 'lost')];
  if (subscribers === 0 && total(report, 'published') === 0) return [];
  return [
    [
      span(`topics ${formatNumber(subscribers)} subscribers`),
      span(`  published ${rate('published')}/s  delivered ${rate('delivered')}/s  lost `),
      span(formatNumber(lost), lost > 0 ? 'warning' : 'plain'),
    ],
  ];
}

const BARS = '▁▂▃▄▅▆▇█';

function history(rates: readonly number[], columns: number): Line {
  const most = Math.max(1, ...rates);
  const label = ` ${formatNumber(Math.max(0, ...rates))}/s at most`;
  const shown = rates.slice(-Math.max(1, columns - label.length));
  const bars = shown.map((rate) => BARS[Math.round((rate / most) * (BARS.length - 1))] ?? '');
  return [span(bars.join(''), 'good'), span(label, 'dim')];
}

function table(report: StatusReport, state: TopState, width: number, room: number): Line[] {
  const key = SORT_KEYS[state.sort] ?? SORT_KEYS[0];
  const columns = fitting([...BEFORE, ...connectionColumns(report), ...AFTER], width);
  const direction = state.ascending ? 1 : -1;
  const rows = report.reactors
    .map((status): Row => {
      const process = processOf(report, `reactor-${status.reactor}`);
      return {
        status,
        cpu: cpuShare(report, state.earlier, `reactor-${status.reactor}`),
        memory: process?.residentBytes ?? status.allocatorBytes?.resident ?? null,
      };
    })
    .sort((a, b) => direction * ((key?.of(a) ?? 0) - (key?.of(b) ?? 0)));
  const from = Math.min(state.scroll, rows.length);
  const shown = rows.slice(from, from + room);
  const mark = state.ascending ? '▲' : '▼';
  const titles = columns
    .map(({ title, width }) => (title === key?.column ? mark + title : title).padStart(width))
    .join('');
  const hidden = rows.length - shown.length;
  return [
    [span(titles.padEnd(width), 'inverse')],
    ...shown.flatMap((row) => rowLines(row, columns)),
    ...(hidden > 0 ? [[span(`  ${hidden} more: up and down`, 'dim')]] : []),
  ];
}

function rowLines(row: Row, columns: readonly Column[]): Line[] {
  const cells = columns.map(({ title, width, cell }) => {
    const text = cell(row).padStart(width);
    return span(text, title === 'STATE' ? STATE_STYLES[row.status.state] : 'plain');
  });
  const { crashLoop } = row.status;
  const reason = [span(`     crash loop: ${printable(crashLoop ?? '')}`, 'bad')];
  return crashLoop === null ? [cells] : [cells, reason];
}

const STATE_STYLES: Readonly<Record<ReactorStatus['state'], Style>> = {
  ready: 'good',
  starting: 'warning',
  draining: 'warning',
  backoff: 'bad',
  failed: 'bad',
  stopped: 'dim',
};

const SLOW_MS = 1000;

/** The longest-running comes first. */
function servingLines({ reactors }: StatusReport): Line[] {
  return reactors
    .flatMap(({ reactor, serving }) => serving.map((note) => ({ reactor, ...note })))
    .sort((a, b) => b.forMs - a.forMs)
    .map(({ reactor, thread, method, path, forMs }) => {
      const name = thread === 0 ? 'I/O' : `worker ${thread}`;
      return [
        span(`${String(reactor).padStart(3)}  ${name.padEnd(9)}`),
        span(formatMs(forMs).padStart(7), forMs >= SLOW_MS ? 'warning' : 'plain'),
        span(`  ${printable(method)} ${printable(path)}`),
      ];
    });
}

function footer(state: TopState, { columns, address }: Frame): Line {
  if (state.asking) {
    return [span(' reload configuration and handler? y or n '.padEnd(columns), 'inverse')];
  }
  if (state.problem !== null) {
    return [span(` no response from ${address}: ${printable(state.problem)}`, 'bad')];
  }
  if (state.notice !== null) return [span(` ${printable(state.notice)}`, 'warning')];
  const keys = ' q quit  s sort by  o order  r reload  space pause  up, down scroll ';
  return [span(keys, 'inverse'), span(state.paused ? ' paused' : '', 'warning')];
}

function processOf({ processes }: StatusReport, name: string) {
  return processes.find(({ process }) => process === name) ?? null;
}

function percent(share: number | null): string {
  return share === null ? '–' : `${Math.round(share * 100)}%`;
}

function span(text: string, style: Style = 'plain'): Span {
  return { text, style };
}

function cut(line: Line, columns: number): Line {
  let left = columns;
  return line.flatMap(({ text, style }) => {
    const kept = text.slice(0, Math.max(0, left));
    left -= kept.length;
    return kept === '' ? [] : [{ text: kept, style }];
  });
}
