import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { statusOf } from './admin-client.js';
import { changingConfig } from './changing-config.js';
import { readCore } from './core-file.js';
import { askSomething, crash, crashesOf, type Row, type Setting, type Way } from './crash-table.js';
import { childrenOf, groupOf, isRunning } from './process-table.js';
import { connectRaw, requestText } from './raw-client.js';
import { type SeededRandom, seededRandom } from './seeded-random.js';
import { cleanEnvironment, type Server, startServer } from './server.js';
import { until } from './until.js';

if (process.platform !== 'linux') {
  t.comment('connections survive a crash on Linux only');
  process.exit(0);
}

/**
 * npm run crash-table: that many crashes of each kind on each kind of server, and the table in the
 * docs is rewritten. Otherwise a few crashes.
 */
const CRASHES = Number(process.env['CRASHES'] ?? 0);
/** More in one slot within a minute are a crash loop. */
const ENDS_OF_A_SLOT = 5;
/** By hand: RANDOM_ENDS=200 npx tap run test/e2e/crashes-lose-no-connection.test.ts */
const RANDOM_ENDS = Number(process.env['RANDOM_ENDS'] ?? 4);

const inline = ['--dispatch', 'inline'];
const setting = (accept: 'reuseport' | 'boss', processes: number): Setting => ({
  name: `${accept}, ${processes === 1 ? 'one process' : `${processes} processes`}`,
  processes,
  args: ['--accept', accept, ...inline],
});
const workers: Setting = {
  name: 'through workers, 2 processes',
  processes: 2,
  args: ['--dispatch', 'worker', '--threads', '2'],
};
const unix: Setting = { name: 'Unix socket, 2 processes', processes: 2, args: inline, unix: true };

/** The subset that is run in CI. */
const few: [Setting, Way[]][] = [
  [setting('reuseport', 2), ['kill -9', 'OOM kill', 'loop in Lua']],
  [setting('boss', 2), ['SIGSEGV', 'loop in C', 'kill -9 during a reload']],
  [setting('reuseport', 1), ['SIGSEGV', 'kill -9', 'OOM kill']],
  [workers, ['SIGSEGV']],
  [unix, ['SIGSEGV']],
];

const all: Way[] = ['SIGSEGV', 'kill -9', 'OOM kill', 'loop in C', 'loop in Lua'];
const many: [Setting, Way[]][] = [
  ...(['reuseport', 'boss'] as const).flatMap((accept) =>
    [1, 2, 4].map((processes): [Setting, Way[]] => [
      setting(accept, processes),
      processes === 1 ? all : [...all, 'kill -9 during a reload'],
    ]),
  ),
  [workers, ['SIGSEGV']],
  [unix, ['SIGSEGV']],
];

if (CRASHES === 0) {
  for (const [each, ways] of few) {
    t.test(`${ways.join(', ')}: ${each.name}`, async (t) => {
      expectNothingLost(
        t,
        each,
        ways,
        await crash(t, each, ways, { ends: 1, clients: 8, idle: 16 }),
      );
    });
  }
} else {
  t.test('the table', { timeout: 3_600_000 }, async (t) => {
    const lines: string[] = [];
    for (const [each, ways] of many) {
      for (const way of ways) {
        const row = await crashOften(t, each, way);
        lines.push(lineOf(each, way, row));
        t.comment(lines.at(-1));
      }
    }
    if (process.env['UPDATE_DOCS'] === '1') writeTable(lines);
  });
}

