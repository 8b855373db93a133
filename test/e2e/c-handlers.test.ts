import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { runMaster, startServer } from './server.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'moonring-c-'));
t.teardown(() => rmSync(directory, { recursive: true }));

const example = join(directory, 'libexample.so');
execFileSync(join(ROOT, 'examples/c/build.sh'), [example], { stdio: 'inherit' });

const later = join(directory, 'libasync.so');
execFileSync(join(ROOT, 'examples/c/build.sh'), [later, 'async.c'], { stdio: 'inherit' });

function build(name: string, source: string): string {
  const path = join(directory, `${name}.so`);
  writeFileSync(join(directory, `${name}.c`), source);
  const flags = ['-shared', '-fPIC', '-I', join(ROOT, 'native/include')];
  execFileSync('cc', [...flags, '-o', path, join(directory, `${name}.c`)], { stdio: 'inherit' });
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

t.test('what a C handler logs is a record with its own level', async (t) => {
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

t.test('what cannot be a handler is refused with a sentence', async (t) => {
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
