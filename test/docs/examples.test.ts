import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { connectRaw, requestText } from '../e2e/raw-client.js';
import { startServer } from '../e2e/server.js';
import { ROOT, readPage } from './pages.js';

const LIBRARY = join(ROOT, 'build/release/native');
const directory = mkdtempSync(join(tmpdir(), 'moonring-docs-'));
t.teardown(() => rmSync(directory, { recursive: true }));

/** The blocks of one language in a page of docs/. */
function blocks(page: string, language: string): string[] {
  const all = readPage(`docs/${page}`).blocks;
  return all.filter((block) => block.language === language).map(({ text }) => text);
}

/** The body of GET / on a connection of its own. */
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

/** The fields for a content that is JSON or, if it is not, a form. */
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

/** Serves each handler of the page and makes the requests of its comments. */
async function serveHandlers(t: Test, page: string): Promise<void> {
  for (const [i, text] of blocks(page, 'lua').entries()) {
    const app = join(directory, `${page}-${i}.lua`);
    writeFileSync(app, text);
    const promises = [...text.matchAll(/^-- ([A-Z]+) (\S+)(?: (\S.*))? -> (\d+) ?(.*)$/gm)];
    t.ok(promises.length > 0, `handler ${i} says what it answers`);
    const server = await startServer(t, { app });
    const client = await connectRaw(t, server);
    for (const [, method = '', target = '', content = '', status, body] of promises) {
      const headers = { Host: `${server.host}:${server.port}`, ...contentFields(content) };
      const sent = requestText(target, { method, headers }) + content;
      const response = await client.request(sent, method);
      t.equal(String(response.status), status, target);
      t.equal(response.body.toString().trimEnd(), body, target);
    }
  }
}

t.test('every handler of docs/lua.md responds as its comments say', async (t) => {
  t.ok(blocks('lua.md', 'lua').length >= 5);
  await serveHandlers(t, 'lua.md');
});

t.test('every handler of docs/lua-http-client.md responds as its comments say', async (t) => {
  t.ok(blocks('lua-http-client.md', 'lua').length >= 3);
  await serveHandlers(t, 'lua-http-client.md');
});

t.test('the examples of examples/lua load', async (t) => {
  const names = readdirSync(join(ROOT, 'examples/lua'));
  t.ok(names.length > 0);
  for (const name of names) {
    const server = await startServer(t, { app: `examples/lua/${name}` });
    const client = await connectRaw(t, server);
    t.equal((await client.request(requestText('/'))).status, 200, name);
  }
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
  t.strictSame(exported.toSorted(), declared.toSorted());
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
