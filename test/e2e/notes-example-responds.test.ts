import t from 'tap';
import { connectRaw } from './raw-client.js';
import { startServer } from './server.js';

const args = ['--dispatch', 'inline'];
const server = await startServer(t, { app: 'examples/lua/app.lua', args });
const client = await connectRaw(t, server);

interface Sent {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

function ask(method: string, target: string, { headers = {}, body = '' }: Sent = {}) {
  const fields = { Host: 'h', 'Content-Length': String(Buffer.byteLength(body)), ...headers };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return client.request(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n${body}`, method);
}

async function askJson(method: string, target: string, sent?: Sent): Promise<unknown> {
  const response = await ask(method, target, sent);
  t.equal(response.headers.get('content-type'), 'application/json');
  return JSON.parse(response.body.toString());
}

function typed(type: string, body: string): Sent {
  return { headers: { 'Content-Type': type }, body };
}

const FORM = 'application/x-www-form-urlencoded';
const MULTIPART = 'multipart/form-data; boundary=----x';

t.test('an empty list is an array', async (t) => {
  t.strictSame(await askJson('GET', '/notes'), []);
});

t.test('notes are created from JSON and from forms of both kinds', async (t) => {
  const made = await ask('POST', '/notes', typed('application/json', '{"text":"m\\u00fcsli"}'));
  t.equal(made.status, 201);
  t.equal(made.headers.get('location'), '/notes/1');
  t.strictSame(await askJson('POST', '/notes', typed(FORM, 'text=two+words%21')), {
    id: 2,
    text: 'two words!',
  });
  const part = 'Content-Disposition: form-data; name="text"\r\n\r\nline 1\r\nline 2';
  const body = `------x\r\n${part}\r\n------x--\r\n`;
  t.strictSame(await askJson('POST', '/notes', typed(MULTIPART, body)), {
    id: 3,
    text: 'line 1\r\nline 2',
  });
});

t.test('JSON may say its charset', async (t) => {
  const made = await ask('POST', '/notes', typed('Application/JSON; charset=utf-8', '{"text":5}'));
  t.strictSame(JSON.parse(made.body.toString()), { error: 'text is missing' });
  t.equal(made.status, 400);
});

t.test('notes are found by id and by query', async (t) => {
  t.strictSame(await askJson('GET', '/notes/1'), { id: 1, text: 'müsli' });
  t.strictSame(await askJson('GET', '/notes?contains=o+w'), [{ id: 2, text: 'two words!' }]);
  t.strictSame(await askJson('GET', '/notes/99'), { error: 'no such note' });
});

t.test('a note is gone after DELETE', async (t) => {
  t.equal((await ask('DELETE', '/notes/2')).status, 204);
  t.equal((await ask('DELETE', '/notes/2')).status, 404);
});

t.test('bodies that cannot be parsed get the right status', async (t) => {
  const cases: readonly (readonly [Sent, number, RegExp])[] = [
    [typed('application/json', '{"text":'), 400, /at character 9/],
    [typed('application/json', '{}'), 400, /text is missing/],
    [typed('application/json', '{"text":5}'), 400, /text is missing/],
    [typed(FORM, 'text=%4'), 400, /malformed percent-encoding/],
    [typed(FORM, 'a&'.repeat(1001)), 413, /more than 1000/],
    [typed(MULTIPART, '------x\r\n'), 400, /without an end/],
    [typed('text/plain', 'text'), 415, /not a form/],
  ];
  for (const [sent, status, problem] of cases) {
    const response = await ask('POST', '/notes', sent);
    t.equal(response.status, status, String(problem));
    t.match(response.body.toString(), problem);
  }
  t.equal((await ask('GET', '/notes?contains=%')).status, 400);
  t.equal((await ask('GET', '/notes/%zz')).status, 400);
});

t.test('a cookie brings the name back', async (t) => {
  t.strictSame(await askJson('GET', '/me'), { name: null });
  const login = await ask('POST', '/login', typed(FORM, 'name=Ann+%C3%9C%3B'));
  t.equal(login.status, 204);
  const cookie = login.headers.get('set-cookie') ?? '';
  t.equal(cookie, 'name=Ann%20%C3%9C%3B; Path=/; Max-Age=3600; SameSite=Lax; HttpOnly');
  const [pair = ''] = cookie.split(';');
  const headers = { Cookie: `a=b; ${pair}` };
  t.strictSame(await askJson('GET', '/me', { headers }), { name: 'Ann Ü;' });
});

t.test('the router handles HEAD, OPTIONS, 405 and 404', async (t) => {
  const get = await ask('GET', '/notes');
  const head = await ask('HEAD', '/notes');
  t.equal(head.status, 200);
  t.equal(head.headers.get('content-length'), get.headers.get('content-length'));
  t.equal(head.body.length, 0);
  const options = await ask('OPTIONS', '/notes/1');
  t.equal(options.status, 204);
  t.equal(options.headers.get('allow'), 'DELETE, GET, HEAD, OPTIONS');
  const put = await ask('PUT', '/notes');
  t.equal(put.status, 405);
  t.equal(put.headers.get('allow'), 'GET, HEAD, OPTIONS, POST');
  t.strictSame(await askJson('GET', '/notes/'), { error: 'no such page' });
  t.equal((await ask('GET', 'http://h/notes?a')).status, 200, 'absolute form');
});

t.test(
  'a handler file with a wrong pattern does not load, and the error has its line',
  async (t) => {
    const directory = t.testdir({
      'app.lua':
        "local app = require('moonring.router').new()\n" +
        "app:get('/a', print)\n" +
        "app:get('/a', print)\n" +
        'handle = app:handler()\n',
    });
    await t.rejects(startServer(t, { app: `${directory}/app.lua` }), {
      message: /app\.lua:3: GET \/a was added before/,
    });
  },
);
