/*
 * The status page of the admin listener: requests /status once a second, and shows the figures and
 * their history over the last minutes. Data from clients is set as text, never as markup.
 */
import { cpuShare, formatBytes, formatMs, formatNumber, formatSpan, perSecond } from './figures.js';

const EVERY_MS = 1000;
/** Points of a plot. */
const MEMORY = 120;
const SLOW_MS = 1000;
const WEEK_SECONDS = 7 * 86_400;

const byId = (id) => document.getElementById(id);
/** Points of each plot, oldest first; `null` where there was none. */
const plots = new Map();
let earlier = null;

function remember(name, value) {
  const points = plots.get(name) ?? [];
  points.push(value);
  if (points.length > MEMORY) points.shift();
  plots.set(name, points);
  return points;
}

const TILES = [
  {
    title: 'Requests per second',
    names: ['requests'],
    values: ({ rates }) => [rates?.requests ?? null],
    text: ([value]) => formatNumber(value),
  },
  {
    title: 'Latency: p50, p99',
    names: ['p50', 'p99'],
    values: ({ rates }) => [rates?.p50Ms ?? null, rates?.p99Ms ?? null],
    text: ([half, most]) => `${formatMs(half)}, ${formatMs(most)}`,
  },
  {
    title: 'Connections: open, busy',
    names: ['open', 'busy'],
    values: ({ reactors }) => {
      const all = sum(reactors.map(({ connections }) => sum(Object.values(connections))));
      return [all, all - sum(reactors.map(({ connections }) => connections.idle ?? 0))];
    },
    text: ([open, busy]) => `${formatNumber(open)}, ${formatNumber(busy)}`,
  },
  {
    title: 'Bytes per second: out, in',
    names: ['out', 'in'],
    values: ({ rates }) => [rates?.sentBytes ?? null, rates?.receivedBytes ?? null],
    text: ([sent, received]) => `${formatBytes(sent)}, ${formatBytes(received)}`,
  },
  {
    title: 'CPUs: all processes, master',
    names: ['cpu', 'master'],
    values: (report) => {
      const shares = report.processes.map(({ process }) => cpuShare(report, earlier, process));
      const known = shares.filter((share) => share !== null);
      return [known.length === 0 ? null : sum(known), cpuShare(report, earlier, 'master')];
    },
    text: ([all, master]) => `${formatShare(all)}, ${formatShare(master)}`,
  },
  {
    title: 'Resident memory',
    names: ['memory'],
    values: ({ processes }) => [
      processes.length === 0 ? null : sum(processes.map((each) => each.residentBytes)),
    ],
    text: ([bytes]) => formatBytes(bytes),
  },
];

function sum(values) {
  return values.reduce((all, value) => all + value, 0);
}

function formatShare(share) {
  return share === null ? '–' : share.toFixed(2);
}

/** Lines with a common scale, which begins at 0. */
function plot(names) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', `0 0 ${MEMORY - 1} 100`);
  svg.setAttribute('preserveAspectRatio', 'none');
  const lines = names.map((name) => plots.get(name) ?? []);
  const most = Math.max(1e-9, ...lines.flat().map((value) => value ?? 0));
  for (const [i, points] of lines.entries()) {
    const line = document.createElementNS(svg.namespaceURI, 'polyline');
    if (i > 0) line.classList.add('second');
    const first = MEMORY - points.length;
    const at = points.flatMap((value, x) =>
      value === null ? [] : [`${first + x},${Math.round(100 - (100 * value) / most)}`],
    );
    line.setAttribute('points', at.join(' '));
    svg.append(line);
  }
  return svg;
}

function element(name, content, className = '') {
  const made = document.createElement(name);
  made.append(content);
  if (className !== '') made.className = className;
  return made;
}

function drawTiles(report) {
  const tiles = TILES.map(({ title, names, values, text }) => {
    const now = values(report);
    for (const [i, name] of names.entries()) remember(name, now[i]);
    const tile = element('div', element('h3', title), 'tile');
    tile.append(element('p', text(now)), plot(names));
    return tile;
  });
  byId('tiles').replaceChildren(...tiles);
}

/** `columns`: a title, the class of the cells, and the content of a cell. */
function drawTable(id, columns, rows) {
  const [head, body] = byId(id).children;
  const titles = columns.map(({ title, kind = '' }) => element('th', title, kind));
  const row = document.createElement('tr');
  row.append(...titles);
  head.replaceChildren(row);
  body.replaceChildren(
    ...rows.map((each) => {
      const line = document.createElement('tr');
      for (const { cell, kind = '', mark } of columns) {
        line.append(element('td', cell(each), `${kind} ${mark?.(each) ?? ''}`.trim()));
      }
      return line;
    }),
  );
}