/** As many servers as are needed to avoid a crash loop. */
async function crashOften(t: Test, each: Setting, way: Way): Promise<Row> {
  const rows: Row[] = [];
  for (let left = CRASHES; left > 0; left -= ENDS_OF_A_SLOT * each.processes) {
    const ends = Math.min(left, ENDS_OF_A_SLOT * each.processes);
    await t.test(`${ends} times ${way}, ${each.name}`, async (t) => {
      const row = await crash(t, each, [way], { ends, clients: 64, idle: 64 });
      expectNothingLost(t, each, [way], row);
      rows.push(row);
    });
  }
  const sum = (value: (row: Row) => number) => sumOf(rows.map(value));
  return {
    ends: sum((row) => row.ends),
    answered: sum((row) => row.answered),
    unanswered: sum((row) => row.unanswered),
    closedIdle: sum((row) => row.closedIdle),
    refused: sum((row) => row.refused),
    slowestMs: Math.max(...rows.map((row) => row.slowestMs)),
    wrong: rows.flatMap((row) => row.wrong),
    culprits: sum((row) => row.culprits),
    culpritsRefused: sum((row) => row.culpritsRefused),
    signals: rows.flatMap((row) => row.signals),
    skipped: rows.flatMap((row) => row.skipped),
  };
}

function lineOf({ name }: Setting, way: Way, row: Row): string {
  const { ends, answered, unanswered, closedIdle, refused, slowestMs } = row;
  const [accept, processes] = name.split(', ');
  if (ends === 0) return `| ${way} | ${accept} | ${processes} | – | – | – | – | – | – |`;
  const cells = [ends, answered, unanswered, closedIdle, refused, `${Math.round(slowestMs)} ms`];
  return `| ${way} | ${accept} | ${processes} | ${cells.join(' | ')} |`;
}

const BEGIN = '<!-- Written by UPDATE_DOCS=1 npm run crash-table -->\n';
const END = '<!-- end -->\n';

function writeTable(lines: readonly string[]): void {
  const path = 'docs/crashes.md';
  const page = readFileSync(path, 'utf8');
  const [from, to] = [page.indexOf(BEGIN) + BEGIN.length, page.indexOf(END)];
  const head =
    '| end | connections come by | | ends | responses | no response | idle closed | 503 | slowest |\n' +
    '|---|---|---|--:|--:|--:|--:|--:|--:|\n';
  writeFileSync(path, `${page.slice(0, from)}\n${head}${lines.join('\n')}\n\n${page.slice(to)}`);
}

function expectNothingLost(t: Test, each: Setting, ways: readonly Way[], row: Row): void {
  const { signals, skipped, wrong, ...numbers } = row;
  t.comment(each.name, ways, numbers, skipped);
  t.strictSame(wrong, [], 'each byte of each response is right');
  const mayBe = ways.map((way) => (way === 'SIGSEGV' ? way : 'SIGKILL'));
  t.ok(
    signals.every((signal) => mayBe.some((each) => each === signal)),
    { signals },
  );
  t.equal(row.culpritsRefused, row.culprits, 'a request that ends its process gets 503');
  t.equal(row.unanswered, 0, 'each request has a response');
  // With one process and kill -9 the connection being handled may be unrecoverable.
  const isExcused = each.processes === 1 && ways.includes('kill -9');
  t.ok(row.closedIdle <= (isExcused ? 1 : 0), `${row.closedIdle} connections were closed idle`);
  // The request that a worker, or the handler, had at that moment.
  const most = each === workers ? 64 : 2;
  t.ok(row.refused <= row.ends * most, `${row.refused} requests of others got 503`);
}

const REQUEST_ID = /^[0-9a-z]+-[0-9a-z]+$/;

