import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageRoot } from '../../src/shared/package-info.js';
import { cleanEnvironment, startServer } from './server.js';
import { until } from './until.js';

const SOURCE = `local router = require('moonring.router').new { errors = 'json' }

router:get('/routed/:name', function(req, res, params)
  error('<b>' .. params.name .. '</b>', 0) -- in a route
end)
router:get('/refused', function()
  error { status = 404, message = 'no such thing' }
end)
local routed = router:handler()

local function fail()
  local nothing
  return nothing.field -- in a function
end

function handle(req, res)
  if req.path == '/at-once' then
    res:status(201):header('X-Built', 'yes'):body('half')
    fail()
  elseif req.path == '/after-a-wait' then
    moonring.sleep(0.001)
    res:body('half')
    fail()
  elseif req.path == '/on-a-worker' then
    if not req:in_worker() then return 'worker' end
    fail()
  elseif req.path == '/after-send' then
    res:body('whole'):send()
    fail()
  elseif req.path == '/sent-after-a-wait' then
    moonring.sleep(0.001)
    res:body('whole'):send()
    fail()
  end
  return routed(req, res)
end
`;

/** As editors do: a reader gets the old or the new text, not a part. */
function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

const lineOf = (comment: string) =>
  SOURCE.split('\n').findIndex((line) => line.endsWith(`-- ${comment}`)) + 1;

const directory = t.testdir({ 'app.lua': SOURCE });
const app = join(directory, 'app.lua');
const server = await startServer(t, { app, args: ['--dev'] });
const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(`${server.url}${path}`, { headers });

