-- The response of an ngx handler: ngx.say, ngx.print, ngx.flush, ngx.eof, ngx.exit, ngx.redirect, the fields
-- of ngx.header and ngx.status.
-- Status and fields are final at the first output, as in OpenResty. The content itself is buffered until
-- ngx.flush, ngx.eof, the end of the handler or 32 KiB: a short response is sent in one piece, with its
-- length.
--
-- Of a request's state (ngx_state.lua):
--   status         nil: not set
--   fields         list of { name, value }: a string or a list of strings; false: removed
--   field_at       lower-case name -> its place in `fields`
--   sent           the head is decided
--   is_streaming   res:write has begun
--   is_over        the content is complete
--   is_raw         the handler speaks to the client by ngx.req.socket(true)
--   out, out_size  content that was not given to res yet
local api = require 'moonring.abi'
local failure = require 'moonring.failure'
local log = require 'moonring.log'
local native = require 'moonring.ngx_api'
local scheduler = require 'moonring.scheduler'
local states = require 'moonring.ngx_state'
local text = require 'moonring.ngx_text'

local byte, error, find, format, gsub, lower = string.byte, error, string.find, string.format,
  string.gsub, string.lower
local concat, getmetatable, ipairs, pairs, rawget = table.concat, getmetatable, ipairs, pairs, rawget
local select, setmetatable, tonumber, tostring, type = select, setmetatable, tonumber, tostring, type
local isyieldable = coroutine.isyieldable
local request_state, escape_field = states.request, text.escape_field

local _M = {}

-- ngx.null: a light userdata, the same as lua-cjson's null.
_M.null = require('moonring.native').null

local BUFFER_BYTES = 32 * 1024
local DEFAULT_TYPE = 'text/plain'
local OK, ERROR_CODE, AGAIN, DONE = 0, -1, -2, -4
local UPGRADE = 101
-- ngx.exit with these closes the connection, whatever was sent: the status in the access log.
local CLOSES = { [ERROR_CODE] = 500, [408] = 408, [444] = 444, [499] = 499 }
local ABORTED, RAW = 'client aborted', 'raw request socket acquired'
-- Of native.take_over.
local TAKE_OVER_PROBLEMS = { [-3] = 'pending request body reading in some other thread',
  [-4] = 'pending data to write', [-7] = ABORTED }

local REASONS = { [301] = 'Moved Permanently', [302] = 'Found', [303] = 'See Other',
  [304] = 'Not Modified', [307] = 'Temporary Redirect', [308] = 'Permanent Redirect',
  [400] = 'Bad Request', [401] = 'Unauthorized', [402] = 'Payment Required', [403] = 'Forbidden',
  [404] = 'Not Found', [405] = 'Method Not Allowed', [406] = 'Not Acceptable',
  [409] = 'Conflict', [410] = 'Gone', [411] = 'Length Required',
  [412] = 'Precondition Failed', [413] = 'Content Too Large', [414] = 'URI Too Long',
  [415] = 'Unsupported Media Type', [416] = 'Range Not Satisfiable', [421] = 'Misdirected Request',
  [422] = 'Unprocessable Content', [429] = 'Too Many Requests', [500] = 'Internal Server Error',
  [501] = 'Not Implemented', [502] = 'Bad Gateway', [503] = 'Service Unavailable',
  [504] = 'Gateway Timeout', [505] = 'HTTP Version Not Supported', [507] = 'Insufficient Storage' }

-- Fields that the server writes itself.
local OWN = { ['content-length'] = true, ['transfer-encoding'] = true, connection = true }

-- ---- Fields. ----

-- nil: `value` removes the field.
local function field_value(value)
  if type(value) ~= 'table' then
    return value ~= nil and escape_field(tostring(value)) or nil
  end
  local list = {}
  for i = 1, #value do
    list[i] = escape_field(tostring(value[i]))
  end
  return #list > 0 and list or nil
end

local function dashed(name)
  return (gsub(tostring(name), '_', '-'))
end

local function percent(character)
  return format('%%%02X', byte(character))
end

-- A field's name, with invalid characters escaped, as in OpenResty.
local function field_name(name)
  name = dashed(name)
  return find(name, '[^%w!#$%%&\'*+.^_`|~-]') and (gsub(name, '[^%w!#$%%&\'*+.^_`|~-]', percent)) or name
