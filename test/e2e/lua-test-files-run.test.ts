import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { runMaster } from './server.js';

const APP = `
function handle(req, res)
  if req.path == '/slow' then moonring.sleep(0.01) end
  if req.path == '/broken' then error 'out of order' end
  if req.path == '/worker' and not req:in_worker() then return 'worker' end
  print('a line of the handler')
  res:header('X-Echo', req:header 'X-Echo' or '-')
  res:body(('%s %s %s %s'):format(req.method, req.url, req:body(), require('greeting'))):send()
end
`;

/** A directory with an app, the module that it loads, and these test files below it. */
function write(t: Test, files: Readonly<Record<string, string>>): string {
  const directory = t.testdir();
  writeFileSync(join(directory, 'app.lua'), APP);
  writeFileSync(join(directory, 'greeting.lua'), "return 'hello'");
  mkdirSync(join(directory, 'tests'));
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(
      join(directory, 'tests', name),
      `local test = require 'moonring.test' local app = test.load '../app.lua'\n${text}`,
    );
  }
  return directory;
}

t.test('cases see what a client sees', async (t) => {
  const directory = write(t, {
    'app_test.lua': `
test.case('GET', function()
  local response = app:get('/a?b=c', { headers = { ['X-Echo'] = 'yes' } })
  test.equal({ response.status, response.body }, { 200, 'GET /a?b=c  hello' })
  test.equal(response.headers['x-echo'], 'yes')
end)
test.case('content', function()
  test.equal(app:post('/p', { json = { 1, 2 } }).body, 'POST /p [1,2] hello')
  test.equal(app:request { method = 'PURGE', path = '/p', body = 'x' }.body, 'PURGE /p x hello')
  test.equal(app:head('/p').body, '')
end)
test.case('waits and workers', function()
  test.equal(app:get('/slow').body, 'GET /slow  hello')
  test.equal(app:get('/worker').body, 'GET /worker  hello')
  local task = moonring.spawn(function() return app:get('/slow').status end)
  test.equal({ app:get('/slow').status, task:wait() }, { 200, 200 })
end)
test.case('errors of the handler', function()
  local response = app:get('/broken')
  test.equal(response.status, 500)
  test.match(response.failure, 'app.lua:4: out of order\\nstack traceback')
  test.equal(app:get('/').failure, nil)
end)
test.case('what tests expect', function()
  test.match(test.raises('expected', test.equal, { a = 1 }, { a = 2 }), '%["a"%] = 1')
  test.raises('expected an error', test.raises, 'x', function() end)
  test.raises('expected a string', test.match, 'abc', 'd')
  test.raises('not JSON', function() return app:get('/'):json() end)
  test.raises('did you mean "headers"', function() app:get('/', { header = {} }) end)
  test.raises('begins with /', function() app:get('x') end)
  test.equal(handle ~= nil and stream_content, nil)
end)
`,
  });
  const { code, stdout, stderr } = await runMaster(['test', directory]);
  t.equal(code, 0, stdout);
  t.match(stdout, /^TAP version 14\n# .*app_test\.lua\nok 1 - GET # time=[\d.]+ms\n/);
  t.match(stdout, /\n1\.\.5\n$/);
  t.match(stderr, /^a line of the handler$/m);
  t.notMatch(stderr, /reactor is ready/);
});

t.test('failures are reported with file and line, and the exit code is 1', async (t) => {
  const directory = write(t, {
    'a_test.lua': `test.case('one', function() end)
test.case('two', function() test.equal(app:get('/').status, 201) end)
test.case('three', function() error { message = 'a table' } end)
test.case('four', function() moonring.sleep(0) local x = nil return x.y end)`,
    'broken_test.lua': 'test.case(',
    'none.lua': 'error "not a test file"',
    'missing_test.lua': "test.load 'nowhere.lua'",
  });
  const { code, stdout, stderr } = await runMaster(['test', join(directory, 'tests')]);
  t.equal(code, 1);
  t.match(stdout, /^ok 1 - one/m);
  t.match(
    stdout,
    /^not ok 2 - two\n {2}---\n {2}message: \|\n {4}\S*a_test\.lua:3: expected 201, got 200$/m,
  );
  t.match(stdout, /^not ok 3 - three\n.*\n.*\n {4}\{ message = a table \}$/m);
  t.match(stdout, /a_test\.lua:5: attempt to index local 'x'/);
  t.match(stdout, /^not ok 5 - \S*broken_test\.lua\n(.*\n){2}.*broken_test\.lua:2: /m);
  t.match(stdout, /^not ok 6 - \S*missing_test\.lua\n(.*\n){2}.*nowhere\.lua: No such file/m);
  t.match(stdout, /\n1\.\.6\n$/);
  t.match(stderr, /moonring: 5 of 6 tests failed\n$/);
});

t.test('a file that is not a test, and no test files at all', async (t) => {
  const directory = write(t, {});
  const app = await runMaster(['test', join(directory, 'app.lua')]);
  t.equal(app.code, 1);
  t.match(app.stdout, /not ok 1 - .*\n.*\n.*\n.*does not run cases/);
  writeFileSync(join(directory, 'tests', 'empty_test.lua'), '');
  const empty = await runMaster(['test', directory]);
  t.match(empty.stdout, /no global function handle\(req, res\): tests begin with require/);
  rmSync(join(directory, 'tests', 'empty_test.lua'));
  const none = await runMaster(['test', directory]);
  t.equal(none.code, 2);
  t.match(none.stderr, /no \*_test\.lua in /);
  t.equal((await runMaster(['test', join(directory, 'nowhere')])).code, 2);
});

t.test('apps get dictionaries, and the limits of the configuration', async (t) => {
  const directory = write(t, {
    'app_test.lua': `
local kept = moonring.shared 'kept'
test.case('counts', function() test.equal(kept:incr('n', 1, 0), 1) end)
test.case('is limited', function() test.equal(app:post('/', { body = ('x'):rep(2000) }).status, 413) end)`,
    'other_test.lua': `test.case('has its own', function() test.equal(moonring.shared('kept'):get 'n', nil) end)`,
  });
  const config = join(directory, 'moonring.json');
  const settings = {
    app: 'app.lua',
    port: 80,
    maxBody: '1k',
    maxUrl: '1k',
    accessLogFile: '/nowhere/log',
  };
  writeFileSync(config, JSON.stringify(settings));
  const args = ['test', '--config', config, '--shared', 'kept=256k', join(directory, 'tests')];
  const { code, stdout, stderr } = await runMaster(args);
  t.equal(code, 0, stdout + stderr);
  t.match(stdout, /\n1\.\.3\n$/);
  const without = await runMaster(['test', join(directory, 'tests')]);
  t.equal(without.code, 1);
  t.match(without.stdout, /start the server with --shared kept=16m/);
});

t.test('a case that ends the reactor is named by the one before', async (t) => {
  const directory = write(t, {
    'app_test.lua': `
test.case('one', function() end)
test.case('two', function()
  local ffi = require 'ffi'
  ffi.cdef 'int getpid(void); int kill(int pid, int signal);'
  ffi.C.kill(ffi.C.getpid(), 9)
end)`,
  });
  const { code, stdout } = await runMaster(['test', directory]);
  t.equal(code, 1);
  t.match(stdout, /^ok 1 - one/m);
  t.match(stdout, /^not ok 2 - .*\n.*\n.*\n {4}the reactor has ended in the case after "one"$/m);
});

t.test('the tests of an example pass', async (t) => {
  const { code, stdout } = await runMaster(['test', 'examples/lua/shortener_test.lua']);
  t.equal(code, 0, stdout);
  t.match(stdout, /^# examples\/lua\/shortener_test\.lua$/m);
});
