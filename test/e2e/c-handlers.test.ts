import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { connectRaw, requestText } from './raw-client.js';
import { runMaster, startServer } from './server.js';
import { until } from './until.js';
import { connect } from './websocket-client.js';

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
  t.test(`the example responds, ${mode}`, async (t) => {
    const server = await startServer(t, { app: example, args: ['--dispatch', mode] });
    const client = await connectRaw(t, server);
    const first = await client.request(requestText('/'));
    t.equal(first.body.toString(), 'GET request number 1 of this thread\n');
    t.equal(first.headers.get('content-type'), 'text/plain');
    t.match((await client.request(requestText('/'))).body.toString(), /^GET request number [12] /);
    t.strictSame(await server.stop(), { code: 0, signal: null });
  });
}

t.test('a WebSocket, and files of a directory', async (t) => {
  const source = `
#include "httpserver.h"
#include <string.h>
HS_HANDLER_MODULE
static void on_message(hs_ws_t *socket, hs_ws_kind_t kind, const char *data, size_t length, void *ud)
{
    (void)ud;
    (void)hs_ws_send(socket, kind, data, length);
    if (length == 3)
        (void)hs_ws_close(socket, 4000, "bye");
}
static const hs_ws_handler_t echo = { .on_message = on_message };
int hs_handler_init(void **user_data)
{
    hs_site_config_t config;
    hs_site_config_init(&config);
    config.root = "${t.testdir({ 'a.txt': 'a file' })}";
    *user_data = hs_site_new(&config, NULL, 0);
    return *user_data != NULL ? 0 : 1;
}
void hs_handler_exit(void *site) { hs_site_free(site); }
void hs_handler(hs_request_t *request, hs_response_t *response, void *site)
{
    if (strcmp(hs_req_url(request), "/socket") == 0)
        (void)hs_ws_accept(response, &echo, NULL);
    else
        hs_site_handle(request, response, site);
}
`;
  const server = await startServer(t, { app: build('socket', source), processes: 1 });
  const client = await connect(t, server, '/socket');
  client.send('from C');
  t.equal(await client.next(), 'from C');
  client.send('end');
  t.equal(await client.next(), 'end');
  t.strictSame(await client.closed, { code: 4000, reason: 'bye' });
  t.equal(await (await fetch(`${server.url}/a.txt`)).text(), 'a file');
});

t.test('rooms of a C handler, on both reactors', async (t) => {
  const source = `
#include "httpserver.h"
#include <stdio.h>
#include <string.h>
HS_HANDLER_MODULE
static void on_open(hs_ws_t *socket, void *ud)
{
    (void)ud;
    char text[64];
    int empty = hs_ws_join(socket, "", 0);
    int joined = hs_ws_join(socket, "tea", HS_WS_JOIN_BINARY);
    (void)hs_ws_join(socket, "all", HS_WS_JOIN_SKIP);
    int len = snprintf(text, sizeof(text), "%d %d", empty, joined);
    (void)hs_ws_send(socket, HS_WS_MESSAGE_TEXT, text, (size_t)len);
}
static void on_message(hs_ws_t *socket, hs_ws_kind_t kind, const char *data, size_t length, void *ud)
{
    (void)kind;
    (void)ud;
    if (length == 5 && memcmp(data, "leave", 5) == 0)
        (void)hs_ws_send(socket, HS_WS_MESSAGE_TEXT,
                         hs_ws_leave(socket, "tea") && !hs_ws_leave(socket, "tea") ? "left" : "?", 4);
    else
        (void)hs_ws_publish(socket, "all", data, length);
}
static const hs_ws_handler_t room = { .on_open = on_open, .on_message = on_message };
static char big[65537];
void hs_handler(hs_request_t *request, hs_response_t *response, void *ud)
{
    (void)ud;
    char text[64];
    if (strcmp(hs_req_url(request), "/room") == 0) {
        (void)hs_ws_accept(response, &room, NULL);
        return;
    }
    snprintf(text, sizeof(text), "%d %d %d", hs_req_publish(request, "tea", "hot", 3),
             hs_req_publish(request, "", "hot", 3), hs_req_publish(request, "tea", big, sizeof(big)));
    (void)hs_res_body_str(response, text);
    (void)hs_res_send(response);
}
`;
  const args = ['--accept', 'boss', '--dispatch', 'worker'];
  const server = await startServer(t, { app: build('rooms', source), processes: 2, args });
  const clients = [await connect(t, server, '/room'), await connect(t, server, '/room')];
  for (const client of clients) t.equal(await client.next(), '-3 0');
  t.equal(await (await fetch(`${server.url}/publish`)).text(), '0 -3 -5');
  for (const client of clients) {
    t.strictSame(await client.nextMessage(), { text: 'hot', isBinary: true });
  }
  const [first, second] = clients;
  first?.send('leave');
  t.equal(await first?.next(), 'left');
  await fetch(`${server.url}/publish`);
  second?.send('to all');
  t.strictSame(await first?.nextMessage(), { text: 'to all', isBinary: false });
  t.strictSame(await second?.nextMessage(), { text: 'hot', isBinary: true });
  t.equal(await second?.next(), 'to all');
  first?.socket.close(1000);
  await first?.closed;
  second?.send('without it');
  t.equal(await second?.next(), 'without it');
});

t.test('another function of it, named after a colon', async (t) => {
  const server = await startServer(t, { app: `${example}:show_client` });
  const client = await connectRaw(t, server);
  t.equal((await client.request(requestText('/'))).body.toString(), '127.0.0.1');
});

for (const mode of ['inline', 'worker']) {
  t.test(`the example that responds later, ${mode}`, async (t) => {
    const server = await startServer(t, { app: later, args: ['--dispatch', mode] });
    const client = await connectRaw(t, server);
    t.equal((await client.request(requestText('/'))).body.toString(), 'later\n');
    const counted = await fetch(`http://${server.host}:${server.port}/count`);
    t.equal(await counted.text(), '1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n');
    // At once: the response takes a second, and later it might be complete.
    const leaving = await connectRaw(t, server);
    await leaving.send(requestText('/count'));
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

t.test('files that cannot be a handler are rejected with a reason', async (t) => {
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
  await refuses(t, half, /define both or neither/);
  writeFileSync(join(directory, 'text.so'), 'not a shared object');
  await refuses(t, join(directory, 'text.so'), /cannot load .*text\.so/);
});

t.test('if the init of a thread fails, the app does not load', async (t) => {
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

t.test('a file that is overwritten in place is served only after it is accepted', async (t) => {
  const app = build('overwritten', numbered(1));
  const server = await startServer(t, { app });
  const ask = async () => {
    const client = await connectRaw(t, server);
    return (await client.request(requestText('/'))).body.toString();
  };
  t.equal(await ask(), 'number 1');
  // The same inode, not a new file of that name: a mapping of it would see the change.
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
  // Reactors that exit accept connections until they have closed their listeners.
  await until('the new code responds', async () => (await ask()) === 'number 2');
  t.strictSame(await server.stop(), { code: 0, signal: null });
});

t.test('a handler that needs a library beside it is loaded from its file', async (t) => {
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