end

local function set_field(state, name, value)
  name = field_name(name)
  local key = lower(name)
  local fields = state.fields
  if not fields then
    fields = {}
    state.fields, state.field_at = fields, {}
  end
  local at = state.field_at[key]
  if not at then
    at = #fields + 1
    state.field_at[key] = at
  end
  fields[at] = { name, field_value(value) or false }
end

local function get_field(state, name)
  local key = lower(dashed(name))
  local at = state.field_at and state.field_at[key]
  if at then
    return state.fields[at][2] or nil
  end
  return key == 'content-type' and state.sent and DEFAULT_TYPE or nil
end

local function put_field(res, name, value)
  if type(value) == 'table' then
    for i = 1, #value do
      res:header(name, value[i])
    end
  elseif value then
    res:header(name, value)
  end
end

-- Passes status and fields to the server.
local function put_head(state, res)
  if state.is_head_put then
    return
  end
  state.is_head_put = true
  if state.status and state.status ~= UPGRADE then
    res:status(state.status)
  end
  local fields = state.fields or {}
  for i = 1, #fields do
    local name, value = fields[i][1], fields[i][2]
    local key = lower(name)
    if not OWN[key] then
      put_field(res, name, value)
    elseif key == 'connection' and value and lower(value) == 'close' then
      res:header('Connection', 'close')
    end
  end
  if not (state.field_at and state.field_at['content-type']) and state.status ~= 204
    and state.status ~= 304 and state.status ~= UPGRADE then
    res:header('Content-Type', DEFAULT_TYPE)
  end
end

-- ---- Content. ----

-- The length set by the handler, for streamed content.
local function length_set(state)
  local length = state.field_at and get_field(state, 'content-length')
  return tonumber(length)
end

local function take_over(upgrades)
  if api.request:in_worker() then
    return nil, 'not on a worker thread: this request asks for no upgrade, and --dispatch is not inline'
  end
  local result = native.take_over(states.view(), upgrades and 1 or 0)
  return result == 0, TAKE_OVER_PROBLEMS[result] or 'no memory'
end

-- Sends the buffered output; waits while the client is slow. nil and an error if it disconnected.
local function push(state)
  local res = api.response
  put_head(state, res)
  if not state.is_streaming then
    state.is_streaming = true
    local length = length_set(state)
    if state.status == UPGRADE then
      local ok, problem = take_over(true)
      if not ok then
        return nil, problem
      end
    elseif length then
      res:content_length(length)
    end
  end
  local out = state.out
  if not out then
    return true
  end
  state.out, state.out_size = nil, 0
  local ok = res:write(concat(out))
  return ok, ok == nil and ABORTED or nil
end

