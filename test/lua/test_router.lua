local expect = require 'expect'
local router = require 'moonring.router'

local cases = {}

-- The response of an app: what the route's function returned, or the response that was sent.
local function ask(handle, method, path)
  local answer = { status = 200, headers = {} }
  local res = {}
  function res:reset() answer.status, answer.headers, answer.body = 200, {}, nil return self end
  function res:status(code) answer.status = code return self end
  function res:header(name, value) answer.headers[name] = value return self end
  function res:body(text) answer.body = text return self end
  function res:send() answer.sent = true return self end
  local result = handle({ method = method, path = path }, res)
  return answer, result
end

-- A function that returns its route and the parameters.
local function told(name)
  return function(_, res, params)
    local parts = {}
    for key, value in pairs(params) do
      parts[#parts + 1] = key .. '=' .. value
    end
    table.sort(parts)
    res:body(name .. '(' .. table.concat(parts, ',') .. ')'):send()
  end
end

-- The error raised by a request for `path`.
local function failure_of(handle, path)
  local ok, failure = pcall(ask, handle, 'GET', path)
  expect.equal(ok, false)
  return failure
end

local function app_of(patterns)
  local app = router.new()
  for _, pattern in ipairs(patterns) do
    app:get(pattern, told(pattern))
  end
  return app:handler()
end

local function expect_route(handle, path, expected)
  local answer = ask(handle, 'GET', path)
  expect.equal(answer.body, expected)
  expect.equal(answer.sent, true)
end

function cases.paths_without_parameters()
  local handle = app_of { '/', '/a', '/a/b', '/a/', '//', '/x%20y' }
  for _, path in ipairs { '/', '/a', '/a/b', '/a/', '//', '/x%20y' } do
    expect_route(handle, path, path .. '()')
  end
  for _, path in ipairs { '/A', '/b', '/a/b/', '/a//', '', '/x y', '/%61', '*', 'a' } do
    expect.equal(ask(handle, 'GET', path).status, 404)
  end
end

function cases.parameters_are_segments()
  local handle = app_of { '/users/:id', '/users/:id/posts/:post', '/:top' }
  expect_route(handle, '/users/42', '/users/:id(id=42)')
  expect_route(handle, '/users/a.b-c~', '/users/:id(id=a.b-c~)')
  expect_route(handle, '/users/1/posts/2', '/users/:id/posts/:post(id=1,post=2)')
  expect_route(handle, '/users', '/:top(top=users)')
  for _, path in ipairs { '/users/', '/users//posts/2', '/users/1/', '/users/1/posts/', '/',
    '/users/1/posts', '/users/1/posts/2/3', '', 'x', '/users/1/2/3' } do
    expect.equal(ask(handle, 'GET', path).status, 404)
  end
end

function cases.a_tail_takes_all_that_is_left()
  local handle = app_of { '/files/*path', '/:a/x/*rest' }
  expect_route(handle, '/files/a', '/files/*path(path=a)')
  expect_route(handle, '/files/a/b//c/', '/files/*path(path=a/b//c/)')
  expect_route(handle, '/files//', '/files/*path(path=/)')
  expect_route(handle, '/q/x/y/z', '/:a/x/*rest(a=q,rest=y/z)')
  expect.equal(ask(handle, 'GET', '/files/').status, 404)
  expect.equal(ask(handle, 'GET', '/files').status, 404)
  expect_route(app_of { '/*all' }, '/x/y', '/*all(all=x/y)')
  expect.equal(ask(app_of { '/*all' }, 'GET', '/').status, 404)
end

function cases.literals_win_over_parameters_and_these_over_tails()
  local orders = {
    { '/u/*t', '/u/:id', '/u/me', '/u/:id/x', '/u/me/y', '/u/:id/:b' },
    { '/u/:id/:b', '/u/me/y', '/u/:id/x', '/u/me', '/u/:id', '/u/*t' },
  }
  for _, patterns in ipairs(orders) do
    local handle = app_of(patterns)
    expect_route(handle, '/u/me', '/u/me()')
    expect_route(handle, '/u/you', '/u/:id(id=you)')
    expect_route(handle, '/u/me/y', '/u/me/y()')
    expect_route(handle, '/u/me/x', '/u/:id/x(id=me)')
    expect_route(handle, '/u/me/z', '/u/:id/:b(b=z,id=me)')
    expect_route(handle, '/u/you/x', '/u/:id/x(id=you)')
    expect_route(handle, '/u/you/x/', '/u/*t(t=you/x/)')
    expect_route(handle, '/u/a/b/c', '/u/*t(t=a/b/c)')
  end
end

function cases.a_branch_that_leads_nowhere_is_left_again()
  local handle = app_of { '/a/b/:x/c', '/a/:y/d/e', '/:z/b/d/f', '/*rest' }
  expect_route(handle, '/a/b/d/c', '/a/b/:x/c(x=d)')
  expect_route(handle, '/a/b/d/e', '/a/:y/d/e(y=b)')
  expect_route(handle, '/a/b/d/f', '/:z/b/d/f(z=a)')
  expect_route(handle, '/a/b/d/g', '/*rest(rest=a/b/d/g)')
end

function cases.parameters_are_decoded()
  local handle = app_of { '/u/:id', '/f/*path', '/x%20y/:id' }
  expect_route(handle, '/u/a%20b%2Fc', '/u/:id(id=a b/c)')
  expect_route(handle, '/u/a+b', '/u/:id(id=a+b)')
  expect_route(handle, '/f/%2e%2e/a%2fb', '/f/*path(path=../a/b)')
  expect_route(handle, '/x%20y/1', '/x%20y/:id(id=1)')
  for _, path in ipairs { '/u/%', '/u/a%2', '/u/%zz', '/f/a/%4', '/f/%%' } do
    expect.equal(ask(handle, 'GET', path).status, 400)
  end
  expect.equal(ask(handle, 'GET', '/nowhere/%').status, 404)
end

function cases.a_parameter_with_nul_is_400()
  local handle = app_of { '/u/:id', '/f/*path' }
  for _, path in ipairs { '/u/%00', '/u/a%00b', '/f/a/%00' } do
    local answer = ask(handle, 'GET', path)
    expect.equal({ answer.status, answer.body }, { 400, 'bad request: the path has a NUL\n' })
  end
  expect_route(handle, '/u/a%01', '/u/:id(id=a\1)')
end

function cases.each_method_has_its_function()
  local app = router.new()
  for _, method in ipairs { 'get', 'post', 'put', 'patch', 'delete', 'head', 'options' } do
    expect.equal(app[method](app, '/a/:b', told(method)) == app, true)
  end
  app:route('PURGE', '/a/:b', told 'purge')
  local handle = app:handler()
  for _, method in ipairs { 'get', 'post', 'put', 'patch', 'delete', 'head', 'options', 'purge' } do
    expect.equal(ask(handle, method:upper(), '/a/1').body, method .. '(b=1)')
  end
end

function cases.head_is_answered_by_get()
  local handle = app_of { '/a', '/b/:c' }
  expect.equal(ask(handle, 'HEAD', '/a').body, '/a()')
  expect.equal(ask(handle, 'HEAD', '/b/1').body, '/b/:c(c=1)')
end

function cases.other_methods_are_405_with_allow()
  local app = router.new()
  app:get('/a', told 'get'):post('/a', told 'post'):delete('/b/:c', told 'delete')
  local handle = app:handler()
  local answer = ask(handle, 'PUT', '/a')
  expect.equal(answer.status, 405)
  expect.equal(answer.headers.Allow, 'GET, HEAD, OPTIONS, POST')
  expect.equal(answer.sent, true)
  answer = ask(handle, 'GET', '/b/1')
  expect.equal(answer.status, 405)
  expect.equal(answer.headers.Allow, 'DELETE, OPTIONS')
  expect.equal(ask(handle, 'HEAD', '/b/1').status, 405)
end

function cases.options_is_answered_with_allow()
  local app = router.new()
  app:get('/a', told 'get'):post('/b', told 'post')
  local handle = app:handler()
  local answer = ask(handle, 'OPTIONS', '/a')
  expect.equal(answer, { status = 204, headers = { Allow = 'GET, HEAD, OPTIONS' }, sent = true })
  answer = ask(handle, 'OPTIONS', '*')
  expect.equal(answer.status, 204)
  expect.equal(answer.headers.Allow, 'GET, HEAD, OPTIONS, POST')
  expect.equal(ask(handle, 'OPTIONS', '/c').status, 404)
end

function cases.any_takes_the_methods_without_a_function()
  local app = router.new()
  app:any('/a', told 'any'):get('/a', told 'get')
  local handle = app:handler()
  expect.equal(ask(handle, 'GET', '/a').body, 'get()')
  expect.equal(ask(handle, 'HEAD', '/a').body, 'get()')
  for _, method in ipairs { 'POST', 'OPTIONS', 'PURGE' } do
    expect.equal(ask(handle, method, '/a').body, 'any()')
  end
end

function cases.the_path_decides_before_the_method()
  local app = router.new()
  app:get('/u/me', told 'me'):delete('/u/:id', told 'delete')
  expect.equal(ask(app:handler(), 'DELETE', '/u/me').status, 405)
end

function cases.not_found_can_be_replaced()
  local app = router.new()
  app:not_found(function(req, res) return res:status(404):body('no ' .. req.path):send() end)
  expect.equal(ask(app:handler(), 'GET', '/x').body, 'no /x')
  local plain = ask(router.new():handler(), 'GET', '/x')
  expect.equal(plain.status, 404)
  expect.equal(plain.body, 'not found\n')
end

function cases.what_a_route_returns_is_returned()
  local app = router.new()
  app:get('/slow/:n', function() return 'worker' end):get('/none', function() end)
  local handle = app:handler()
  expect.equal(select(2, ask(handle, 'GET', '/slow/1')), 'worker')
  expect.equal(select(2, ask(handle, 'GET', '/none')), nil)
end

function cases.hooks_run_in_order_and_may_end_the_request()
  local app, seen = router.new(), {}
  for i = 1, 100 do
    app:before(function(_, _, params) seen[#seen + 1] = i .. (params.id or '') end)
  end
  app:before(function(req, res)
    if req.path == '/closed' then
      return res:status(401):send()
    end
    if req.path == '/false' then
      return false
    end
  end)
  for _, path in ipairs { '/closed', '/false', '/open/:id' } do
    app:get(path, told(path))
  end
  app:any('/any', told 'any')
  local handle = app:handler()
  expect.equal(ask(handle, 'GET', '/open/x').body, '/open/:id(id=x)')
  expect.equal(#seen, 100)
  expect.equal({ seen[1], seen[100] }, { '1x', '100x' })
  local answer = ask(handle, 'GET', '/closed')
  expect.equal({ answer.status, answer.body }, { 401, nil })
  expect.equal(select(2, ask(handle, 'GET', '/false')), false)
  seen = {}
  expect.equal(ask(handle, 'POST', '/any').body, 'any()')
  expect.equal(#seen, 100)
  seen = {}
  ask(handle, 'GET', '/nowhere')
  ask(handle, 'POST', '/closed')
  ask(handle, 'OPTIONS', '/closed')
  expect.equal(#seen, 0)
end

function cases.after_hooks_run_when_the_route_has_run()
  local app, seen = router.new(), {}
  local function see(name)
    return function(_, _, params) seen[#seen + 1] = name .. (params.id or '') return 'not used' end
  end
  app:after(see 'first'):after(see 'second'):before(function(req, res)
    if req.path == '/ended/1' then
      return res:status(401):send()
    end
  end)
  app:get('/run/:id', function(_, res) see 'run' (nil, nil, {}) res:send() return 'kept' end)
  app:get('/ended/:id', see 'never')
  app:get('/worker/:id', function() return 'worker' end)
  local handle = app:handler()
  expect.equal(select(2, ask(handle, 'GET', '/run/1')), 'kept')
  expect.equal(seen, { 'run', 'first1', 'second1' })
  seen = {}
  ask(handle, 'GET', '/ended/1')
  expect.equal(seen, { 'first1', 'second1' })
  seen = {}
  expect.equal(select(2, ask(handle, 'GET', '/worker/1')), 'worker')
  ask(handle, 'GET', '/nowhere')
  ask(handle, 'PUT', '/run/1')
  expect.equal(seen, {})
end

function cases.hooks_may_wait()
  local app, seen = router.new(), {}
  local function waits(name)
    return function() seen[#seen + 1] = coroutine.yield(name) end
  end
  app:before(waits 'before'):after(waits 'after'):on_error(function(_, res)
    waits 'handler' ()
    res:status(503):send()
  end)
  app:get('/', function() waits 'run' () error 'x' end)
  local handle = app:handler()
  local co = coroutine.create(function() return ask(handle, 'GET', '/') end)
  local _, value = coroutine.resume(co)
  for i = 1, 4 do
    expect.equal(value, ({ 'before', 'run', 'handler', 'after' })[i])
    _, value = coroutine.resume(co, i)
  end
  expect.equal(value.status, 503)
  expect.equal(seen, { 1, 2, 3, 4 })
end

function cases.the_error_handler_gets_what_was_raised()
  local app, seen, thrown = router.new(), nil, { status = 409, message = 'taken' }
  app:on_error(function(req, res, failure, trace)
    seen = { failure, trace }
    res:status(type(failure) == 'table' and failure.status or 500):body(req.path):send()
    return 'kept'
  end)
  app:get('/text', function() error 'a\0b' end)
  app:get('/table', function() error(thrown) end)
  app:get('/hook', told 'never'):before(function(req)
    if req.path == '/hook' then error('in the hook', 0) end
  end)
  app:get('/fine', told 'fine'):not_found(function() error 'missing' end)
  local handle = app:handler()
  local answer, result = ask(handle, 'GET', '/text')
  expect.equal({ answer.status, answer.body, result }, { 500, '/text', 'kept' })
  expect.equal(seen[1]:match 'test_router.lua:%d+: a%zb$' ~= nil, true)
  expect.equal(seen[2]:match 'a%zb\nstack traceback:.*test_router.lua' ~= nil, true)
  expect.equal(ask(handle, 'GET', '/table').status, 409)
  expect.equal(rawequal(seen[1], thrown), true)
  expect.equal(seen[2]:match '^taken\nstack traceback' ~= nil, true)
  expect.equal(ask(handle, 'GET', '/hook').status, 500)
  expect.equal(seen[1], 'in the hook')
  expect.equal(ask(handle, 'GET', '/nowhere').status, 500)
  expect.equal(ask(handle, 'GET', '/fine').body, 'fine()')
end

function cases.an_error_in_the_error_handler_tells_both()
  local app = router.new()
  app:on_error(function() error 'second' end):get('/', function() error 'first' end)
  local failure = failure_of(app:handler(), '/')
  expect.equal(failure:match 'first\nstack traceback' ~= nil, true)
  expect.equal(failure:match 'the error handler raised: .*second$' ~= nil, true)
end

function cases.the_end_of_a_request_is_no_failure_of_the_route()
  local failures = require 'moonring.failure'
  local app = router.new { errors = 'json' }
  app:get('/:code', function(_, _, params) error(failures.new(params.code, 'x')) end)
  app:get('/memory', function() error('not enough memory', 0) end)
  local handle = app:handler()
  for _, code in ipairs { 'aborted', 'cancelled', 'timeout' } do
    expect.equal(failure_of(handle, '/' .. code).code, code)
  end
  expect.equal(failure_of(handle, '/memory'), 'not enough memory')
  expect.equal(ask(handle, 'GET', '/busy').status, 500)
end

function cases.without_an_error_handler_errors_are_the_servers()
  local app, seen = router.new(), false
  app:after(function() seen = true end):get('/', function() error('raised', 0) end)
  expect.equal(failure_of(app:handler(), '/'), 'raised')
  expect.equal(seen, false)
end

local function problem(answer)
  expect.equal(answer.headers['Content-Type'], 'application/problem+json')
  return require('moonring.json').decode(answer.body)
end

function cases.errors_of_the_router_as_json()
  local app = router.new { errors = 'json' }
  app:get('/a/:b', told 'a'):get('/broken', function() error { message = 'a secret' } end)
  app:get('/taken', function() error { status = 409, message = 'is "taken"', errors = { 'x' } } end)
  app:get('/odd', function() error { status = 200 } end)
  app:get('/bare', function() error { status = 404 } end)
  local handle = app:handler()
  local answer = ask(handle, 'GET', '/x')
  expect.equal(answer.status, 404)
  expect.equal(problem(answer), { status = 404, title = 'Not Found', detail = 'not found' })
  answer = ask(handle, 'PUT', '/a/1')
  expect.equal({ answer.status, answer.headers.Allow }, { 405, 'GET, HEAD, OPTIONS' })
  expect.equal(problem(answer).title, 'Method Not Allowed')
  answer = ask(handle, 'GET', '/a/%00')
  expect.equal({ answer.status, problem(answer).detail }, { 400, 'bad request: the path has a NUL' })
  expect.equal(problem(ask(handle, 'GET', '/broken')),
    { status = 500, title = 'Internal Server Error' })
  answer = ask(handle, 'GET', '/taken')
  expect.equal(problem(answer),
    { status = 409, title = 'Conflict', detail = 'is "taken"', errors = { 'x' } })
  expect.equal(ask(handle, 'GET', '/odd').status, 500)
  expect.equal(problem(ask(handle, 'GET', '/bare')), { status = 404, title = 'Not Found' })
end

function cases.an_error_behind_a_sent_response_is_logged_by_the_server_alone()
  local log = require 'moonring.log'
  local app, records, write = router.new { errors = 'json' }, 0, log.error
  app:get('/', function(_, res)
    -- Like the server's response after send().
    function res:status() error 'the response was already sent' end
    error 'too late'
  end)
  log.error = function() records = records + 1 end
  local ok, failure = pcall(failure_of, app:handler(), '/')
  log.error = write
  expect.equal({ ok, records }, { true, 0 })
  expect.equal(failure:match 'too late\nstack traceback' ~= nil, true)
end

function cases.groups_have_a_prefix_and_hooks_of_their_own()
  local app, seen = router.new(), {}
  local function see(name)
    return function() seen[#seen + 1] = name end
  end
  app:before(see 'app'):after(see 'app after')
  app:get('/', told 'root')
  local users = app:group('/users/:user'):before(see 'users'):after(see 'users after')
  users:get('', told 'user'):get('/', told 'slash'):get('/posts/:post', told 'post')
  local admin = users:group '/admin'
  admin:before(see 'admin'):any('/*rest', told 'admin')
  app:get('/users/:user/plain', told 'plain')
  local handle = app:handler()
  expect_route(handle, '/users/ann', 'user(user=ann)')
  expect.equal(seen, { 'app', 'users', 'users after', 'app after' })
  seen = {}
  expect_route(handle, '/users/ann/', 'slash(user=ann)')
  expect_route(handle, '/users/ann/posts/7', 'post(post=7,user=ann)')
  seen = {}
  expect_route(handle, '/users/ann/admin/x', 'admin(rest=x,user=ann)')
  expect.equal(seen, { 'app', 'users', 'admin', 'users after', 'app after' })
  for path, name in pairs { ['/'] = 'root()', ['/users/ann/plain'] = 'plain(user=ann)' } do
    seen = {}
    expect_route(handle, path, name)
    expect.equal(seen, { 'app', 'app after' })
  end
end

function cases.one_path_may_belong_to_two_groups()
  local app, seen = router.new(), {}
  app:group('/a'):before(function() seen[#seen + 1] = 'one' end):get('/b', told 'get')
  app:group('/a'):before(function() seen[#seen + 1] = 'two' end):post('/b', told 'post')
  local handle = app:handler()
  expect_route(handle, '/a/b', 'get()')
  expect.equal(ask(handle, 'POST', '/a/b').body, 'post()')
  expect.equal(seen, { 'one', 'two' })
end

-- The error names the line of this file that made the call.
local function mistake(words, run)
  local line = debug.getinfo(run, 'S').linedefined
  local message = expect.raises(words, run, router.new())
  expect.equal(message:match 'test_router.lua:(%d+):', tostring(line))
end

function cases.malformed_patterns_raise_at_the_caller()
  local function nothing() end
  mistake('begins with /', function(app) app:get('users', nothing) return true end)
  mistake('begins with /', function(app) app:get(nil, nothing) return true end)
  mistake('is no path segment', function(app) app:get('/a?b=c', nothing) return true end)
  mistake('is no path segment', function(app) app:post('/a b', nothing) return true end)
  mistake('is no path segment', function(app) app:any('/a:b', nothing) return true end)
  mistake('is no path segment', function(app) app:route('GET', '/a*', nothing) return true end)
  mistake('is no path segment', function(app) app:get('/\195\169', nothing) return true end)
  mistake('is no path segment', function(app) app:get('/a%2', nothing) return true end)
  mistake('is not a parameter', function(app) app:get('/:', nothing) return true end)
  mistake('is not a parameter', function(app) app:get('/:a-b', nothing) return true end)
  mistake('is not a parameter', function(app) app:get('/*', nothing) return true end)
  mistake('last segment', function(app) app:get('/*a/b', nothing) return true end)
  mistake('have the name "a"', function(app) app:get('/:a/:a', nothing) return true end)
  mistake('more than 32', function(app) app:get(('/a'):rep(33), nothing) return true end)
  mistake('takes a function', function(app) app:get('/a') return true end)
  mistake('upper case', function(app) app:route('get', '/a', nothing) return true end)
  mistake('takes a function', function(app) app:before(1) return true end)
  mistake('takes a function', function(app) app:not_found() return true end)
end

function cases.misspelt_calls_name_what_to_write()
  local function nothing() end
  mistake('app:get is called with a colon: write app:get(pattern, run)',
    function(app) app.get('/a', nothing) return true end)
  mistake('write app:before(hook)', function(app) app.before(nothing) return true end)
  mistake('write app:handler()', function(app) app.handler() return true end)
  mistake('app has no member "gte": did you mean "get"?',
    function(app) app:gte('/a', nothing) return true end)
  mistake('app has no member "on_eror": did you mean "on_error"?',
    function(app) app:on_eror(nothing) return true end)
  mistake('app:not_found is called, not assigned: write app:not_found(...)',
    function(app) app.not_found = nothing return true end)
  mistake('the group has no member "handler"',
    function(app) app:group('/a'):handler() return true end)
  mistake('the prefix /a/: it ends with', function(app) app:group '/a/' return true end)
  mistake('the prefix /*a: it ends with', function(app) app:group '/*a' return true end)
  mistake('the prefix a: a pattern', function(app) app:group 'a' return true end)
  mistake('":id?" is not a parameter: its name is letters, digits and _, as in :id',
    function(app) app:get('/a/:id?', nothing) return true end)
  mistake("the option errors is 'text' or 'json', not xml",
    function() router.new { errors = 'xml' } return true end)
  mistake('the options of router.new has no member "error": did you mean "errors"?',
    function() router.new { error = 'json' } return true end)
  mistake('takes a function, got nil', function(app) app:on_error() return true end)
  local app = router.new()
  app.database = 'one of the application'
  expect.equal(app.database, 'one of the application')
end

function cases.conflicts_raise_at_the_caller()
  local function nothing() end
  mistake('was added before', function(app) app:get('/a', nothing):get('/a', nothing) return 1 end)
  mistake('was added before', function(app) app:any('/:a', nothing):any('/:a', nothing) return 1 end)
  mistake('in the same place', function(app) app:get('/:a/x', nothing):get('/:b', nothing) return 1 end)
  mistake('in the same place', function(app) app:get('/*a', nothing):put('/*b', nothing) return 1 end)
  mistake('app:handler() was called', function(app) app:handler() app:get('/a', nothing) return 1 end)
  mistake('app:handler() was called', function(app) app:handler() app:handler() return 1 end)
end

function cases.many_and_deep_routes()
  local patterns = {}
  for i = 1, 2000 do
    patterns[i] = ('/r%d/:id/x%d'):format(i, i)
  end
  patterns[#patterns + 1] = ('/:p%d'):rep(32):gsub('%%d', (function()
    local n = 0
    return function() n = n + 1 return tostring(n) end
  end)())
  local handle = app_of(patterns)
  for _, i in ipairs { 1, 999, 2000 } do
    expect_route(handle, ('/r%d/7/x%d'):format(i, i), ('/r%d/:id/x%d(id=7)'):format(i, i))
  end
  expect.equal(ask(handle, 'GET', ('/v'):rep(32)).status, 200)
  expect.equal(ask(handle, 'GET', ('/v'):rep(33)).status, 404)
end

function cases.long_paths_take_linear_time()
  local handle = app_of { '/a/:b/c', '/:a/:b/:c/:d/x', '/t/*rest' }
  for _, piece in ipairs { '/', 'a', '/a', '/t', '%41', '%' } do
    expect.linear(function(length)
      return '/t/' .. piece:rep(length / #piece)
    end, function(path)
      ask(handle, 'GET', path)
      ask(handle, 'GET', path:sub(3))
    end)
  end
end

return cases
