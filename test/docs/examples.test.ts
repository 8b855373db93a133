import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { startPostgres } from '../e2e/postgres-server.js';
import { connectRaw, requestText } from '../e2e/raw-client.js';
import { startRedis } from '../e2e/redis-server.js';
import { type Server, startServer } from '../e2e/server.js';
import { until } from '../e2e/until.js';
import { ROOT, readPage, trackedFiles } from './pages.js';

const LIBRARY = join(ROOT, 'build/release/native');
const directory = mkdtempSync(join(tmpdir(), 'moonring-docs-'));
t.teardown(() => rmSync(directory, { recursive: true }));

/** The blocks of one language in a page of docs/. */
function blocks(page: string, language: string): string[] {
  const all = readPage(`docs/${page}`).blocks;
  return all.filter((block) => block.language === language).map(({ text }) => text);
}

/** The body of GET / on a new connection. */
function greeting(where: { host: string; port: number } | { socketPath: string }): Promise<string> {
  return new Promise((resolve, reject) => {
    request({ ...where, path: '/', agent: false }, (response) => {
      let body = '';
      response.on('data', (piece: Buffer) => {
        body += piece.toString();
      });
      response.on('end', () => resolve(body));
    })
      .on('error', reject)
      .end();
  });
}

/** The fields for JSON content or, if it is not JSON, a form. */
function contentFields(content: string): Record<string, string> {
  if (content === '') return {};
  const form = 'application/x-www-form-urlencoded';
  return {
    'Content-Type': content.startsWith('{') ? 'application/json' : form,
    'Content-Length': String(Buffer.byteLength(content)),
  };
}

const FLAGS = ['-std=c11', '-Wall', '-Wextra', '-Werror', `-I${join(ROOT, 'native/include')}`];
const LINKED = [`-L${LIBRARY}`, '-lhttpserver', `-Wl,-rpath,${LIBRARY}`];

function compile(source: string, output: string, flags: readonly string[]): string {
  execFileSync('cc', [...FLAGS, '-o', output, source, ...flags], { stdio: 'inherit' });
  return output;
}

t.test('every C program of docs/c-api.md compiles and runs', async (t) => {
  const programs = blocks('c-api.md', 'c');
  t.ok(programs.length >= 4);
  for (const [i, text] of programs.entries()) {
    const source = join(directory, `doc-${i}.c`);
    writeFileSync(source, text);
    if (text.includes('int main(')) {
      const program = compile(source, join(directory, `doc-${i}`), LINKED);
      const output = execFileSync(program, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
      t.pass(`program ${i} ran: ${output.trim()}`);
      continue;
    }
    const module = compile(source, join(directory, `doc-${i}.so`), ['-shared', '-fPIC']);
    const server = await startServer(t, { app: module });
    const client = await connectRaw(t, server);
    t.equal((await client.request(requestText('/'))).body.toString(), 'first\n');
    t.equal((await client.request(requestText('/'))).body.toString(), 'again\n');
  }
});

interface Reply {
  readonly status: number;
  readonly body: string;
}

/** The response to a request whose target is sent unchanged, however its content is framed. */
async function ask(
  { host, port }: Server,
  method: string,
  path: string,
  content: string | Buffer = '',
): Promise<Reply> {
  const headers = typeof content === 'string' ? contentFields(content) : {};
  const sent = request({ host, port, method, path, headers }).end(content);
  const [response] = await once(sent, 'response');
  const pieces: Buffer[] = [];
  for await (const piece of response) pieces.push(piece as Buffer);
  return { status: response.statusCode, body: Buffer.concat(pieces).toString() };
}

/** The dictionaries that the examples use. */
const SHARED = ['--shared', 'hits=1m,cache=1m,limits=1m,locks=1m'];

/** The environment of the handlers of a page. */
const SURROUNDINGS: Readonly<Record<string, (t: Test) => Promise<Record<string, string>>>> = {
  'lua-postgres.md': async (t) => ({ DATABASE_URL: (await startPostgres(t)).url() }),
  'lua-redis.md': async (t) => ({ REDIS_URL: (await startRedis(t)).url }),
};

const luaPages = trackedFiles().filter((path) =>
  /^docs\/(lua.*|openresty|websocket)\.md$/.test(path),
);

for (const page of luaPages.map((path) => basename(path))) {
  t.test(`every handler of docs/${page} responds as its comments say`, async (t) => {
    t.ok(blocks(page, 'lua').length > 0);
    const env = (await SURROUNDINGS[page]?.(t)) ?? {};
    for (const [i, text] of blocks(page, 'lua').entries()) {
      const app = join(directory, `${page}-${i}.lua`);
      writeFileSync(app, text);
      const promises = [...text.matchAll(/^-- ([A-Z]+) (\S+)(?: (\S.*))? -> (\d+) ?(.*)$/gm)];
      t.ok(promises.length > 0, `handler ${i} says what it answers`);
      const compat = text.includes('--compat ngx') ? ['--compat', 'ngx'] : [];
      const server = await startServer(t, { app, env, args: [...SHARED, ...compat] });
      for (const [, method = '', target = '', content = '', status, body] of promises) {
        const reply = await ask(server, method, target, content);
        t.equal(String(reply.status), status, target);
        t.equal(reply.body.trimEnd(), body, target);
      }
    }
  });
}

t.test('the examples of examples/lua load', async (t) => {
  const all = readdirSync(join(ROOT, 'examples/lua'));
  const names = all.filter((name) => name.endsWith('.lua') && !name.endsWith('_test.lua'));
  t.ok(names.length > 0);
  for (const name of names) {
    const server = await startServer(t, { app: `examples/lua/${name}`, args: SHARED });
    t.equal((await ask(server, 'GET', '/')).status, 200, name);
  }
});

t.test('examples/lua/export.lua sends the requested number of rows', async (t) => {
  const server = await startServer(t, { app: 'examples/lua/export.lua' });
  const { body } = await ask(server, 'GET', '/orders.csv?rows=1201');
  const lines = body.split('\r\n');
  t.equal(lines[0], 'number,customer,price');
  t.equal(lines[1], '1,"customer ""1""",0.75');
  t.equal(lines.length, 1203, 'the head, the rows, and nothing behind the last line break');
  t.equal((await ask(server, 'GET', '/orders.csv?rows=%')).status, 400);
});

/** What `moonring test` prints for the tests of an example. */
function testReport(example: string, env: Readonly<Record<string, string>>): string {
  return execFileSync(
    process.execPath,
    [join(ROOT, 'dist/master.js'), 'test', `examples/lua/${example}_test.lua`],
    { cwd: ROOT, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] },
  ).toString();
}