t.test('a browser gets a page with everything escaped', async (t) => {
  const response = await get('/routed/%3Cscript%3E', { Accept: 'text/html', 'X-Own': '<i>"&' });
  t.equal(response.status, 500);
  t.equal(response.headers.get('content-type'), 'text/html; charset=utf-8');
  t.match(response.headers.get('content-security-policy'), /^default-src 'none'/);
  t.equal(response.headers.get('cache-control'), 'no-store');
  const page = await response.text();
  t.match(page, '<h1>&lt;b&gt;&lt;script&gt;&lt;/b&gt;</h1>');
  t.match(page, `${app}:${lineOf('in a route')}</h2>`);
  t.match(page, /<b> +4 {4}error\(&#39;&lt;b&gt;&#39; \.\. params/, 'the line');
  t.match(page, /Traceback<\/h2>\n<pre>\[C\]: in function &#39;error/);
  t.match(page, '<td>&lt;i&gt;&quot;&amp;</td>', 'the request');
  t.notMatch(page.replace(/<\/?(?:b|td|tr|h[12])>/g, ''), /<(?:script|i|b)\b/);
});

t.test('other clients get JSON or text', async (t) => {
  const json = await get('/at-once', { Accept: 'application/json' });
  t.equal(json.headers.get('content-type'), 'application/problem+json');
  t.equal(json.headers.get('x-built'), null, 'nothing that was built is left');
  t.match(await json.json(), {
    status: 500,
    title: 'Internal Server Error',
    detail: new RegExp(`app.lua:${lineOf('in a function')}: attempt to index local 'nothing'`),
    file: app,
    line: lineOf('in a function'),
    request: 'GET /at-once',
    requestId: /^\w+-\d+$/,
  });
  const text = await get('/at-once');
  t.equal(text.headers.get('content-type'), 'text/plain; charset=utf-8');
  t.match(await text.text(), /\n> {4}13 {4}return nothing\.field -- in a function\n/);
  const routed = await get('/routed/ann');
  t.match(routed.headers.get('content-type'), 'application/problem+json', 'a router that does so');
});

t.test('wherever the handler was', async (t) => {
  for (const path of ['/after-a-wait', '/on-a-worker']) {
    const response = await get(path);
    t.equal(response.status, 500, path);
    t.match(
      await response.text(),
      /attempt to index local 'nothing'.*\n[\s\S]*GET \/[\w-]+ \(request /,
    );
  }
});

t.test('a response already sent, and a refusal, are unchanged', async (t) => {
  for (const path of ['/after-send', '/sent-after-a-wait']) {
    const response = await get(path);
    t.equal(response.status, 200, path);
    t.equal(await response.text(), 'whole');
  }
  const refused = await get('/refused', { Accept: 'text/html' });
  t.strictSame(await refused.json(), { status: 404, title: 'Not Found', detail: 'no such thing' });
});

t.test('the reason for a rejected reload is shown until one is accepted', async (t) => {
  // Longer than LuaJIT's limit for a path in a message.
  const directory = t.testdir({ ['d'.repeat(70)]: { 'app.lua': '', 'part.lua': 'return {}' } });
  const [broken, part] = ['app.lua', 'part.lua'].map((name) =>
    join(directory, 'd'.repeat(70), name),
  ) as [string, string];
  const good = `local part = require 'part'
function handle(req, res)
  if req:in_worker() or req.path ~= '/on-a-worker' then return res:body('served'):send() end
  return 'worker'
end
`;
  writeFileSync(broken, good);
  const server = await startServer(t, { app: broken, args: ['--dev'] });
  const ended = () =>
    server.logs.filter(({ msg }) => /^reload(?:ed| rejected)/.test(String(msg))).length;
  const save = async (path: string, text: string) => {
    const before = ended();
    replace(path, text);
    await until('the end of the reload', () => ended() > before);
  };
  const get = (path: string, accept: string) =>
    fetch(`${server.url}${path}`, { headers: { Accept: accept } });

  await save(broken, `${good}end\n`);
  for (const path of ['/', '/on-a-worker']) {
    const json = await get(path, 'application/json');
    t.equal(json.status, 500);
    t.match(await json.json(), {
      detail: /app\.lua:6: '<eof>' expected near 'end'$/,
      note: /^The app could not be reloaded\. /,
      file: broken,
      line: 6,
      source: { 5: '> 6  end' },
      request: `GET ${path}`,
    });
  }
  const page = await (await get('/', 'text/html')).text();
  t.match(page, '<h1>...');
  t.match(page, '<p>The app could not be reloaded. ');
  t.match(page, `<h2>${broken}:6</h2>`);
  t.notMatch(page, 'Traceback');

  await save(broken, good);
  t.equal(await (await get('/', '*/*')).text(), 'served');

  await save(part, '\nerror "<b>"\n');
  const text = await (await get('/', '*/*')).text();
  t.match(text, /part\.lua:2: <b>\n/);
  t.match(text, `\n${part}:2\n`);
  t.match(text, '\n>     2  error "<b>"\n');
  const [first] = server.reactorPids();
  process.kill(first as number, 'SIGKILL');
  await until('another process', () => server.reactorPids().some((pid) => pid !== first));
  t.match(await (await get('/', '*/*')).text(), /part\.lua:2/, 'of a new process too');
  await save(part, 'return {}');
  t.equal(await (await get('/', '*/*')).text(), 'served');
});

t.test('--dev implies --watch', async (t) => {
  replace(app, "function handle(_, res) res:body('mended'):send() end\n");
  await server.logLine('the reload', ({ msg }) => msg === 'reloaded');
  t.equal(await (await get('/at-once')).text(), 'mended');
});

t.test('with --dev the server waits for an app that does not load to be fixed', async (t) => {
  const broken = join(t.testdir({ 'app.lua': 'function handle(' }), 'app.lua');
  let said = '';
  const waiting = startServer(t, {
    app: broken,
    args: ['--dev'],
    onStarting: async (child) => {
      child.stderr?.on('data', (chunk) => {
        said += String(chunk);
      });
      await until('the message', () => said.includes('waiting for a file of the app to be saved'));
      replace(broken, "function handle(_, res) res:body('loaded'):send() end\n");
    },
  });
  t.equal(await (await fetch((await waiting).url)).text(), 'loaded');
  t.match(said, /^moonring: .*app\.lua:1: .*\n/);
});

t.test('a signal ends the wait', async (t) => {
  const broken = join(t.testdir({ 'app.lua': 'function handle(' }), 'app.lua');
  const args = [join(packageRoot, 'dist/master.js'), '--dev', '--admin', 'off', broken];
  const child = spawn(process.execPath, args, { env: cleanEnvironment() });
  t.teardown(() => child.kill('SIGKILL'));
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += String(chunk);
  });
  await until('the message', () => said.includes('waiting for a file'));
  const exited = once(child, 'exit');
  child.kill('SIGINT');
  t.strictSame(await exited, [0, null]);
});

t.test('--dev is refused in production', async (t) => {
  const args = [join(packageRoot, 'dist/master.js'), '--dev', '--check'];
  const env = { ...cleanEnvironment(), NODE_ENV: 'production' };
  const { status, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' });
  t.equal(status, 78);
  t.match(stderr, /^moonring: dev: .* NODE_ENV is production\n$/);
});
