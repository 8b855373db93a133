import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { statusOf } from './admin-client.js';
import { startLoad } from './keep-alive-load.js';
import { connectRaw, requestText } from './raw-client.js';
import { type Server, startServer } from './server.js';
import { until } from './until.js';

const RELOADS = 24;

/** An app that reports its version, with tables of some megabytes. */
const appOf = (version: number) => `
local ballast = {}
for i = 1, 20000 do ballast[i] = { 'ballast ' .. i } end
local ffi = require 'ffi'
ffi.cdef 'int poll(void *fds, unsigned long count, int timeout_ms);'
local ticks = 0
function handle(req, res)
  if req.path == '/tick' then
    hs_queue_push(function()
      while true do ticks = ticks + 1 coroutine.yield() end
    end)
  end
  if req.path == '/slow' then
    if not req:in_worker() then return 'worker' end
    ffi.C.poll(nil, 0, 1500)
  end
  if req.path == '/ticks' then return res:body(tostring(ticks)):send() end
  res:body('version ${version}'):send()
end
`;

async function reload(server: Server, generation: number): Promise<void> {
  server.signal('SIGHUP');
  const line = await server.logLine(
    `generation ${generation}`,
    (each) =>
      (each.msg === 'reloaded' && each['generation'] === generation) ||
      each.msg.startsWith('reload rejected'),
  );
  if (line['replaced'] !== 'lua states')
    throw new Error(`no Lua state was replaced: ${JSON.stringify(line)}`);
}

/** Private memory of a process now. */
function privateKiB(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const sizes = [...text.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm)];
  return sizes.reduce((sum, [, size]) => sum + Number(size), 0);
}

