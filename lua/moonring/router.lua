-- A router: maps methods and paths to functions.
--
--   local app = require('moonring.router').new()
--   app:get('/users/:id', function(req, res, params) res:body(params.id):send() end)
--   handle = app:handler()
--
-- The path decides first: a path without parameters wins over patterns, and among these a literal
-- segment wins over a parameter. Then the method: HEAD runs the function of GET; the router itself responds
-- to OPTIONS, and with 405 to other methods that the path does not have, both with Allow.
-- Everything is compiled when app:handler() is called: a route without hooks is called directly.
local failures = require 'moonring.failure'
local log = require 'moonring.log'
local matcher = require 'moonring.matcher'
local members = require 'moonring.members'
local native = require 'moonring.native'
local percent = require 'moonring.percent'
local routes = require 'moonring.routes'

local find, format = string.find, string.format
local concat, sort = table.concat, table.sort
local decode = percent.decode
local error, getmetatable, ipairs, loadstring, pairs = error, getmetatable, ipairs, loadstring, pairs
local pcall, rawset, setmetatable, tostring, type = pcall, rawset, setmetatable, tostring, type
local require, xpcall = require, xpcall

local _M = {}

-- Methods of the app and of its groups; those of the app alone are in App.
local Group = {}
local App = {}

local TITLES = { [400] = 'Bad Request', [401] = 'Unauthorized', [403] = 'Forbidden',
  [404] = 'Not Found', [405] = 'Method Not Allowed', [409] = 'Conflict', [410] = 'Gone',
  [413] = 'Content Too Large', [415] = 'Unsupported Media Type', [422] = 'Unprocessable Content',
  [429] = 'Too Many Requests', [500] = 'Internal Server Error', [503] = 'Service Unavailable' }

-- ---- Responses of the router. ----

local function send_text(res, status, detail)
  return res:status(status):header('Content-Type', 'text/plain'):body(detail .. '\n'):send()
end

-- RFC 9457. `errors`, a list, is a member of ours.
local function send_problem(res, status, detail, errors)
  local encode = require('moonring.json').encode
  local body = format('{"status":%d,"title":%s', status, encode(TITLES[status] or 'Error'))
  if detail then
    body = body .. ',"detail":' .. encode(detail)
  end
  if type(errors) == 'table' then
    body = body .. ',"errors":' .. encode(errors, { sorted = true })
  end
  return res:status(status):header('Content-Type', 'application/problem+json'):body(body .. '}')
    :send()
end

-- ---- Checks of what is called while the file is loaded. ----

local function is_group(value)
  local kind = type(value) == 'table' and getmetatable(value)
  return kind == Group or kind == App
end

-- `call` is the method as written in errors. `level` is that of the line named in errors.
local function check_open(self, call, level)
  if not is_group(self) then
    error(format('%s is called with a colon: write %s', call:match '^[^(]*', call), level + 1)
  end
  if self.app.closed then
    error('app:handler() was called: routes and hooks are added before it', level + 1)
  end
end

local function check_function(call, value, level)
  if type(value) ~= 'function' then
    error(format('%s takes a function, got %s', call, value == nil and 'nil' or 'a ' .. type(value)),
      level + 1)
  end
end

