-- OpenResty's `ngx` on moonring's runtime: its libraries and content_by_lua files run unchanged; see
-- docs/openresty.md. Loading this module sets the global `ngx`, and must happen while the handler's file is
-- loaded.
local api = require 'moonring.abi'
local failure = require 'moonring.failure'
local log = require 'moonring.log'
local modules = require 'moonring.ngx_modules'
local native = require 'moonring.native'
local regex = require 'moonring.ngx_regex'
local request = require 'moonring.ngx_request'
local response = require 'moonring.ngx_response'
local scheduler = require 'moonring.scheduler'
local socket = require 'moonring.ngx_socket'
local states = require 'moonring.ngx_state'
local tasks = require 'moonring.ngx_tasks'
local text = require 'moonring.ngx_text'

local error, format, getmetatable, rawset, select = error, string.format, getmetatable, rawset, select
local setmetatable, tostring, type = setmetatable, tostring, type
local concat, getinfo = table.concat, debug.getinfo
local next, require = next, require

states.install(text.now)

local ngx = {}

-- ---- Constants. ----

ngx.OK, ngx.ERROR, ngx.AGAIN, ngx.DONE, ngx.DECLINED = 0, -1, -2, -4, -5
ngx.null = native.null

ngx.HTTP_GET, ngx.HTTP_HEAD, ngx.HTTP_POST, ngx.HTTP_PUT, ngx.HTTP_DELETE = 2, 4, 8, 16, 32
ngx.HTTP_MKCOL, ngx.HTTP_COPY, ngx.HTTP_MOVE, ngx.HTTP_OPTIONS = 64, 128, 256, 512
ngx.HTTP_PROPFIND, ngx.HTTP_PROPPATCH, ngx.HTTP_LOCK, ngx.HTTP_UNLOCK = 1024, 2048, 4096, 8192
ngx.HTTP_PATCH, ngx.HTTP_TRACE = 16384, 32768

request.method_names = {}
for _, name in next, { 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'MKCOL', 'COPY', 'MOVE', 'OPTIONS',
  'PROPFIND', 'PROPPATCH', 'LOCK', 'UNLOCK', 'PATCH', 'TRACE' } do
  request.method_names[ngx['HTTP_' .. name]] = name
end

local STATUSES = { CONTINUE = 100, SWITCHING_PROTOCOLS = 101, OK = 200, CREATED = 201, ACCEPTED = 202,
  NO_CONTENT = 204, PARTIAL_CONTENT = 206, SPECIAL_RESPONSE = 300, MOVED_PERMANENTLY = 301,
  MOVED_TEMPORARILY = 302, SEE_OTHER = 303, NOT_MODIFIED = 304, TEMPORARY_REDIRECT = 307,
  PERMANENT_REDIRECT = 308, BAD_REQUEST = 400, UNAUTHORIZED = 401, PAYMENT_REQUIRED = 402,
  FORBIDDEN = 403, NOT_FOUND = 404, NOT_ALLOWED = 405, NOT_ACCEPTABLE = 406, REQUEST_TIMEOUT = 408,
  CONFLICT = 409, GONE = 410, UPGRADE_REQUIRED = 426, TOO_MANY_REQUESTS = 429, CLOSE = 444,
  ILLEGAL = 451, INTERNAL_SERVER_ERROR = 500, NOT_IMPLEMENTED = 501, METHOD_NOT_IMPLEMENTED = 501,
  BAD_GATEWAY = 502, SERVICE_UNAVAILABLE = 503, GATEWAY_TIMEOUT = 504, VERSION_NOT_SUPPORTED = 505,
  INSUFFICIENT_STORAGE = 507 }
for name, status in next, STATUSES do
  ngx['HTTP_' .. name] = status
end

-- ---- The log. ----

local LEVELS = { STDERR = 0, EMERG = 1, ALERT = 2, CRIT = 3, ERR = 4, WARN = 5, NOTICE = 6, INFO = 7,
  DEBUG = 8 }
for name, number in next, LEVELS do
  ngx[name] = number
end

-- nginx's level -> the function of moonring.log, and its number for C.
local WRITERS = { [5] = { log.warn, 2 }, [6] = { log.info, 1 }, [7] = { log.info, 1 },
  [8] = { log.debug, 0 } }
for level = 0, 4 do
  WRITERS[level] = { log.error, 3 }
end

local function word_of(value, argument)
  local kind = type(value)
  if kind == 'string' then
    return value
  elseif kind == 'table' and not (getmetatable(value) or {}).__tostring then
    error(format("bad argument #%d to 'log' (expected table to have __tostring metamethod)", argument),
      3)
  elseif value == native.null then
    return 'null'
  end
  return tostring(value)
end

-- ngx.log(level, ...): one record, with the caller's position.
function ngx.log(level, ...)
  local writer = WRITERS[level]
  if not writer then
    error("bad argument #1 to 'log' (bad log level: " .. tostring(level) .. ')', 2)
  elseif api.log_enabled(api.log, writer[2]) == 0 then
    return
  end
  local words = {}
  for i = 1, select('#', ...) do
    words[i] = word_of(select(i, ...), i + 1)
  end
  local place = getinfo(2, 'Sl')
  writer[1](format('%s:%s: %s', place and place.short_src or '?', place and place.currentline or '?',
    concat(words)))