function drawReactors(report) {
  const { reactors, processes } = report;
  const states = Object.keys(reactors[0]?.connections ?? {});
  const usage = ({ reactor }) => processes.find((each) => each.process === `reactor-${reactor}`);
  for (const each of reactors) {
    remember(`reactor ${each.reactor}`, each.rates?.requests ?? null);
    remember(`cpu ${each.reactor}`, cpuShare(report, earlier, `reactor-${each.reactor}`));
  }
  drawTable(
    'reactors',
    [
      { title: 'reactor', kind: 'text', cell: ({ reactor }) => String(reactor) },
      {
        title: 'state',
        kind: 'text',
        cell: ({ state, crashLoop }) => (crashLoop === null ? state : `${state}: ${crashLoop}`),
        mark: ({ state }) => (state === 'ready' ? 'good' : 'bad'),
      },
      { title: 'pid', cell: ({ pid }) => String(pid ?? '–') },
      { title: 'generation', cell: ({ generation }) => String(generation ?? '–') },
      { title: 'requests/s', cell: ({ rates }) => formatNumber(rates?.requests ?? null) },
      { title: '', cell: ({ reactor }) => plot([`reactor ${reactor}`]) },
      { title: 'p50', cell: ({ rates }) => formatMs(rates?.p50Ms ?? null) },
      { title: 'p99', cell: ({ rates }) => formatMs(rates?.p99Ms ?? null) },
      ...states.map((state) => ({
        title: state,
        cell: ({ connections }) => formatNumber(connections[state] ?? 0),
      })),
      { title: 'queue', cell: ({ queueDepth }) => formatNumber(queueDepth) },
      { title: 'CPU', cell: ({ reactor }) => formatShare(plots.get(`cpu ${reactor}`).at(-1)) },
      { title: 'memory', cell: (each) => formatBytes(usage(each)?.residentBytes ?? null) },
      {
        title: 'up',
        cell: ({ uptimeSeconds }) => (uptimeSeconds === null ? '–' : formatSpan(uptimeSeconds)),
      },
    ],
    reactors,
  );
}

function drawServing({ reactors }) {
  const notes = reactors
    .flatMap(({ reactor, serving }) => serving.map((note) => ({ reactor, ...note })))
    .sort((a, b) => b.forMs - a.forMs);
  byId('serving').hidden = notes.length === 0;
  byId('idle').hidden = notes.length > 0;
  drawTable(
    'serving',
    [
      { title: 'reactor', kind: 'text', cell: ({ reactor }) => String(reactor) },
      {
        title: 'thread',
        kind: 'text',
        cell: ({ thread }) => (thread === 0 ? 'I/O' : `worker ${thread}`),
      },
      {
        title: 'for',
        cell: ({ forMs }) => formatMs(forMs),
        mark: ({ forMs }) => (forMs >= SLOW_MS ? 'bad' : ''),
      },
      { title: 'request', kind: 'text wide', cell: ({ method, path }) => `${method} ${path}` },
    ],
    notes,
  );
}

function drawShared({ shared }) {
  byId('memory-section').hidden = shared.length === 0;
  drawTable(
    'shared',
    [
      { title: 'name', kind: 'text', cell: ({ name }) => name },
      { title: 'entries', cell: ({ entries }) => formatNumber(entries) },
      { title: 'used', cell: ({ usedBytes }) => formatBytes(usedBytes) },
      { title: 'size', cell: ({ sizeBytes }) => formatBytes(sizeBytes) },
      { title: 'evictions', cell: ({ evictions }) => formatNumber(evictions) },
      { title: 'refusals', cell: ({ refusals }) => formatNumber(refusals) },
    ],
    shared,
  );
}

function drawTopics(report) {
  const { topics } = report;
  const isUsed = ({ subscribers, published }) => subscribers > 0 || published > 0;
  const rate = (key) => (row) => {
    const count = (at) => at.topics.find(({ process }) => process === row.process)?.[key] ?? 0;
    return formatNumber(perSecond(report, earlier, count));
  };
  byId('topics-section').hidden = !topics.some(isUsed);
  drawTable(
    'topics',
    [
      { title: 'process', kind: 'text', cell: ({ process }) => process },
      { title: 'subscribers', cell: ({ subscribers }) => formatNumber(subscribers) },
      { title: 'published/s', cell: rate('published') },
      { title: 'delivered/s', cell: rate('delivered') },
      {
        title: 'lost',
        cell: ({ lost }) => formatNumber(lost),
        mark: ({ lost }) => (lost > 0 ? 'bad' : ''),
      },
    ],
    topics,
  );
}

function drawCertificates({ tls }) {
  const certificates = tls?.certificates ?? [];
  byId('tls-section').hidden = certificates.length === 0;
  const left = ({ notAfterSeconds }) => notAfterSeconds - Date.now() / 1000;
  drawTable(
    'tls',
    [
      { title: 'names', kind: 'text wide', cell: ({ names }) => names.join(', ') },
      { title: 'file', kind: 'text', cell: ({ path }) => path },
      {
        title: 'expires in',
        cell: (each) => (left(each) > 0 ? formatSpan(left(each)) : 'expired'),
        mark: (each) => (left(each) < WEEK_SECONDS ? 'bad' : ''),
      },
    ],
    certificates,
  );
}

function drawSummary({ version, phase, ready, uptimeSeconds, generation, accept, ...report }) {
  const up = report.reactors.filter(({ state }) => state === 'ready').length;
  const { ok, rejected } = report.reloads;
  byId('version').textContent = version;
  byId('ready').textContent = ready ? 'ready' : `not ready (${phase})`;
  byId('ready').className = ready ? 'yes' : 'no';
  byId('summary').textContent = [
    `up ${formatSpan(uptimeSeconds)}`,
    `${up} of ${report.reactors.length} reactors`,
    `generation ${generation}`,
    `reloads ${ok}${rejected > 0 ? `, ${rejected} rejected` : ''}${report.reload === 'idle' ? '' : ', reloading'}`,
    `crashes ${sum(Object.values(report.restarts))}`,
    accept,
    `master ${report.pid}`,
  ].join(' · ');
}

async function look() {
  const problem = byId('problem');
  try {
    const response = await fetch('status', { cache: 'no-store' });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const report = await response.json();
    drawSummary(report);
    drawTiles(report);
    drawReactors(report);
    drawServing(report);
    drawShared(report);
    drawTopics(report);
    drawCertificates(report);
    earlier = report;
    problem.hidden = true;
  } catch (error) {
    problem.textContent = `No response from the server: ${error.message}`;
    problem.hidden = false;
  }
  setTimeout(look, EVERY_MS);
}

look();
