-- Tests of handlers: test.load('app.lua') loads one, app:get('/path') calls it, test.case(name, run)
-- is a test. See docs/lua-testing.md.
--
-- A test file is a handler file: `moonring test` starts a server with it, on a Unix socket, and its
-- first request runs the cases. Requests of a case go through that socket to the same Lua state, so an app
-- sees the same requests and responses as in production, and may wait.
local failures = require 'moonring.failure'
local http = require 'moonring.http'
local json = require 'moonring.json'
local members = require 'moonring.members'
local runtime = require 'moonring.runtime'
local scheduler = require 'moonring.scheduler'

local find, format, gsub, match = string.find, string.format, string.gsub, string.match
local concat, sort = table.concat, table.sort
local error, ipairs, loadfile = error, ipairs, loadfile
local pairs, pcall, rawget, setfenv, setmetatable = pairs, pcall, rawget, setfenv, setmetatable
local tonumber, tostring, type, xpcall = tonumber, tostring, type, xpcall
local getinfo, traceback = debug.getinfo, debug.traceback

local _M = {}

-- The app of a request and the call, by their numbers; the path of the socket, in the request that runs the cases.
local FIELD, SOCKET_FIELD = 'Moonring-Test-App', 'Moonring-Test-Socket'
-- A case that takes longer fails.
local CASE_SECONDS = 10
-- Nesting of tables shown by a comparison.
local DEPTH = 20

local apps, cases, names = {}, {}, {}
local socket -- nil: no cases run
local calls, raised = 0, {} -- what the handler of a call has raised

-- ---- What a case expects. ----