local function put(state, piece)
  local out = state.out
  if not out then
    out = {}
    state.out, state.out_size = out, 0
  end
  out[#out + 1] = piece
  state.out_size = state.out_size + #piece
end

-- The pieces of ngx.print's arguments. Returns a list, or nil and what is wrong.
local function flatten(into, value, argument)
  local kind = type(value)
  if kind == 'string' then
    into[#into + 1] = value
  elseif kind == 'number' or kind == 'boolean' or kind == 'nil' then
    into[#into + 1] = tostring(value)
  elseif kind == 'table' and not (getmetatable(value) or {}).__tostring then
    local count = 0
    for name in pairs(value) do
      if type(name) ~= 'number' then
        error(format("bad argument #%d to 'print' (non-array table found)", argument), 4)
      end
      count = name > count and name or count
    end
    for i = 1, count do
      flatten(into, value[i], argument)
    end
  elseif value == _M.null then
    into[#into + 1] = 'null'
  elseif kind == 'table' then
    into[#into + 1] = tostring(value)
  else
    error(format("bad argument #%d to 'print' (string, number, boolean, nil, ngx.null, "
      .. 'or array table expected, but got %s)', argument, kind), 4)
  end
end

local function output(what, line_end, ...)
  local state = request_state(what)
  if state.is_raw or state.is_over then
    return nil, state.is_raw and RAW or 'seen eof'
  end
  local count = select('#', ...)
  local piece
  if count == 1 and type((...)) == 'string' then
    piece = (...)
  else
    local pieces = {}
    for i = 1, count do
      flatten(pieces, (select(i, ...)), i)
    end
    piece = concat(pieces)
  end
  state.sent = true
  if line_end then
    piece = piece .. line_end
  end
  if piece ~= '' then
    put(state, piece)
    if state.out_size >= BUFFER_BYTES and isyieldable() then
      local ok, problem = push(state)
      if not ok then
        return nil, problem
      end
    end
  end
  return 1
end

function _M.print(...)
  return output('ngx.print', nil, ...)
end

function _M.say(...)
  return output('ngx.say', '\n', ...)
end

-- Waits until most of it is sent, whatever `wait` says.
function _M.flush(_)
  local state = request_state 'ngx.flush'
  if state.is_raw or state.is_over then
    return nil, state.is_raw and RAW or 'seen eof'
  elseif not state.sent then
    return nil, 'nothing to flush'
  end
  local ok, problem = push(state)
  if ok then
    ok, problem = api.response:flush()
  end
  if not ok then
    return nil, problem == 'aborted' and ABORTED or problem
  end
  return 1
end

function _M.send_headers()
  local state = request_state 'ngx.send_headers'
  if state.is_raw then
    return nil, RAW
  end
  state.sent = true
  return 1
end

-- Completes the response, including buffered output.
local function complete(state)
  if state.is_over then
    return
  end
  state.sent, state.is_over = true, true
  local res = api.response
  if state.is_raw then
    return res:finish()
  elseif state.is_streaming or state.status == UPGRADE or length_set(state) then
    push(state)
    res:finish()
    return
  end
  put_head(state, res)
  if state.out then
    res:body(concat(state.out))
    state.out = nil
  end
  res:send()
end

function _M.eof()
  local state = request_state 'ngx.eof'
  if state.is_raw or state.is_over then
    return nil, state.is_raw and RAW or 'seen eof'
  end
  complete(state)
  return 1
end

-- ---- Ends. ----

-- The page for a status from 300 on without content.
local function put_page(state, status)
  state.status = status
  state.out = nil
  if status ~= 304 then
    set_field(state, 'Content-Type', DEFAULT_TYPE)
    put(state, format('%d %s\n', status, REASONS[status] or ''))
  end
end

-- The client gets nothing, or nothing more.
local function drop(state, status)
  if not state.is_over then
    state.sent, state.is_over, state.out = true, true, nil
    native.drop(states.view(), status)
  end
end

-- The head can no longer be changed: logged, as in OpenResty.
local function is_late(state, what)
  if state.sent then
    log.error('attempt to set ' .. what .. ' after sending out response headers')
    return true
  end
end

-- Ends the request; 0 and 2xx with the content so far, other statuses with their error page, some
-- without a response.
function _M.exit(code)
  local state = states.find()
  if not state then
    error('ngx.exit: API disabled while the file is loaded', 2)
  end
  code = tonumber(code)
  if not code then
    error("bad argument #1 to 'exit' (number expected)", 2)
  end
  if code == AGAIN or code == DONE then
    error("bad argument to 'ngx.exit': does not accept NGX_AGAIN or NGX_DONE", 2)
  elseif not state.is_request then
    return scheduler.exit 'ngx.exit'
  end
  if not isyieldable() then
    failure.raise('ngx.exit: not inside a function of C that calls back, as table.sort and '
      .. 'string.gsub do')
  end
  if CLOSES[code] then
    drop(state, CLOSES[code])
  elseif state.sent then
    if code >= 300 and code ~= state.status then
      log.error(format('attempt to set status %d via ngx.exit after sending out the response status %d',
        code, state.status or 200))
    end
  elseif code >= 300 then
    put_page(state, code)
  elseif code > 200 then
    state.status = code
  elseif code ~= OK and code < 200 and code > 0 then
    error(format('ngx.exit: the status %d is not supported', code), 2)
  end
  if not state.is_over then
    complete(state)
  end
  scheduler.exit 'ngx.exit'
end

local REDIRECTIONS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

function _M.redirect(uri, status)
  local state = request_state 'ngx.redirect'
  status = status or 302
  if not REDIRECTIONS[status] then
    error('only ngx.HTTP_MOVED_TEMPORARILY, ngx.HTTP_MOVED_PERMANENTLY, ngx.HTTP_PERMANENT_REDIRECT, '
      .. 'ngx.HTTP_SEE_OTHER, and ngx.HTTP_TEMPORARY_REDIRECT are allowed', 2)
  elseif type(uri) ~= 'string' then
    error(format("bad argument #1 to 'redirect' (string expected, got %s)", type(uri)), 2)
  elseif find(uri, '%c') then
    error(format('unsafe byte "0x%02x" in redirect uri %q', byte(uri, (find(uri, '%c'))), uri), 2)
  elseif state.sent then
    error('attempt to call ngx.redirect after sending out the headers', 2)
  end
  set_field(state, 'Location', uri)
  _M.exit(status)
end

-- ---- ngx.header, ngx.status, ngx.resp. ----

_M.header = setmetatable({}, {
  __index = function(_, name)
    return get_field(request_state 'ngx.header', name)
  end,
  __newindex = function(_, name, value)
    local state = request_state 'ngx.header'
    if is_late(state, 'ngx.header.HEADER') then
      return
    end
    set_field(state, name, value)
  end,
})

function _M.get_status()
  local state = request_state 'ngx.status'
  return state.status or (state.sent and 200 or 0)
end

function _M.set_status(status)
  local state = request_state 'ngx.status'
  local number = tonumber(status)
  if not number then
    failure.raise('ngx.status: a number is expected, not ' .. tostring(status))
  elseif (number < 200 or number > 599) and number ~= UPGRADE then
    failure.raise(format('ngx.status: %s is not from 200 to 599, nor 101', tostring(status)))
  elseif not is_late(state, 'ngx.status') then
    state.status = number
  end
end

function _M.headers_sent()
  return request_state('ngx.headers_sent').sent == true
end

-- Fields by lower-case names; lookups accept `_` for `-` and any case.
local case_blind = { __index = function(fields, name)
  return type(name) == 'string' and rawget(fields, lower(dashed(name))) or nil
end }
_M.case_blind = case_blind

_M.resp = {}

-- The fields that were set: name -> value or a list; 'truncated' if there were more than `max` (100).
function _M.resp.get_headers(max, is_raw)
  local state = request_state 'ngx.resp.get_headers'
  local limit, count = text.limit_of(max), 0
  local result = is_raw and {} or setmetatable({}, case_blind)
  local fields = state.fields or {}
  for i = 1, #fields do
    local name, value = fields[i][1], fields[i][2]
    if value then
      if count == limit then
        return result, 'truncated'
      end
      count = count + 1
      result[is_raw and name or lower(name)] = value
    end
  end
  if state.sent and not (state.field_at and state.field_at['content-type']) then
    result[is_raw and 'Content-Type' or 'content-type'] = DEFAULT_TYPE
  end
  return result
end

-- ngx.resp.add_header: one more field of the name.
function _M.resp.add_header(name, value)
  local state = request_state 'ngx.resp.add_header'
  if is_late(state, 'ngx.resp.header') then
    return
  end
  local known = state.field_at and get_field(state, name)
  local added = field_value(value)
  if known and added then
    local list = {}
    for _, each in ipairs { known, added } do
      for _, single in ipairs(type(each) == 'table' and each or { each }) do
        list[#list + 1] = single
      end
    end
    added = list
  end
  if added then
    set_field(state, name, added)
  end
end

-- ---- For the other ngx modules. ----

-- The handler speaks to the client itself from here on, behind what it has put: true, or nil and why
-- not.
function _M.take_over(state)
  local ok, problem = true, nil
  if state.sent then
    ok, problem = _M.flush()
  end
  if ok and not (state.is_streaming and state.status == UPGRADE) then
    ok, problem = take_over(false)
  end
  state.is_raw, state.sent = ok or nil, state.sent or ok or nil
  return ok, problem
end

_M.complete = complete

-- The handler has returned: completes the response, unless a handle(req, res) used neither ngx's output nor
-- its status and fields.
function _M.finish(state, is_plain)
  if is_plain or state.sent or state.status or state.fields then
    complete(state)
  end
end

return _M
