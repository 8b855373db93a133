-- A router: which function answers which method and path.
--
--   local app = require('moonring.router').new()
--   app:get('/users/:id', function(req, res, params) res:body(params.id):send() end)
--   handle = app:handler()
--
-- The path decides first: a path without parameters wins over patterns, and among these a literal
-- segment wins over a parameter. Then the method: HEAD is answered by GET's function, OPTIONS by
-- the router, another method that the path does not have with 405. Both carry Allow.
local matcher = require 'moonring.matcher'
local percent = require 'moonring.percent'

local find = string.find
local concat, sort = table.concat, table.sort
local decode = percent.decode
local error, ipairs, loadstring, pairs = error, ipairs, loadstring, pairs
local setmetatable, tostring, type = setmetatable, tostring, type

local _M = {}

local App = {}
App.__index = App

local function answer_text(res, status, text)
  return res:status(status):header('Content-Type', 'text/plain'):body(text):send()
end

local function answer_not_found(_, res)
  return answer_text(res, 404, 'not found\n')
end

local function check_open(app, level)
  if app.closed then
    error('app:handler() was called: routes and hooks are added before it', level + 1)
  end
end

local function check_function(name, value, level)
  if type(value) ~= 'function' then
    error(('%s takes a function, not a %s'):format(name, type(value)), level + 1)
  end
end

-- The route of a pattern, which holds its functions by method.
local function route_for(app, pattern)
  local segments, problem = matcher.parse(pattern)
  if not segments then
    return nil, problem
  end
  local is_fixed = true
  for _, segment in ipairs(segments) do
    is_fixed = is_fixed and segment.kind == ''
  end
  local holder, key = app.fixed, pattern
  if not is_fixed then
    holder, problem = matcher.insert(app.tree, segments)
    key = 'route'
  end
  if not holder then
    return nil, problem
  end
  if not holder[key] then
    holder[key] = { by_method = {} }
    app.routes[#app.routes + 1] = holder[key]
  end
  return holder[key]
end

-- `level` is that of the line that is told in an error.
local function add(app, method, pattern, run, level)
  check_open(app, level + 1)
  check_function(('the route of %s'):format(tostring(pattern)), run, level + 1)
  local route, problem = route_for(app, pattern)
  if not route then
    error(('the pattern %s: %s'):format(tostring(pattern), problem), level + 1)
  end
  local is_taken = route.by_method[method]
  if method == nil then
    is_taken = route.any
    route.any = run
  end
  if is_taken then
    error(('%s %s was added before'):format(method or 'any method of', pattern), level + 1)
  end
  if method then
    route.by_method[method] = run
  end
end

-- app:route('PURGE', '/cache/:key', run): any method; names of methods are upper case.
function App:route(method, pattern, run)
  if type(method) ~= 'string' or not find(method, '^[%u-]+$') then
    error('app:route(method, pattern, run): a method is a word in upper case', 2)
  end
  add(self, method, pattern, run, 2)
  return self
end

-- app:any(pattern, run): the methods that the pattern has no function for.
function App:any(pattern, run)
  add(self, nil, pattern, run, 2)
  return self
end

-- app:get(pattern, run) and so on, with run(req, res, params).
for _, method in ipairs { 'GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS' } do
  App[method:lower()] = function(self, pattern, run)
    add(self, method, pattern, run, 2)
    return self
  end
end

-- app:before(hook): hook(req, res, params) runs before the function of every route, in the order in
-- which hooks were added. If it returns anything but nil, nothing further runs for the request, and
-- that is what the handler returns.
function App:before(hook)
  check_open(self, 2)
  check_function('app:before(hook)', hook, 2)
  self.hooks[#self.hooks + 1] = hook
  return self
end

-- app:not_found(run): run(req, res) answers paths that no route has, instead of a plain 404.
function App:not_found(run)
  check_open(self, 2)
  check_function('app:not_found(run)', run, 2)
  self.missing = run
  return self
end

-- The value of Allow for the methods of some routes, sorted.
local function allow_of(routes)
  local seen, methods = { OPTIONS = true }, {}
  for _, route in ipairs(routes) do
    for method in pairs(route.by_method) do
      seen[method] = true
    end
  end
  for method in pairs(seen) do
    methods[#methods + 1] = method
  end
  sort(methods)
  return concat(methods, ', ')
end

-- Fills in what a route answers by itself: HEAD, OPTIONS and the methods that it does not have.
local function complete(route)
  local by_method = route.by_method
  by_method.HEAD = by_method.HEAD or by_method.GET
  if route.any then
    return
  end
  local allow = allow_of { route }
  by_method.OPTIONS = by_method.OPTIONS or function(_, res)
    return res:status(204):header('Allow', allow):send()
  end
  route.any = function(_, res)
    res:header('Allow', allow)
    return answer_text(res, 405, 'method not allowed\n')
  end
end

-- One function out of the hooks and a route's own, written out so that no loop is left.
local function with_hooks(hooks, run)
  if #hooks == 0 then
    return run
  end
  local out = { 'local hooks, run = ... return function(req, res, params) local result' }
  for i = 1, #hooks do
    out[#out + 1] = ('result = hooks[%d](req, res, params)'):format(i)
    out[#out + 1] = 'if result ~= nil then return result end'
  end
  out[#out + 1] = 'return run(req, res, params) end'
  return loadstring(concat(out, '\n'), '=(hooks)')(hooks, run)
end

local function decode_all(params)
  for name, text in pairs(params) do
    local decoded = decode(text)
    if not decoded then
      return false
    end
    params[name] = decoded
  end
  return true
end

-- The function handle(req, res). Nothing can be added to the app afterwards.
function App:handler()
  check_open(self, 2)
  self.closed = true
  for _, route in ipairs(self.routes) do
    for method, run in pairs(route.by_method) do
      route.by_method[method] = with_hooks(self.hooks, run)
    end
    if route.any then
      route.any = with_hooks(self.hooks, route.any)
    end
    complete(route)
  end
  local all = allow_of(self.routes)
  -- OPTIONS * asks about the server as a whole (RFC 9110 §9.3.7).
  local missing = self.missing
  self.fixed['*'] = { any = missing, by_method = { OPTIONS = function(_, res)
    return res:status(204):header('Allow', all):send()
  end } }

  local fixed, find_route = self.fixed, matcher.compile(self.tree)
  return function(req, res)
    local path = req.path
    local route, params = fixed[path], {}
    if not route then
      route, params = find_route(path, 2)
      if not route then
        return missing(req, res)
      end
      if find(path, '%', 1, true) and not decode_all(params) then
        return answer_text(res, 400, 'bad request: a malformed percent-encoding in the path\n')
      end
    end
    local run = route.by_method[req.method] or route.any
    return run(req, res, params)
  end
end

function _M.new()
  return setmetatable({
    fixed = {}, -- path -> route
    tree = matcher.new_tree(), -- of the patterns with parameters
    routes = {},
    hooks = {},
    missing = answer_not_found,
    closed = false,
  }, App)
end

return _M
