-- The request of an ngx handler: ngx.req and ngx.var. Changes (ngx.req.set_header and the like) affect later
-- calls of these; req:header and similar calls still return what was sent.
--
-- Of a request's state (ngx_state.lua):
--   changed_method, changed_uri, changed_args, changed_body   what was set, nil: nothing
--   request_fields   list of { name, value } once one was changed
--   variables        ngx.var of names that ngx.define has declared
local ffi = require 'ffi'
local api = require 'moonring.abi'
local log = require 'moonring.log'
local native = require 'moonring.ngx_api'
local req_socket = require 'moonring.ngx_req_socket'
local response = require 'moonring.ngx_response'
local states = require 'moonring.ngx_state'
local text = require 'moonring.ngx_text'

local find, format, gsub, lower = string.find, string.format, string.gsub, string.lower
local match, sub = string.match, string.sub
local concat = table.concat
local error, ipairs = error, ipairs
local setmetatable, tonumber, tostring, type = setmetatable, tonumber, tostring, type
local ffi_string = ffi.string
local add_value, limit_of, request_state = text.add_value, text.limit_of, states.request

local _M = {}

local req = {}
_M.req = req

-- ---- Method, target, version. ----

local function method_of(state)
  return state.changed_method or api.request.method
end

local function args_of(state)
  local args = state.changed_args
  return args == nil and api.request.query or args
end

local function uri_of(state)
  local uri = state.changed_uri
  if not uri then
    uri = text.normalize_path(api.request.path)
    state.changed_uri = uri
  end
  return uri
end

function req.get_method()
  return method_of(request_state 'ngx.req.get_method')
end

-- Indexed by ngx.HTTP_GET and the other numbers.
function req.set_method(number)
  local state = request_state 'ngx.req.set_method'
  local name = _M.method_names[number]
  if not name then
    error('unsupported HTTP method: ' .. tostring(number), 2)
  end
  state.changed_method = name
end

function req.http_version()
  request_state 'ngx.req.http_version'
  return api.request.version == '1.0' and 1.0 or 1.1
end

function req.start_time()
  return request_state('ngx.req.start_time').began
end

function req.is_internal()
  request_state 'ngx.req.is_internal'
  return false
end

function req.set_uri(uri, jump)
  local state = request_state 'ngx.req.set_uri'
  if type(uri) ~= 'string' then
    error(format("bad argument #1 to 'set_uri' (string expected, got %s)", type(uri)), 2)
  elseif uri == '' then
    error('attempt to use zero-length uri', 2)
  elseif find(uri, '[%c]') then
    error(format('unsafe byte in uri %q', uri), 2)
  elseif jump then
    error('ngx.req.set_uri: there are no locations to jump to', 2)
  end
  state.changed_uri = uri
end

function req.set_uri_args(args)
  local state = request_state 'ngx.req.set_uri_args'
  if type(args) == 'table' then
    args = text.encode_args(args)
  elseif type(args) == 'number' then
    args = tostring(args)
  elseif type(args) ~= 'string' then
    error(format("bad argument #1 to 'set_uri_args' (string, number, or table expected, but got %s)",
      type(args)), 2)
  end
  state.changed_args = args
end

function req.get_uri_args(max, result)
  return text.decode_args(args_of(request_state 'ngx.req.get_uri_args'), max, result)
end

-- ---- Fields. ----

-- Calls visit(name, value) for each field in the order sent.
local function each_field(state, visit)
  local fields = state.request_fields
  if not fields then
    for name, value in api.request:headers() do
      visit(name, value)
    end
    return
  end
  for i = 1, #fields do
    visit(fields[i][1], fields[i][2])
  end
end

-- The first value of a field, and a list of all if there are several.
local function field_of(state, name)
  if not state.request_fields then
    return api.request:header(name)
  end
  name = lower(name)
  for _, field in ipairs(state.request_fields) do
    if lower(field[1]) == name then
      return field[2]
    end
  end
end

-- name -> value or a list; names in lower case unless `is_raw`. followed by 'truncated' if there were more
-- than `max` (100).
function req.get_headers(max, is_raw)
  local state = request_state 'ngx.req.get_headers'
  local limit, count, truncated = limit_of(max), 0, nil
  local result = is_raw and {} or setmetatable({}, response.case_blind)
  each_field(state, function(name, value)
    if count == limit then
      truncated = 'truncated'
      return
    end
    count = count + 1
    if not is_raw then
      name = lower(name)
    end
    add_value(result, name, value)
  end)
  return result, truncated
end

local function remove_field(fields, name)
  name = lower(name)
  for i = #fields, 1, -1 do
    if lower(fields[i][1]) == name then
      table.remove(fields, i)
    end
  end
end