t.test(`${RELOADS} reloads under load, in the same processes`, async (t) => {
  const app = join(t.testdir({ 'app.lua': appOf(1) }), 'app.lua');
  // Without workers, which are started on demand and would be counted too.
  const args = ['--threads', '0', '--dispatch', 'inline'];
  const server = await startServer(t, { app, processes: 2, args });
  const before = server.reactorPids().sort();
  const { host, port } = server;
  const load = await startLoad({ host, port, connections: 256, pauseMs: 20 });
  const next = async (version: number) => {
    writeFileSync(app, appOf(version));
    await reload(server, version);
    const seen = load.counts.answered;
    await until('clients are answered', () => load.counts.answered > seen + 512);
  };
  for (let version = 2; version <= 4; version++) await next(version);
  const early = before.map(privateKiB);
  for (let version = 5; version <= RELOADS + 1; version++) await next(version);
  await until('old states are gone', () =>
    before.every((pid, i) => privateKiB(pid) < (early[i] ?? 0) + 1024),
  );
  await load.stop();
  t.match(load.counts, { failed: 0, lost: 0, closing: 0, errors: [] }, 'nothing failed');
  t.comment(`${load.counts.answered} answers; KiB ${early} -> ${before.map(privateKiB)}`);
  t.strictSame(server.reactorPids().sort(), before, 'no reactor was replaced');
  t.equal(load.bodies.size, RELOADS + 1, 'every version was served');
  const { generation, reactors, restarts } = await statusOf(server);
  t.equal(generation, RELOADS + 1);
  t.strictSame(
    reactors.map((reactor) => reactor.generation),
    [RELOADS + 1, RELOADS + 1],
  );
  t.match(restarts, { signal: 0, exit: 0, stuck: 0, start: 0 });
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('a request ends with the code that it began with; tasks of old code stop', async (t) => {
  const app = join(t.testdir({ 'app.lua': appOf(1) }), 'app.lua');
  const args = ['--dispatch', 'inline', '--threads', '2'];
  const server = await startServer(t, { app, args });
  const [slow, quick] = [await connectRaw(t, server), await connectRaw(t, server)];
  await quick.request(requestText('/tick'));
  const text = async (path: string) => (await quick.request(requestText(path))).body.toString();
  await until('the task runs', async () => Number(await text('/ticks')) > 2);
  const answer = slow.request(requestText('/slow'));
  await until('a worker runs it', async () =>
    (await statusOf(server)).reactors.some(({ serving }) =>
      serving.some(({ thread, path }) => thread > 0 && path === '/slow'),
    ),
  );
  writeFileSync(app, appOf(2));
  await reload(server, 2);
  t.equal(await text('/'), 'version 2');
  t.equal((await answer).body.toString(), 'version 1', 'it was in a handler of the old code');
  t.equal(await text('/ticks'), '0');
  t.equal((await slow.request(requestText('/slow'))).body.toString(), 'version 2');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('user code that loads slowly delays no request', async (t) => {
  const dir = t.testdir({ 'app.lua': appOf(1) });
  const app = join(dir, 'app.lua');
  const server = await startServer(t, { app, args: ['--threads', '1'] });
  const client = await connectRaw(t, server);
  const text = async () => (await client.request(requestText('/'))).body.toString();
  // The checker loads it first; in the reactor, loading takes until there is a file `go`.
  writeFileSync(
    app,
    `local ffi = require 'ffi'
ffi.cdef [[
int mkdir(const char *path, unsigned mode);
int access(const char *path, int mode);
int usleep(unsigned us);
]]
if ffi.C.mkdir('${dir}/checked', 448) ~= 0 then
  ffi.C.mkdir('${dir}/loading', 448)
  while ffi.C.access('${dir}/go', 0) ~= 0 do ffi.C.usleep(1000) end
end
${appOf(2)}`,
  );
  server.signal('SIGHUP');
  await until('the reactor loads', () => existsSync(join(dir, 'loading')));
  for (let i = 0; i < 200; i++) {
    const version = await text();
    if (version !== 'version 1') t.fail(version);
  }
  writeFileSync(join(dir, 'go'), '');
  await server.logLine('the reload', (line) => line.msg === 'reloaded');
  t.equal(await text(), 'version 2');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('changed options of reactors replace processes', async (t) => {
  const dir = t.testdir({ 'app.lua': appOf(1), 'moonring.json': '{}' });
  const args = ['--config', join(dir, 'moonring.json')];
  const server = await startServer(t, { app: join(dir, 'app.lua'), args });
  const [before] = server.reactorPids();
  writeFileSync(join(dir, 'moonring.json'), '{ "maxUrl": 1000 }');
  server.signal('SIGHUP');
  const line = await server.logLine('the reload', (each) => each.msg === 'reloaded');
  t.equal(line['replaced'], 'processes');
  await until('the old one is gone', () => !server.reactorPids().includes(before ?? 0));
  // An option of the master changes nothing in the reactors.
  writeFileSync(join(dir, 'moonring.json'), '{ "maxUrl": 1000, "drainTimeout": "9s" }');
  await reload(server, 3);
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test(
  'a changed module in C beside the app replaces processes, an unchanged one none',
  async (t) => {
    const dir = t.testdir({ 'app.lua': '', native: {} });
    const app = join(dir, 'app.lua');
    const object = join(dir, 'native', 'fast.so');
    const build = (value: number) => {
      const source = join(dir, 'fast.c');
      writeFileSync(source, `int value(void) { return ${value}; }`);
      execFileSync('cc', ['-shared', '-fPIC', '-o', `${object}.new`, source], { stdio: 'inherit' });
      renameSync(`${object}.new`, object);
    };
    const write = (version: number) =>
      writeFileSync(
        app,
        `local ffi = require 'ffi'
ffi.cdef 'int value(void);'
local fast = ffi.load '${object}'
function handle(_, res) res:body('version ${version}, ' .. fast.value()):send() end`,
      );
    build(1);
    write(1);
    const server = await startServer(t, { app });
    const text = async () => (await fetch(server.url)).text();
    t.equal(await text(), 'version 1, 1');
    write(2);
    await reload(server, 2);
    t.equal(await text(), 'version 2, 1');
    build(2);
    server.signal('SIGHUP');
    const line = await server.logLine('the reload', (each) => each['generation'] === 3);
    t.equal(line['replaced'], 'processes');
    await until('the new one is served', async () => (await text()) === 'version 2, 2');
    t.strictSame(await server.stop(), { code: 0, signal: null });
  },
);

t.test(
  'responses that are still sent keep their code, but not of too many generations',
  async (t) => {
    const app = join(t.testdir({ 'app.lua': '' }), 'app.lua');
    const bodyOf = (version: number) => `version ${version} ${'x'.repeat(8 * 1024 * 1024)}`;
    const write = (version: number) =>
      writeFileSync(
        app,
        `local body = 'version ${version} ' .. ('x'):rep(8 * 1024 * 1024)
function handle(_, res) res:body(body):send() end`,
      );
    write(1);
    const args = ['--max-generations', '2', '--dispatch', 'inline', '--write-timeout', '10m'];
    const server = await startServer(t, { app, args });
    // Nothing is read yet: most of each response is buffered in the server.
    const slow = [];
    for (let version = 1; version <= 4; version++) {
      if (version > 1) {
        write(version);
        await reload(server, version);
      }
      const client = await connectRaw(t, server);
      client.socket.pause();
      await client.send(requestText('/'));
      slow.push(client);
      const quick = await connectRaw(t, server);
      t.match((await quick.request(requestText('/'))).body.toString(), `version ${version} x`);
      quick.socket.destroy();
    }
    await server.logLine('the cut', (line) =>
      /^a response of an earlier generation of the handler was aborted: /.test(line.msg),
    );
    const results = await Promise.all(
      slow.map((client) => {
        client.socket.resume();
        return client.next().then(
          ({ body }) => body.toString(),
          () => 'cut',
        );
      }),
    );
    t.strictSame(
      results.map((text, i) => (text === bodyOf(i + 1) ? 'whole' : text.slice(0, 20))),
      ['cut', 'cut', 'whole', 'whole'],
    );
    t.strictSame(await server.stop(), { code: 0, signal: null });
  },
);