end

-- ---- Text, time, expressions, sockets, tasks. ----

for _, name in next, { 'escape_uri', 'unescape_uri', 'encode_args', 'md5', 'md5_bin', 'sha1_bin',
  'hmac_sha1', 'encode_base64', 'decode_base64', 'decode_base64mime', 'quote_sql_str', 'now', 'time',
  'today', 'localtime', 'utctime', 'http_time', 'cookie_time', 'parse_http_time' } do
  ngx[name] = text[name]
end

function ngx.decode_args(arguments, max)
  return text.decode_args(arguments, max)
end

ngx.crc32_short, ngx.crc32_long = text.crc32, text.crc32

-- The clock is read at each call of ngx.now.
function ngx.update_time() end

ngx.re = { match = regex.match, find = regex.find, gmatch = regex.gmatch, sub = regex.sub,
  gsub = regex.gsub }
ngx.socket = { tcp = socket.tcp, stream = socket.stream, udp = socket.udp, connect = socket.connect }
ngx.timer, ngx.thread, ngx.sleep = tasks.timer, tasks.thread, tasks.sleep

-- ---- Requests and responses. ----

ngx.req, ngx.var, ngx.define = request.req, request.var, request.define
ngx.header, ngx.resp = response.header, { get_headers = response.resp.get_headers }
for _, name in next, { 'print', 'say', 'flush', 'eof', 'exit', 'redirect', 'send_headers' } do
  ngx[name] = response[name]
end

function ngx.get_phase()
  local state = states.find()
  return not state and 'init' or state.is_request and 'content' or 'timer'
end

-- fn() is called when the client disconnects, instead of an error in the waiting call.
function ngx.on_abort(fn)
  if type(fn) ~= 'function' then
    error(format("bad argument #1 to 'on_abort' (function expected, got %s)", type(fn)), 2)
  end
  states.request 'ngx.on_abort'
  scheduler.on_abort(fn)
  return 1
end

local function unsupported(what, why)
  return function()
    failure.raise(format('%s is not supported: %s', what, why))
  end
end

ngx.exec = unsupported('ngx.exec', 'there are no locations; call the function that responds')
ngx.location = {}
for _, name in next, { 'capture', 'capture_multi' } do
  ngx.location[name] = unsupported('ngx.location.' .. name, 'there are no locations; require '
    .. "'moonring.http' or lua-resty-http send requests to other servers")
end

-- ---- The process. ----

ngx.worker = { pid = request.pid, exiting = tasks.exiting }

-- The number of the reactor, from 0; nil on a worker thread and while the file is loaded.
function ngx.worker.id()
  return api.is_attached ~= 0 and api.reactor_index >= 0 and api.reactor_index or nil
end

-- How many reactors the server was started with.
function ngx.worker.count()
  return tonumber(os.getenv 'MOONRING_REACTORS') or 1
end

-- The directory of the handler's file, with a slash.
local prefix = './'

ngx.config = { subsystem = 'http', debug = false, ngx_lua_version = 10032, nginx_version = 1027001,
  is_console = false }

function ngx.config.prefix()
  return prefix
end

function ngx.config.nginx_configure()
  return ''
end

request.nginx_version = '1.27.1'

-- ---- Shared dictionaries. ----

-- nil for a name not declared with --shared.
ngx.shared = setmetatable({}, { __index = function(dictionaries, name)
  local dictionary = require('moonring.shared').find(name)
  rawset(dictionaries, name, dictionary)
  return dictionary
end })

-- ---- What is different in each request. ----

local getters = {
  status = response.get_status,
  headers_sent = response.headers_sent,
  is_subrequest = function()
    return false
  end,
  ctx = function()
    local state = states.find()
    if not state then
      failure.raise 'ngx.ctx: API disabled while the file is loaded'
    end
    local context = state.ctx
    if not context then
      context = {}
      state.ctx = context
    end
    return context
  end,
}

local setters = {
  status = response.set_status,
  ctx = function(value)
    local state = states.find()
    if not state or type(value) ~= 'table' then
      failure.raise 'ngx.ctx: a table can be assigned to it, in a request or a timer'
    end
    state.ctx = value
  end,
}

setmetatable(ngx, {
  __index = function(_, name)
    local getter = getters[name]
    if getter then
      return getter()
    end
  end,
  __newindex = function(self, name, value)
    local setter = setters[name]
    if setter then
      return setter(value)
    elseif getters[name] then
      failure.raise(format('ngx.%s cannot be assigned', name))
    end
    rawset(self, name, value)
  end,
})

-- ---- For runtime.lua. ----

-- The function for each request, from a handle(req, res) or (`is_plain`) a file without one.
function modules.wrap(handle, path, is_plain)
  states.wrap()
  prefix = path:match '^(.*/)' or './'
  request.prefix = prefix
  return function()
    local state = is_plain and states.find()
    if handle(api.request, api.response) == 'worker' and not is_plain then
      return 'worker'
    end
    state = state or states.find()
    if state.live then
      tasks.wait_for_threads(state)
    end
    response.finish(state, is_plain)
  end
end

_G.ngx = ngx
modules.install(ngx)

return ngx