-- ---- Routes. ----

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
    holder[key] = { by_method = {}, groups = {} }
    app.routes[#app.routes + 1] = holder[key]
  end
  return holder[key]
end

-- `method` is false for any. A route remembers the group of each function, for its hooks.
local function add(group, method, pattern, run, level)
  local app = group.app
  check_function(format('the route of %s', tostring(pattern)), run, level + 1)
  local is_text = type(pattern) == 'string'
  local route, problem = route_for(app, is_text and group.prefix .. pattern or pattern)
  if not route then
    error(format('the pattern %s: %s', tostring(pattern), problem), level + 1)
  end
  local is_taken = route.by_method[method]
  if method == false then
    is_taken = route.any
    route.any = run
  end
  if is_taken then
    error(format('%s %s was added before', method or 'any method of', group.prefix .. pattern),
      level + 1)
  end
  if method then
    route.by_method[method] = run
  end
  route.groups[method] = group
  if routes.are_wanted then
    routes.add(method, group.prefix .. pattern, run, level + 1)
  end
end

-- app:route('PURGE', '/cache/:key', run): any method; names of methods are upper case.
function Group:route(method, pattern, run)
  check_open(self, 'app:route(method, pattern, run)', 2)
  if type(method) ~= 'string' or not find(method, '^[%u-]+$') then
    error('app:route(method, pattern, run): a method is a word in upper case', 2)
  end
  add(self, method, pattern, run, 2)
  return self
end

-- app:any(pattern, run): all methods for which the pattern has no function.
function Group:any(pattern, run)
  check_open(self, 'app:any(pattern, run)', 2)
  add(self, false, pattern, run, 2)
  return self
end

-- app:get(pattern, run) and so on, with run(req, res, params).
for _, method in ipairs { 'GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS' } do
  local name = method:lower()
  local call = format('app:%s(pattern, run)', name)
  Group[name] = function(self, pattern, run)
    check_open(self, call, 2)
    add(self, method, pattern, run, 2)
    return self
  end
end

-- app:static('/assets', 'public', options): the files below a directory, for GET and HEAD. Missing ones go to
-- app:not_found.
function Group:static(prefix, root, options)
  check_open(self, 'app:static(prefix, root, options)', 2)
  if type(prefix) ~= 'string' or find(prefix, '[*/]$') then
    error("app:static(prefix, root, options): a prefix is '' or begins with / and does not end with "
      .. 'it', 2)
  end
  local app = self.app
  local whole = self.prefix .. prefix
  local _, slashes = whole:gsub('/', '')
  local run = require('moonring.static').handler(root, options, slashes + 1, function(req, res)
    return app.missing(req, res)
  end)
  add(self, 'GET', prefix .. '/*path', run, 2)
  add(self, 'GET', prefix .. '/', run, 2)
  if whole ~= '' then
    add(self, 'GET', prefix, run, 2)
  end
  return self
end

-- app:before(hook): hook(req, res, params) runs before the function of every route, in the order in
-- which hooks were added. If it returns anything but nil, the route's function does not run, and the handler
-- returns that value.
function Group:before(hook)
  check_open(self, 'app:before(hook)', 2)
  check_function('app:before(hook)', hook, 2)
  self.befores[#self.befores + 1] = hook
  return self
end

-- app:after(hook): hook(req, res, params) runs after the function of every route, or after what ran
-- instead of it: a hook that ended the request, the error handler. Its result is ignored.
function Group:after(hook)
  check_open(self, 'app:after(hook)', 2)
  check_function('app:after(hook)', hook, 2)
  self.afters[#self.afters + 1] = hook
  return self
end

-- A group of an app: its fields default to the app's.
local function new_group(app, parent, prefix)
  return setmetatable({ app = app, parent = parent, prefix = prefix, befores = {}, afters = {} },
    Group)
end

-- app:group(prefix): routes whose patterns begin with `prefix`, with their own hooks, which run inside those
-- of the app. Patterns may be '', which is the prefix itself.
function Group:group(prefix)
  check_open(self, 'app:group(prefix)', 2)
  local segments, problem = matcher.parse(prefix)
  if not segments then
    error(format('the prefix %s: %s', tostring(prefix), problem), 2)
  end
  local last = segments[#segments]
  if last.kind == '*' or last.name == '' then
    error(format('the prefix %s: it ends with a segment, neither with / nor with *%s', prefix,
      last.name), 2)
  end
  return new_group(self.app, self, self.prefix .. prefix)
end

-- app:not_found(run): run(req, res) handles paths that match no route, instead of a plain 404.
function App:not_found(run)
  check_open(self, 'app:not_found(run)', 2)
  check_function('app:not_found(run)', run, 2)
  self.missing = run
  return self
end

-- app:on_error(run): run(req, res, failure, trace) responds when a route's function or a hook raised an
-- error: `failure` is the raised value, `trace` its text with the traceback, for the log. Errors that it
-- raises itself are handled by the server: logged, 500.
function App:on_error(run)
  check_open(self, 'app:on_error(run)', 2)
  check_function('app:on_error(run)', run, 2)
  self.recover = run
  return self
end

-- ---- What runs for a request. ----

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

-- Adds the router's own responses: HEAD, OPTIONS and the methods that a route does not have.
local function complete(route, refuse)
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
    return refuse(res, 405, 'method not allowed')
  end
end

-- Combines hooks and a route's function into one, unrolled so that no loop is left.
local function with_befores(hooks, run)
  if #hooks == 0 then
    return run
  end
  local out = { 'local hooks, run = ... return function(req, res, params) local result' }
  for i = 1, #hooks do
    out[#out + 1] = format('result = hooks[%d](req, res, params)', i)
    out[#out + 1] = 'if result ~= nil then return result end'
  end
  out[#out + 1] = 'return run(req, res, params) end'
  return loadstring(concat(out, '\n'), '=(hooks)')(hooks, run)
end

-- They do not run if the request is only passed to a worker, which runs everything again.
local function with_afters(hooks, run)
  if #hooks == 0 then
    return run
  end
  local out = { 'local hooks, run = ... return function(req, res, params)',
    "local result = run(req, res, params) if result == 'worker' then return result end" }
  for i = 1, #hooks do
    out[#out + 1] = format('hooks[%d](req, res, params)', i)
  end
  out[#out + 1] = 'return result end'
  return loadstring(concat(out, '\n'), '=(hooks)')(hooks, run)
end

-- The server ends the request: the client disconnected, or it took too long.
local ENDS = { aborted = true, cancelled = true, timeout = true }

local function is_for_server(failure)
  -- After it the server collects garbage.
  return failure == 'not enough memory'
    or failures.is(failure) and ENDS[failure.code]
end

-- Values with a message are shown as that.
local function text_of(failure)
  if type(failure) == 'table' and type(failure.message) == 'string' then
    return failure.message
  end
  return failures.text_of(failure)
end

-- Message handler of xpcall. The text is concatenated, because traceback would cut it at a NUL.
local function catch(failure)
  if is_for_server(failure) then
    return { failure = failure }
  end
  local caught = { failure = failure, trace = text_of(failure) .. failures.traceback() }
  if native.shows_errors then
    caught.frames = require('moonring.error_page').frames()
  end
  return caught
end

-- run() with its errors passed to recover(req, res, failure, trace).
local function guarded(recover, run)
  if not recover then
    return run
  end
  return function(req, res, params)
    local ok, result = xpcall(run, catch, req, res, params)
    if ok then
      return result
    end
    if type(result) ~= 'table' then -- catch() could not run
      error(result, 0)
    end
    local failure, trace, frames = result.failure, result.trace, result.frames
    if not trace then
      error(failure, 0)
    end
    ok, result = pcall(recover, req, res, failure, trace, frames)
    if ok then
      return result
    elseif is_for_server(result) then
      error(result, 0)
    end
    error(format('%s\nthe error handler raised: %s', trace, text_of(result)), 0)
  end
end

-- The error handler of errors = 'json'. A table with a status from 400 to 499 is a refusal for the client to
-- read; everything else is logged, and not shown to it.
local function recover_as_json(req, res, failure, trace, frames)
  local status = type(failure) == 'table' and failure.status
  if type(status) ~= 'number' or status < 400 or status > 599 then
    status = 500
  end
  res:reset()
  if status >= 500 then
    -- First the response: if it was already sent this raises, and the server logs the error.
    local result
    local shown = { text = trace, status = status, frames = frames }
    if frames and require('moonring.error_page').build(req, res, shown, true) then
      result = res:send()
    else
      result = send_problem(res, status)
    end
    log.error('lua error in a route: ' .. trace)
    return result
  end
  local message = failure.message
  return send_problem(res, status, type(message) == 'string' and message or nil, failure.errors)
end

-- `run` with the hooks of its group and those around it, and the error handler inside the after
-- hooks.
local function assemble(app, group, run)
  local befores, afters = {}, {}
  while group do
    for i = #group.befores, 1, -1 do
      table.insert(befores, 1, group.befores[i])
    end
    for _, hook in ipairs(group.afters) do
      afters[#afters + 1] = hook
    end
    group = group.parent
  end
  return with_afters(afters, guarded(app.recover, with_befores(befores, run)))
end

-- Decodes the parameters: nil, or what is wrong with them.
local function decode_all(params)
  for name, text in pairs(params) do
    local decoded = decode(text)
    if not decoded then
      return 'bad request: a malformed percent-encoding in the path'
    elseif find(decoded, '%z') then
      return 'bad request: the path has a NUL'
    end
    params[name] = decoded
  end
end

-- The function handle(req, res). Nothing can be added to the app afterwards.
function App:handler()
  check_open(self, 'app:handler()', 2)
  self.closed = true
  local refuse = self.refuse
  for _, route in ipairs(self.routes) do
    for method, run in pairs(route.by_method) do
      route.by_method[method] = assemble(self, route.groups[method], run)
    end
    if route.any then
      route.any = assemble(self, route.groups[false], route.any)
    end
    complete(route, refuse)
  end
  local all = allow_of(self.routes)
  local missing = guarded(self.recover, self.missing)
  -- OPTIONS * asks about the server as a whole (RFC 9110 §9.3.7).
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
      if find(path, '%', 1, true) then
        local problem = decode_all(params)
        if problem then
          return refuse(res, 400, problem)
        end
      end
    end
    local run = route.by_method[req.method] or route.any
    return run(req, res, params)
  end
end

-- ---- Classes. ----

-- An assigned method, as in `app.not_found = run`, would never be called.
local function assign(self, name, value)
  if type(name) == 'string' and (Group[name] or App[name]) then
    error(format('app:%s is called, not assigned: write app:%s(...)', name, name), 2)
  end
  rawset(self, name, value)
end

local function close_class(class, owner)
  local methods = {}
  for name, method in pairs(Group) do
    methods[name] = method
  end
  for name, method in pairs(class) do
    methods[name] = method
  end
  return members.strict(methods, owner), assign
end

App.__index, App.__newindex = close_class(App, 'app')
Group.__index, Group.__newindex = close_class({}, 'the group')

-- Options: errors = 'text' (the default) or 'json', how the router writes its own 400, 404 and 405.
-- With 'json' it also responds to errors that routes raise, unless there is an app:on_error.
function _M.new(options)
  options = options or {}
  if type(options) ~= 'table' then
    error('router.new(options): options is a ' .. type(options) .. ', not a table', 2)
  end
  for name, value in pairs(options) do
    if name ~= 'errors' then
      error(members.unknown('the options of router.new', name, { { errors = true } }), 2)
    elseif value ~= 'text' and value ~= 'json' then
      error(format("router.new: the option errors is 'text' or 'json', not %s", tostring(value)), 2)
    end
  end
  local is_json = options.errors == 'json'
  local refuse = is_json and send_problem or send_text
  local app = {
    fixed = {}, -- path -> route
    tree = matcher.new_tree(), -- of the patterns with parameters
    routes = {},
    parent = false,
    prefix = '',
    befores = {},
    afters = {},
    refuse = refuse,
    missing = function(_, res) return refuse(res, 404, 'not found') end,
    recover = is_json and recover_as_json or false,
    closed = false,
  }
  app.app = app
  return setmetatable(app, App)
end

return _M
