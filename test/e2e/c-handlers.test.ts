import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { runMaster, startServer } from './server.js';
import { until } from './until.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'moonring-c-'));
t.teardown(() => rmSync(directory, { recursive: true }));

const example = join(directory, 'libexample.so');
execFileSync(join(ROOT, 'examples/c/build.sh'), [example], { stdio: 'inherit' });

const later = join(directory, 'libasync.so');
execFileSync(join(ROOT, 'examples/c/build.sh'), [later, 'async.c'], { stdio: 'inherit' });

function build(name: string, source: string, libraries: readonly string[] = []): string {
  const path = join(directory, `${name}.so`);
  const flags = ['-shared', '-fPIC', '-I', join(ROOT, 'native/include')];
  const file = join(directory, `${name}.c`);
  writeFileSync(file, source);
  execFileSync('cc', [...flags, '-o', path, file, ...libraries], { stdio: 'inherit' });
  return path;
}

for (const mode of ['inline', 'worker']) {
  t.test(`the example answers, ${mode}`, async (t) => {
    const server = await startServer(t, { app: example, args: ['--dispatch', mode] });
    const client = await connectRaw(t, server);
    const first = await client.request(requestText('/'));
    t.equal(first.body.toString(), 'GET request number 1 of this thread\n');
    t.equal(first.headers.get('content-type'), 'text/plain');
    t.match((await client.request(requestText('/'))).body.toString(), /^GET request number [12] /);
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}

t.test('another function of it, named behind a colon', async (t) => {
  const server = await startServer(t, { app: `${example}:show_client` });
  const client = await connectRaw(t, server);
  t.equal((await client.request(requestText('/'))).body.toString(), '127.0.0.1');
});

for (const mode of ['inline', 'worker']) {
  t.test(`the example that answers later, ${mode}`, async (t) => {
    const server = await startServer(t, { app: later, args: ['--dispatch', mode] });
    const client = await connectRaw(t, server);
    t.equal((await client.request(requestText('/'))).body.toString(), 'later\n');
    const counted = await fetch(`http://${server.host}:${server.port}/count`);
    t.equal(await counted.text(), '1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n');
    const leaving = await connectRaw(t, server);
    await leaving.send(requestText('/count'));
    await once(leaving.socket, 'data');
    leaving.socket.destroy();
    await server.logLine('the client has left', (line) =>
      /^a client has left after \d+ lines$/.test(String(line['msg'])),
    );
    t.equal((await client.request(requestText('/'))).status, 200);
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}

t.test('a log line of a C handler is a record with its own level', async (t) => {
  const logging = build(
    'logging',
    '#include "httpserver.h"\nHS_HANDLER_MODULE\n' +
      'void hs_handler(hs_request_t *a, hs_response_t *b, void *c)\n' +
      '{ (void)a; (void)c; hs_log(HS_LOG_INFO, "from %s", "C"); hs_log(HS_LOG_DEBUG, "debug");\n' +
      '  hs_res_send(b); }\n',
  );
  const server = await startServer(t, { app: logging, args: ['--log-level', 'debug'] });
  const client = await connectRaw(t, server);
  await client.request(requestText('/'));
  const info = await server.logLine('the record', (line) => line['msg'] === 'from C');
  t.match(info, { level: 30, reactor: 0 });
  const debug = await server.logLine('the other', (line) => line['msg'] === 'debug');
  t.match(debug, { level: 20 }, 'as the log level lets it');
});

async function refuses(t: Test, app: string, message: RegExp): Promise<void> {
  const { code, stdout, stderr } = await runMaster(['--port', '0', '--processes', '1', app]);
  t.equal(code, 78);
  t.match(stdout + stderr, message);
  t.notMatch(stdout + stderr, /\n\s+at /, 'no JavaScript stack trace');
}

t.test('files that cannot be a handler are refused with a reason', async (t) => {
  await refuses(t, `${example}:no_such_function`, /has no function no_such_function/);
  await refuses(t, join(directory, 'none.so'), /none\.so does not exist/);
  const silent = build('silent', 'void hs_handler(void) {}\n');
  await refuses(t, silent, /HS_HANDLER_MODULE/);
  const old = build(
    'old',
    'const unsigned hs_handler_abi_version = 999;\nvoid hs_handler(void) {}\n',
  );
  await refuses(t, old, /was built for version 999/);
  const half = build(
    'half',
    '#include "httpserver.h"\nHS_HANDLER_MODULE\nvoid hs_handler(hs_request_t *a, hs_response_t *b, void *c) {}\n' +
      'int hs_handler_init(void **a) { return 0; }\n',
  );
  await refuses(t, half, /needs both or none/);
  writeFileSync(join(directory, 'text.so'), 'not a shared object');
  await refuses(t, join(directory, 'text.so'), /cannot load .*text\.so/);
});

t.test('a thread whose init fails is an app that does not load', async (t) => {
  const failing = build(
    'failing',
    '#include "httpserver.h"\nHS_HANDLER_MODULE\nvoid hs_handler(hs_request_t *a, hs_response_t *b, void *c) {}\n' +
      'int hs_handler_init(void **a) { return 7; }\nvoid hs_handler_exit(void *a) {}\n',
  );
  await refuses(t, failing, /hs_handler_init returned 7/);
});

const numbered = (number: number) =>
  '#include "httpserver.h"\nHS_HANDLER_MODULE\n' +
  'void hs_handler(hs_request_t *req, hs_response_t *res, void *ud)\n' +
  `{ (void)req; (void)ud; hs_res_body_str(res, "number ${number}"); }\n`;

t.test('a file that is overwritten in place is served when it is accepted', async (t) => {
  const app = build('overwritten', numbered(1));
  const server = await startServer(t, { app });
  const ask = async () => {
    const client = await connectRaw(t, server);
    return (await client.request(requestText('/'))).body.toString();
  };
  t.equal(await ask(), 'number 1');
  // The same file, not another one of its name: what has mapped it would see that.
  writeFileSync(app, Buffer.alloc(statSync(app).size, 0xff));
  t.equal(await ask(), 'number 1');
  server.signal('SIGHUP');
  await server.logLine('the rejection', (line) => line.msg.startsWith('reload rejected'));
  const [pid = 0] = server.reactorPids();
  process.kill(pid, 'SIGKILL');
  await until('another one has taken its place', () => !server.reactorPids().includes(pid));
  t.equal(await ask(), 'number 1');

  writeFileSync(app, readFileSync(build('other', numbered(2))));
  server.signal('SIGHUP');
  const line = await server.logLine('the reload', (each) => each.msg === 'reloaded');
  t.equal(line['replaced'], 'processes');
  t.equal(await ask(), 'number 2');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('one that looks for a library beside it is loaded from its file', async (t) => {
  writeFileSync(join(directory, 'beside.c'), 'int beside(void) { return 7; }\n');
  const flags = ['-shared', '-fPIC', '-o', join(directory, 'libbeside.so')];
  execFileSync('cc', [...flags, join(directory, 'beside.c')], { stdio: 'inherit' });
  const app = build(
    'looking',
    `#include "httpserver.h"\nint beside(void);\n${numbered(7).replace('"number 7"', 'beside() == 7 ? "found" : "lost"')}`,
    [`-L${directory}`, '-lbeside', '-Wl,-rpath,$ORIGIN'],
  );
  const server = await startServer(t, { app });
  await server.logLine('the warning', (line) => /cannot be loaded from memory/.test(line.msg));
  const client = await connectRaw(t, server);
  t.equal((await client.request(requestText('/'))).body.toString(), 'found');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});