local function shown(value, depth)
  if type(value) == 'string' then
    return format('%q', value)
  elseif type(value) ~= 'table' or depth == DEPTH then
    return tostring(value)
  end
  local parts = {}
  for name, member in pairs(value) do
    parts[#parts + 1] = format('[%s] = %s', shown(name, depth + 1), shown(member, depth + 1))
  end
  sort(parts)
  return '{ ' .. concat(parts, ', ') .. ' }'
end

local function is_equal(a, b, depth)
  if a == b or a ~= a and b ~= b then
    return true
  elseif type(a) ~= 'table' or type(b) ~= 'table' or depth == DEPTH then
    return false
  end
  for name, member in pairs(a) do
    if not is_equal(member, b[name], depth + 1) then
      return false
    end
  end
  for name in pairs(b) do
    if a[name] == nil then
      return false
    end
  end
  return true
end

-- Fails unless they are the same value, or tables of equal members.
function _M.equal(found, expected)
  if not is_equal(found, expected, 0) then
    error(format('expected %s, got %s', shown(expected, 0), shown(found, 0)), 2)
  end
end

-- Fails unless the text matches the pattern, as in string.find.
function _M.match(text, pattern)
  if type(text) ~= 'string' or not find(text, pattern) then
    error(format('expected a string with %q, got %s', pattern, shown(text, 0)), 2)
  end
end

-- Fails unless run(...) raises an error whose text matches the pattern. Returns the error.
function _M.raises(pattern, run, ...)
  local ok, failure = pcall(run, ...)
  if ok then
    error(format('expected an error with %q, got none', pattern), 2)
  elseif not find(tostring(failure), pattern) then
    error(format('expected an error with %q, got %s', pattern, shown(failure, 0)), 2)
  end
  return failure
end

-- ---- Apps. ----

local App = {}

local METHODS = { 'get', 'post', 'put', 'patch', 'delete', 'head', 'options' }
local KNOWN = { method = true, path = true, headers = true, body = true, json = true }

local Response = {}

-- The decoded JSON content. Raises if it is not JSON.
function Response:json()
  local value, problem = json.decode(self.body)
  if value == nil then
    error(format('the content is not JSON (%s): %s', problem, shown(self.body, 0)), 2)
  end
  return value
end

Response.__index = Response

local function check_options(options)
  if type(options) ~= 'table' then
    error('app:request(options) takes a table, got ' .. type(options), 3)
  end
  for name in pairs(options) do
    if not KNOWN[name] then
      error(members.unknown('a request', name, { KNOWN }), 3)
    end
  end
  if type(options.path) ~= 'string' or not find(options.path, '^/') then
    error('the path of a request begins with /', 3)
  end
end

local function send(app, options)
  if not socket then
    error('requests need the server of `moonring test`', 3)
  end
  calls = calls + 1
  local call = calls
  local headers = { [FIELD] = format('%d.%d', app.number, call) }
  for name, value in pairs(options.headers or {}) do
    headers[name] = value
  end
  local body = options.body
  if options.json ~= nil then
    body = json.encode(options.json)
    headers['Content-Type'] = headers['Content-Type'] or 'application/json'
  end
  local sent, problem = http.fetch('http://localhost' .. options.path, {
    unix = socket, method = options.method or 'GET', headers = headers, body = body,
    decompress = false,
  })
  if not sent then
    error(format('%s %s: %s', options.method or 'GET', options.path, problem), 3)
  end
  local content
  content, problem = sent:body()
  if not content then
    error(format('%s %s: the content of the response: %s', options.method or 'GET', options.path,
      problem), 3)
  end
  local failure = raised[call]
  raised[call] = nil
  return setmetatable({ status = sent.status, headers = sent.headers, body = content,
    failure = failure }, Response)
end

-- Sends a request: { method, path, headers, body | json }. The response has status, headers, body,
-- json(), and `failure`, the text of an error raised by the handler.
function App:request(options)
  check_options(options)
  return send(self, options)
end

-- app:get(path, options) and so on.
for _, name in ipairs(METHODS) do
  App[name] = function(self, path, options)
    local all = { method = name:upper(), path = path }
    for key, value in pairs(options or {}) do
      all[key] = value
    end
    check_options(all)
    return send(self, all)
  end
end

local app_type = { __index = members.strict(App, 'the app') }

-- The directory of the file that called the function that calls this.
local function directory()
  return match(getinfo(3, 'S').source, '^@(.*)/[^/]*$') or '.'
end

-- Loads a handler file, beside this file unless its path is absolute, with its own globals. Must be called
-- while the test file is loaded.
function _M.load(path)
  if type(path) ~= 'string' then
    error('test.load(path) takes a string, got ' .. type(path), 2)
  end
  if not find(path, '^/') then
    path = directory() .. '/' .. path
  end
  local count
  repeat
    path, count = gsub(path, '/[^/]+/%.%./', '/', 1)
  until count == 0
  local chunk, problem = loadfile(path)
  if not chunk then
    error(problem, 0)
  end
  local beside = match(path, '^(.*)/') .. '/?.lua;'
  if not find(package.path, beside, 1, true) then
    package.path = beside .. package.path
  end
  local globals = setmetatable({}, { __index = _G })
  globals._G = globals
  setfenv(chunk, globals)()
  local handle = runtime.handle_of(globals, path)
  if rawget(globals, 'stream_content') then
    _G.stream_content = true
  end
  local app = setmetatable({ number = #apps + 1, handle = handle }, app_type)
  apps[app.number] = app
  return app
end

-- ---- Cases. ----

-- Adds a test: run() fails if it raises an error.
function _M.case(name, run)
  if type(name) ~= 'string' or type(run) ~= 'function' then
    error(format('test.case(name, run) takes a string and a function, got %s and %s', type(name),
      type(run)), 2)
  elseif names[name] then
    error(format('there is a case %q already', name), 2)
  end
  names[name] = true
  cases[#cases + 1] = { name = name, run = run }
end

local function describe(failure)
  -- Without the frames below the case.
  return failures.text_of(failure) .. gsub(traceback('', 2), "\n%s*%[C%]: in function 'xpcall'.*", '')
end

-- nil, or the text of what went wrong.
local function run_case(case)
  local ok, failure
  local ended, problem = scheduler.timeout(CASE_SECONDS, function()
    ok, failure = xpcall(case.run, describe)
    return true
  end)
  if not ended then
    return format('%s after %d s', problem, CASE_SECONDS)
  end
  return not ok and failure or nil
end

-- One line of JSON for each case, when it has ended, and one at the end.
local function run_all(res)
  res:header('Content-Type', 'application/x-ndjson')
  for _, case in ipairs(cases) do
    local began = scheduler.now()
    local failure = run_case(case)
    res:write(json.encode { name = case.name, failure = failure or json.null,
      seconds = scheduler.now() - began } .. '\n')
    res:flush()
  end
  res:write(json.encode { cases = #cases } .. '\n')
  res:finish()
end

local function serve(app, call, req, res)
  local ok, result = xpcall(app.handle, function(failure)
    if not failures.is(failure) then
      raised[call] = describe(failure)
    end
    return failure
  end, req, res)
  if ok then
    return result
  end
  error(result, 0)
end

if rawget(_G, 'handle') == nil then
  function _G.handle(req, res)
    local number, call = match(req:header(FIELD) or '', '^(%d+)%.(%d+)$')
    if not number then
      socket = req:header(SOCKET_FIELD)
      return run_all(res)
    end
    local app = apps[tonumber(number)]
    if not app then
      error 'test.load() is called while the test file is loaded, so that workers know the app too'
    end
    return serve(app, tonumber(call), req, res)
  end
end

return members.strict(_M, 'moonring.test')
