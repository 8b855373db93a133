-- LuaJIT compiles the path of a request through the router: once it has been warm for a while,
-- nothing more is recorded, no attempt is abandoned, and no trace goes back to the interpreter to
-- call a function that LuaJIT cannot compile.
local expect = require 'expect'
local router = require 'moonring.router'

local cases = {}

local res = {}
function res:status() return self end
function res:header() return self end
function res:body() return self end
function res:send() return self end

local function answer(_, response, params)
  response:body(params.id or ''):send()
end

-- LuaJIT's events while run() runs: how many traces were started, abandoned and stitched.
local function traces_of(run)
  local seen = { start = 0, abort = 0, stitched = 0 }
  local function watch(what, number)
    if seen[what] then
      seen[what] = seen[what] + 1
    end
    if what == 'stop' then
      local info = require('jit.util').traceinfo(number)
      if info and info.linktype == 'stitch' then
        seen.stitched = seen.stitched + 1
      end
    end
  end
  jit.attach(watch, 'trace')
  local ok, failure = pcall(run)
  jit.attach(watch)
  assert(ok, failure)
  return seen
end

local function requests_of(handle, targets)
  local requests = {}
  for i, path in ipairs(targets) do
    requests[i] = { method = 'GET', path = path }
  end
  return function(rounds)
    for _ = 1, rounds do
      for i = 1, #requests do
        handle(requests[i], res)
      end
    end
  end
end

local function expect_compiled(app, targets)
  local serve = requests_of(app:handler(), targets)
  jit.flush()
  local warming = traces_of(function() serve(1000) end)
  expect.equal({ stitched = warming.stitched }, { stitched = 0 })
  expect.equal(warming.start > 0, true)
  -- LuaJIT retries an abandoned trace after a random delay: it may take some rounds until it is quiet.
  -- Code that it can never compile is retried for ever, and stitched.
  local rest = { start = 0, abort = 0, stitched = 0 }
  local round, seen = 0, nil
  repeat
    round = round + 1
    seen = traces_of(function() serve(1000) end)
  until round == 5 or (seen.start == 0 and seen.stitched == 0)
  expect.equal(seen, rest)
end

function cases.one_route_without_parameters()
  expect_compiled(router.new():get('/', answer), { '/' })
end

function cases.one_route_with_a_parameter()
  expect_compiled(router.new():get('/users/:id', answer), { '/users/42' })
end

function cases.many_routes_and_hooks()
  local app = router.new():before(function() end):before(function() end)
  app:get('/', answer):get('/health', answer):get('/users/:id', answer)
  app:get('/users/:id/posts/:post', answer):get('/files/*path', answer):get('/:a/b/:c/d', answer)
  expect_compiled(app, {
    '/', '/health', '/users/1', '/users/2/posts/3', '/files/a/b', '/x/b/y/d', '/nowhere', '/x/y/z',
  })
end

function cases.two_hundred_routes()
  local app, targets = router.new():after(function() end):on_error(function() end), {}
  local group = app:group('/v1'):before(function() end)
  for i = 1, 200 do
    group:get(('/r%d/:id'):format(i), answer)
    targets[i] = ('/v1/r%d/%d'):format(i, i)
  end
  expect_compiled(app, targets)
end

return cases