t.test('a fault of any kind fails only its request, and is logged with it', async (t) => {
  const server = await startServer(t, { app: 'crashing.lua', processes: 3 });
  const idle = await Promise.all(Array.from({ length: 96 }, () => connectRaw(t, server)));
  const allLive = async (why: string) => {
    const statuses = await Promise.all(idle.map(askSomething));
    t.ok(
      statuses.every((status) => status === 200),
      `idle connections live on: ${why}`,
    );
  };
  await allLive('before');

  const idleBySlot = async () =>
    (await statusOf(server)).reactors.map(({ connections }) => Number(connections['idle']));
  await until('all are idle', async () => sumOf(await idleBySlot()) === idle.length);
  const before = await idleBySlot();
  const most = before.indexOf(Math.max(...before));
  process.kill((await statusOf(server)).reactors[most]?.pid ?? 0, 'SIGKILL');
  await server.logLine('the hand-over', (each) => 'handOverMs' in each);
  await allLive('kill -9');
  const isEven = (counts: readonly number[]) => counts.every((count) => count >= idle.length / 5);
  const after = await until('the successor has as many as the others', async () => {
    const counts = await idleBySlot();
    return isEven(counts) && sumOf(counts) === idle.length && counts;
  });
  t.comment({ before, after });
  await allLive('moved on');

  const client = await connectRaw(t, server);
  await client.send('GET /crash HTTP/1.1\r\nHost: a\r\nCookie: session=1\r\nX-Id: "7"\r\n\r\n');
  t.equal((await client.next()).status, 503);
  const line = await server.logLine('the record', (each) => each['requestHead'] !== undefined);
  t.match(line, { connections: { refused: 1, closed: 0 } });
  const head = 'GET /crash HTTP/1.1\r\nHost: a\r\nCookie: [redacted]\r\nX-Id: "7"\r\n\r\n';
  t.equal(line['requestHead'], head, 'the record names the request, without secrets');
  t.match(line['reqId'], REQUEST_ID, 'as other records do');
  t.notOk(line['onWorkers']);

  const other = await connectRaw(t, server);
  await other.send('GET /crash-on-worker HTTP/1.1\r\nHost: a\r\nCookie: session=1\r\n\r\n');
  t.equal((await other.next()).status, 503);
  const onWorker = await server.logLine('the record', (each) => each['onWorkers'] !== undefined);
  t.match(onWorker['onWorkers'], [
    {
      reqId: REQUEST_ID,
      requestHead: 'GET /crash-on-worker HTTP/1.1\r\nHost: a\r\nCookie: [redacted]\r\n\r\n',
    },
  ]);
  t.notOk(onWorker['requestHead']);

  const signals = new Map([
    ['/overflow', 'SIGSEGV'],
    ['/hidden', 'SIGKILL'],
  ]);
  // Each process has ended before its record, but after the hand-over: three so far.
  await until('earlier records', () => crashesOf(server).length === 3);
  for (const path of ['/SIGBUS', '/SIGFPE', '/SIGILL', '/SIGABRT', '/overflow', '/hidden']) {
    const before = crashesOf(server).length;
    const { status } = await (await connectRaw(t, server)).request(requestText(path));
    t.equal(status, 503, path);
    const line = await until('its record', () => crashesOf(server)[before]);
    t.equal(line['signal'], signals.get(path) ?? path.slice(1));
    await allLive(path);
  }

  // A signal sent to a process goes to its main thread, which runs JavaScript.
  const [reactor = 0] = server.reactorPids();
  process.kill(reactor, 'SIGSEGV');
  await server.logLine('the end of the reactor', crashOf(reactor));
  await allLive('a fault of the thread of JavaScript');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

function crashOf(pid: number) {
  return (line: { msg: string; [field: string]: unknown }) =>
    line.msg === 'reactor crashed' && line['reactorPid'] === pid;
}

t.test('a core file is complete, and the hand-over does not wait for it', async (t) => {
  // A hand-over that waited would be later every time; a keeper that has to wait for the CPU is once.
  for (let attempt = 1; attempt <= 5; attempt++) {
    const lateMs = await coreAfterHandOver(t);
    if (lateMs === null || lateMs > 0) return;
  }
  t.fail('connections are handed over when the core is finished');
});

/** How much later the core is finished than the hand-over; null: there are no cores here. */
async function coreAfterHandOver(t: Test): Promise<number | null> {
  const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim();
  if (pattern.startsWith('|') || pattern.includes('/')) {
    t.comment(`cores are written to ${pattern}`);
    return null;
  }
  const directory = t.testdir();
  const server = await startServer(t, { app: 'crashing.lua' });
  const idle = await connectRaw(t, server);
  const moved = await idle.request(`GET /chdir${directory} HTTP/1.1\r\nHost: a\r\n\r\n`);
  t.equal(moved.body.toString(), '0');
  const [reactor = 0] = server.reactorPids();
  if (spawnSync('prlimit', ['--pid', String(reactor), '--core=unlimited']).status !== 0) {
    t.comment('the limit of cores cannot be raised here');
    return null;
  }
  const { status } = await (await connectRaw(t, server)).request(requestText('/crash'));
  t.equal(status, 503);
  t.equal(await askSomething(idle), 200, 'the idle connection lives on');
  const handedOver = await server.logLine('the hand-over', (line) => 'handOverMs' in line);
  const crashed = await server.logLine('the end of the reactor', crashOf(reactor));
  t.equal(crashed['signal'], 'SIGSEGV');
  const [name = ''] = readdirSync(directory);
  const path = join(directory, name);
  const core = readCore(path);
  t.strictSame(
    { ...core, thread: 0 },
    { isWhole: true, signal: constants.signals.SIGSEGV, thread: 0, address: 8n },
    'it has the fault itself',
  );
  t.not(core.thread, reactor, 'the thread of the event loop is the one that has faulted');
  const { size, mtimeMs } = statSync(path);
  const lateMs = mtimeMs - Number(handedOver['time']);
  t.comment(`${size >> 20} MiB, finished ${lateMs.toFixed(0)} ms after the hand-over`);
  t.strictSame(await server.stop(), { code: 0, signal: null });
  return lateMs;
}

t.test('a killed keeper is replaced, and none is left at the end', async (t) => {
  const server = await startServer(t, { app: 'crashing.lua' });
  const client = await connectRaw(t, server);
  t.equal(await askSomething(client), 200);
  const [reactor = 0] = server.reactorPids();
  const [first = 0] = childrenOf(reactor);
  process.kill(first, 'SIGKILL');
  await server.logLine('a record of it', (line) => /keeper .* another one/.test(String(line.msg)));
  const [second = 0] = childrenOf(reactor);
  t.not(second, first);
  process.kill(reactor, 'SIGKILL');
  t.equal(await askSomething(client), 200, 'the connection goes on at the next process');
  await until('the keeper has ended', () => !isRunning(second));
  const [next = 0] = server.reactorPids();
  const keepers = childrenOf(next);
  t.equal(keepers.length, 1);
  t.strictSame(await server.stop(), { code: 0, signal: null });
  for (const keeper of keepers) t.notOk(isRunning(keeper), 'no keeper is left');
});

type End = (server: Server, random: SeededRandom) => void | Promise<void>;

const ends: Record<string, End> = {
  TERM: ({ signal }) => signal('SIGTERM'),
  'TERM twice': ({ signal }) => {
    signal('SIGTERM');
    signal('SIGTERM');
  },
  'KILL of the master': ({ signal }) => signal('SIGKILL'),
  'KILL of the master, then of the reactors': async ({ signal, reactorPids }) => {
    const reactors = reactorPids();
    signal('SIGKILL');
    for (const pid of reactors) kill(pid);
  },
  'KILL of all': ({ pid, reactorPids }) => {
    for (const each of [pid, ...reactorPids()]) kill(each);
  },
  'KILL of all, keepers first': ({ pid, reactorPids }) => {
    const reactors = reactorPids();
    for (const each of [...reactors.flatMap(childrenOf), ...reactors, pid]) kill(each);
  },
  'KILL of a reactor, TERM': ({ signal, reactorPids }) => {
    kill(reactorPids()[0] ?? 0);
    signal('SIGTERM');
  },
  'KILL of the master while a reactor is started': async ({ signal, reactorPids }, { int }) => {
    const before = reactorPids();
    kill(before[0] ?? 0);
    await until('another reactor', () => reactorPids().some((pid) => !before.includes(pid)));
    for (let turns = int(0, 50); turns > 0; turns--) await nextTurn();
    signal('SIGKILL');
  },
  'KILL of the master while a generation is replaced': async ({ signal, reactorPids }) => {
    signal('SIGHUP');
    await until('a successor', () => reactorPids().length > 2);
    signal('SIGKILL');
  },
  'a fault, KILL of the master': async ({ host, port, signal }) => {
    const socket = createConnection({ host, port });
    socket.on('error', () => {});
    socket.resume();
    socket.write('GET /crash HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(socket, 'close');
    signal('SIGKILL');
  },
  'a stop that a handler does not heed, KILL of the master': async (server) => {
    const { host, port, signal, logLine } = server;
    const socket = createConnection({ host, port });
    socket.on('error', () => {});
    socket.write('GET /loop-in-c HTTP/1.1\r\nHost: a\r\n\r\n');
    await until('it loops', async () =>
      (await statusOf(server)).reactors.some(({ serving }) => serving.length > 0),
    );
    signal('SIGTERM');
    await logLine('the drain', ({ msg }) => msg === 'draining');
    // Two signals in the same turn of the event loop count as one.
    await statusOf(server);
    signal('SIGTERM');
    await logLine('the stop', ({ msg }) => msg === 'stopping now');
    signal('SIGKILL');
    socket.destroy();
  },
};

t.test(
  'no process and no zombie is left, however the server exits',
  { timeout: 3_600_000 },
  async (t) => {
    const random = seededRandom();
    t.comment(`MOONRING_TEST_SEED=${random.seed}`);
    const names = Object.keys(ends);
    for (let i = 0; i < RANDOM_ENDS; i++) {
      const config = changingConfig(t.testdir());
      const server = await startServer(t, {
        app: 'crashing.lua',
        processes: 2,
        args: [...config.args, '--handler-timeout', '0'],
        leadsGroup: true,
      });
      t.equal(groupOf(server.pid).length, 5, 'a master, reactors and keepers');
      const name = names[random.int(0, names.length - 1)] ?? '';
      config.change();
      await ends[name]?.(server, random);
      await server.exited;
      await until(`all have ended after ${name}`, () => groupOf(server.pid).length === 0);
      t.pass(name);
    }
  },
);

function kill(pid: number): void {
  if (isRunning(pid)) process.kill(pid, 'SIGKILL');
}

t.test('as PID 1 the master waits for keepers', async (t) => {
  const isolate = ['-p', '-f', '--kill-child', '--mount-proc'];
  if (spawnSync('unshare', [...isolate, 'true']).status !== 0) {
    t.comment('no namespaces here');
    return;
  }
  const args = ['--port', '0', '--admin', 'off', '-n', '1', 'test/e2e/apps/crashing.lua'];
  const own = spawn('unshare', [...isolate, process.execPath, 'dist/master.js', ...args], {
    env: cleanEnvironment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => own.kill('SIGKILL'));
  await once(own.stdout, 'data');
  const [master = 0] = childrenOf(own.pid ?? 0);
  for (let i = 0; i < 2; i++) {
    const reactor = await until('a reactor', () => childrenOf(master)[0]);
    const keeper = await until('its keeper', () => childrenOf(reactor)[0]);
    process.kill(reactor, 'SIGKILL');
    await until('it is no zombie', () => !existsSync(`/proc/${keeper}`));
  }
  process.kill(master, 'SIGTERM');
  t.strictSame(await once(own, 'exit'), [0, null]);
});

t.test('--survive off, idle', async (t) => {
  for (const survive of ['off', 'idle']) {
    const server = await startServer(t, {
      app: 'crashing.lua',
      processes: 1,
      args: ['--survive', survive],
    });
    const idle = await connectRaw(t, server);
    t.equal(await askSomething(idle), 200);
    const busy = await connectRaw(t, server);
    await busy.send('GET /crash HTTP/1.1\r\nHost: a\r\n\r\n');
    await busy.ended().catch(() => {});
    t.ok(busy.socket.readableEnded || busy.socket.destroyed, `${survive}: no 503`);
    if (survive === 'idle') t.equal(await askSomething(idle), 200, 'the idle one lives on');
    else await t.rejects(askSomething(idle), 'the idle one has ended');
    await server.logLine('the crash', (line) => line.msg === 'reactor crashed');
    t.strictSame(await server.stop(), { code: 0, signal: null });
  }
});