local function own_fields(state)
  local fields = state.request_fields
  if not fields then
    fields = {}
    each_field(state, function(name, value)
      fields[#fields + 1] = { name, value }
    end)
    state.request_fields = fields
  end
  return fields
end

function req.set_header(name, value)
  local state = request_state 'ngx.req.set_header'
  if type(name) ~= 'string' then
    error(format("bad argument #1 to 'set_header' (string expected, got %s)", type(name)), 2)
  end
  name = gsub(name, '_', '-')
  local fields = own_fields(state)
  remove_field(fields, name)
  if type(value) == 'table' then
    for i = 1, #value do
      fields[#fields + 1] = { name, text.escape_field(tostring(value[i])) }
    end
  elseif value ~= nil then
    fields[#fields + 1] = { name, text.escape_field(tostring(value)) }
  end
end

function req.add_header(name, value)
  local fields = own_fields(request_state 'ngx.req.add_header')
  for _, each in ipairs(type(value) == 'table' and value or { value }) do
    fields[#fields + 1] = { name, text.escape_field(tostring(each)) }
  end
end

function req.clear_header(name)
  remove_field(own_fields(request_state 'ngx.req.clear_header'), (gsub(tostring(name), '_', '-')))
end

-- The head as sent, except for spaces around values.
function req.raw_header(no_request_line)
  request_state 'ngx.req.raw_header'
  local request = api.request
  local lines = {}
  if not no_request_line then
    lines[1] = format('%s %s HTTP/%s', request.method, request.url, request.version)
  end
  for name, value in request:headers() do
    lines[#lines + 1] = name .. ': ' .. value
  end
  return concat(lines, '\r\n') .. '\r\n\r\n'
end

-- ---- Content: it has arrived when the handler begins (unless stream_content is set). ----

function req.read_body()
  local state = request_state 'ngx.req.read_body'
  if state.changed_body == nil then
    api.request:body()
  end
end

req.discard_body = req.read_body

local function body_of(state)
  local body = state.changed_body
  if body == nil then
    body = state.body_socket and '' or api.request:body() -- the socket has taken it
  end
  return body
end

function req.get_body_data(max)
  local body = body_of(request_state 'ngx.req.get_body_data')
  if body == '' then
    return nil
  end
  return max and sub(body, 1, max) or body
end

-- Content is always in memory.
function req.get_body_file()
  request_state 'ngx.req.get_body_file'
  return nil
end

function req.get_post_args(max)
  local body = body_of(request_state 'ngx.req.get_post_args')
  return text.decode_args(body, max)
end

function req.set_body_data(data)
  local state = request_state 'ngx.req.set_body_data'
  if type(data) ~= 'string' and type(data) ~= 'number' then
    error(format("bad argument #1 to 'set_body_data' (string expected, got %s)", type(data)), 2)
  end
  state.changed_body = tostring(data)
end

function req.set_body_file()
  error('ngx.req.set_body_file is not supported: content is kept in memory, ngx.req.set_body_data '
    .. 'sets it', 2)
end

function req.init_body()
  request_state('ngx.req.init_body').new_body = {}
end

function req.append_body(data)
  local pieces = request_state('ngx.req.append_body').new_body
  if not pieces then
    error('request body not initialized', 2)
  end
  pieces[#pieces + 1] = tostring(data)
end

function req.finish_body()
  local state = request_state 'ngx.req.finish_body'
  if not state.new_body then
    error('request body not initialized', 2)
  end
  state.changed_body, state.new_body = concat(state.new_body), nil
end

-- The content of the request as a socket; with `is_raw` the connection itself.
function req.socket(is_raw)
  local state = request_state 'ngx.req.socket'
  if is_raw then
    return req_socket.of_connection(state)
  end
  return req_socket.of_content(state)
end

-- ---- ngx.var. ----

-- Separate declarations: another module in the process may have declared the real ones.
ffi.cdef [[
int inet_pton(int family, const char *text, void *address);
int getpid(void);
int gethostname(char *name, size_t size);
]]
local C = ffi.C
local AF_INET, AF_INET6 = 2, ffi.os == 'OSX' and 30 or 10
local address = ffi.new 'uint8_t[16]'

local function binary_of(peer)
  if C.inet_pton(AF_INET, peer, address) == 1 then
    return ffi_string(address, 4)
  elseif C.inet_pton(AF_INET6, peer, address) == 1 then
    return ffi_string(address, 16)
  end
  return ''
end

local function hostname()
  local buffer = ffi.new 'char[256]'
  return C.gethostname(buffer, 255) == 0 and ffi_string(buffer) or ''
end

local function scheme_of()
  return ffi_string(native.scheme(states.view()))
end

local function host_of(state)
  local host = field_of(state, 'Host') or ''
  return lower(match(host, '^(%b[])') or match(host, '^[^:]*'))
end

-- Over TLS the port named by the client: native.port is that of the plain listener.
local function server_port(state)
  local named = match(field_of(state, 'Host') or '', ':(%d+)$')
  if api.request.tls then
    return named or '443'
  end
  local port = native.port
  return port ~= 0 and tostring(port) or named or '80'
end

-- The nginx variables that apply here. `false`: it exists and is empty.
local getters = {
  uri = uri_of,
  document_uri = uri_of,
  request_uri = function()
    return api.request.url
  end,
  args = args_of,
  query_string = args_of,
  is_args = function(state)
    return args_of(state) ~= '' and '?' or ''
  end,
  request_method = method_of,
  request = function()
    local request = api.request
    return format('%s %s HTTP/%s', request.method, request.url, request.version)
  end,
  server_protocol = function()
    return 'HTTP/' .. api.request.version
  end,
  scheme = scheme_of,
  https = function()
    return scheme_of() == 'https' and 'on' or ''
  end,
  host = host_of,
  hostname = hostname,
  server_name = host_of,
  server_port = server_port,
  remote_addr = function()
    return api.request:trusted_peer()
  end,
  realip_remote_addr = function()
    return api.request.peer
  end,
  binary_remote_addr = function()
    return binary_of(api.request:trusted_peer())
  end,
  remote_port = function()
    return tostring(native.peer_port(states.view()))
  end,
  request_id = function()
    return api.request.id
  end,
  content_length = function(state)
    return field_of(state, 'Content-Length') or ''
  end,
  content_type = function(state)
    return field_of(state, 'Content-Type') or ''
  end,
  request_body = function(state)
    return body_of(state)
  end,
  pid = function()
    return tostring(C.getpid())
  end,
  msec = function()
    return format('%.3f', text.now())
  end,
  request_time = function(state)
    return format('%.3f', text.now() - state.began)
  end,
  time_iso8601 = function()
    local zone = os.date '%z'
    return os.date '%Y-%m-%dT%H:%M:%S' .. sub(zone, 1, 3) .. ':' .. sub(zone, 4)
  end,
  time_local = function()
    return os.date '%d/%b/%Y:%H:%M:%S %z'
  end,
  status = function(state)
    return format('%03d', state.status or (state.sent and 200 or 0))
  end,
  nginx_version = function()
    return _M.nginx_version
  end,
  document_root = function()
    return _M.prefix
  end,
  realpath_root = function()
    return _M.prefix
  end,
}

-- The value of the first `name=` in a query, as sent; nil without one.
local function argument_of(args, name)
  name = lower(name)
  for pair in args:gmatch '[^&]+' do
    local key, value = match(pair, '^([^=]*)=(.*)$')
    if key and lower(key) == name then
      return value
    end
  end
end

-- All fields of the name, joined as in nginx.
local function joined_field(state, name, separator)
  local values = {}
  name = lower(gsub(name, '_', '-'))
  each_field(state, function(field, value)
    if lower(field) == name then
      values[#values + 1] = value
    end
  end)
  return #values > 0 and concat(values, separator) or nil
end

local function cookie_of(state, name)
  local cookies = joined_field(state, 'cookie', '; ')
  for key, value in (cookies or ''):gmatch '%s*([^=;]+)=([^;]*)' do
    if key == name then
      return value
    end
  end
end

local function prefixed(state, name)
  local kind, rest = match(name, '^(%a+)_(.+)$')
  if kind == 'http' then
    return true, joined_field(state, rest, rest == 'cookie' and '; ' or ', ')
  elseif kind == 'arg' then
    return true, argument_of(args_of(state), rest)
  elseif kind == 'cookie' then
    return true, cookie_of(state, rest)
  elseif kind == 'sent' and sub(rest, 1, 5) == 'http_' then
    local value = response.header[sub(rest, 6)]
    return true, type(value) == 'table' and concat(value, ', ') or value
  end
  return false
end

-- Names declared with ngx.define -> their values in a new request.
local declared = {}

-- define(name, default): an application variable, like nginx's `set $name default`.
function _M.define(name, default)
  if type(name) ~= 'string' or not find(name, '^[%a_][%w_]*$') then
    error('ngx.define(name, default): a name has letters, digits and _, not ' .. tostring(name), 2)
  elseif getters[name] then
    error(format('ngx.define: the variable "%s" is built in', name), 2)
  end
  declared[name] = default == nil and '' or tostring(default)
end

_M.var = setmetatable({}, {
  __index = function(_, name)
    local state = request_state 'ngx.var'
    if type(name) ~= 'string' then
      return nil
    end
    local variables = state.variables
    local value = variables and variables[name]
    if value ~= nil then
      return value or nil
    end
    local getter = getters[name]
    if getter then
      return getter(state)
    elseif declared[name] then
      return declared[name]
    end
    local _, found = prefixed(state, name)
    return found
  end,
  __newindex = function(_, name, value)
    local state = request_state 'ngx.var'
    if name == 'args' or name == 'query_string' then
      state.changed_args = value == nil and '' or tostring(value)
    elseif declared[name] then
      state.variables = state.variables or {}
      state.variables[name] = value ~= nil and tostring(value)
    elseif name == 'limit_rate' or name == 'limit_rate_after' then
      log.warn('ngx.var.' .. name .. ' has no effect')
    elseif getters[name] or prefixed(state, tostring(name)) then
      error(format('variable "%s" not changeable', tostring(name)), 2)
    else
      error(format('variable "%s" not found for writing; maybe it is a built-in variable that is not '
        .. 'changeable or you forgot to use ngx.define("%s", "") when the file is loaded',
        tostring(name), tostring(name)), 2)
    end
  end,
})

_M.pid = function()
  return C.getpid()
end

return _M