t.test('examples/lua/accounts.lua passes its tests on a database', async (t) => {
  const env = { DATABASE_URL: (await startPostgres(t)).url() };
  t.match(testReport('accounts', env), /^1\.\.3$/m);
});

t.test('examples/lua/visits.lua passes its tests on a Redis', async (t) => {
  t.match(testReport('visits', { REDIS_URL: (await startRedis(t)).url }), /^1\.\.3$/m);
});

t.test(
  'examples/lua/upload.lua stores uploads that are complete and within its limit',
  async (t) => {
    const files = join(directory, 'uploads');
    mkdirSync(files);
    const server = await startServer(t, {
      app: 'examples/lua/upload.lua',
      env: { UPLOAD_DIRECTORY: files, UPLOAD_MOST_BYTES: '1000000' },
      args: ['--max-body', '1g'],
    });
    const content = Buffer.alloc(900_000, 'content ');
    t.equal((await ask(server, 'PUT', '/notes.txt', content)).status, 201);
    t.ok(readFileSync(join(files, 'notes.txt')).equals(content));
    t.equal((await ask(server, 'PUT', '/large', Buffer.alloc(1_500_000))).status, 413);
    t.equal((await ask(server, 'PUT', '/..%2fnotes', content)).status, 400);
    t.strictSame(readdirSync(files), ['notes.txt'], 'nothing is left of the others');
  },
);

t.test('examples/lua/fan-out.lua waits for all at the same time', async (t) => {
  const env = { ALL_SECONDS: '5' };
  const server = await startServer(t, { app: 'examples/lua/fan-out.lua', env });
  const results = JSON.parse((await ask(server, 'GET', '/')).body);
  const of = (seconds: string) => results[`${server.url}/demo?${seconds}`];
  t.strictSame(of('0'), { status: 200, text: 'waited 0' });
  t.strictSame(of('0.1'), { status: 200, text: 'waited 0.1' });
  t.strictSame(of('60'), { problem: 'timeout' });
});

t.test('examples/lua/periodic.lua runs repeatedly, and once more at the end', async (t) => {
  const server = await startServer(t, {
    app: 'examples/lua/periodic.lua',
    env: { INTERVAL: '0.01' },
  });
  await until('the third run', async () => {
    return JSON.parse((await ask(server, 'GET', '/')).body).runs >= 3;
  });
  t.strictSame(await server.stop(), { code: 0, signal: null });
  await server.logLine('the last run', (line) => /^rates: \d+ updates$/.test(line.msg ?? ''));
});

t.test('the library exports the functions of its header and nothing else', async (t) => {
  const header = readFileSync(join(ROOT, 'native/include/httpserver.h'), 'utf8')
    .replace(/\/\*.*?\*\//gs, '')
    .replace(/^#define (.*\\\n)*.*$/gm, '');
  const declared = [...header.matchAll(/^[\w ]+[ *](hs_\w+)\(/gm)].map(([, name]) => name);
  const symbols = execFileSync('nm', [
    ...['-D', '--defined-only', '--format=posix'],
    join(LIBRARY, 'libhttpserver.so'),
  ]).toString();
  const exported = symbols
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' ')[0]);
  // OpenResty libraries look for these two functions of nginx in the process.
  const ofNginx = ['ngx_atoi', 'ngx_hex_dump'];
  t.strictSame(exported.toSorted(), [...declared, ...ofNginx].toSorted());
});

t.test(
  'the example program serves TCP and a Unix socket, with one reactor and several',
  async (t) => {
    const program = compile(join(ROOT, 'examples/c/main.c'), join(directory, 'main'), LINKED);
    const socketPath = join(directory, 'app.sock');
    for (const mode of [[], ['multi']]) {
      const child = spawn(program, ['0', socketPath, ...mode], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      t.teardown(() => child.kill('SIGKILL'));
      const [line] = await once(createInterface({ input: child.stdout }), 'line');
      const port = Number(String(line).split(':').at(-1));
      t.equal(await greeting({ host: '127.0.0.1', port }), 'hello from C\n');
      t.equal(await greeting({ socketPath }), 'hello from C\n');
      child.kill('SIGTERM');
      const [code] = await once(child, 'exit');
      t.equal(code, 0);
      t.notOk(existsSync(socketPath), 'the socket file is removed');
    }
  },
);
