-- ngx's functions on text and time: escapes, arguments, digests, base64, dates.
local ffi = require 'ffi'
local api = require 'moonring.ngx_api'
local calendar = require 'moonring.calendar'
local crypto = require 'moonring.crypto'

local byte, char, find, format, gsub, lower = string.byte, string.char, string.find, string.format,
  string.gsub, string.lower
local match, rep, sub = string.match, string.rep, string.sub
local concat, date, floor, time = table.concat, os.date, math.floor, os.time
local band, bnot, bxor, rshift = bit.band, bit.bnot, bit.bxor, bit.rshift
local error, pairs, rawget, tonumber, tostring, type = error, pairs, rawget, tonumber, tostring, type
local days_of = calendar.days_of
local ffi_string = ffi.string

local _M = {}

-- Converts nil, numbers and booleans to strings as nginx does.
local function text_of(value)
  if type(value) == 'string' then
    return value
  end
  return value == nil and '' or tostring(value)
end

-- ---- Escapes. ----

local function percent(character)
  return format('%%%02X', byte(character))
end

-- The characters to escape, by the second argument of ngx.escape_uri: a whole URI, arguments, a component,
-- HTML, a refresh field, memcached, mail.
local ESCAPED = { [0] = '[%c \127-\255#%%?]', '[%c \127-\255#%%+?]', "[^%w!'()*%-._~]",
  '[%c \127-\255"#%%\']', '[%c \127-\255"\']', '[%z\1-\31 %%]', '[%z\1-\31 %%]' }
local COMPONENT = 2

function _M.escape_uri(text, kind)
  kind = kind == nil and COMPONENT or kind
  if type(kind) ~= 'number' then
    error('"type" is not a number', 2)
  elseif not ESCAPED[kind] then
    error(('"type" %s out of range'):format(kind), 2)
  end
  return (gsub(text_of(text), ESCAPED[kind], percent))
end

local function unpercent(digits)
  return char(tonumber(digits, 16))
end

-- A malformed escape is left alone.
function _M.unescape_uri(text)
  text = text_of(text)
  if find(text, '+', 1, true) then
    text = gsub(text, '+', ' ')
  end
  if find(text, '%', 1, true) then
    text = gsub(text, '%%(%x%x)', unpercent)
  end
  return text
end

-- The path of a request as matched by a location: decoded, without dot segments and double slashes.
function _M.normalize_path(path)
  if find(path, '%', 1, true) then
    path = gsub(path, '%%(%x%x)', unpercent)
  end
  if not find(path, '/[./]') then
    return path
  end
  local segments, count = {}, 0
  local ends_in_slash = find(path, '/%.?%.?$') ~= nil
  for segment in path:gmatch '[^/]+' do
    if segment == '..' then
      segments[count] = nil
      count = count > 0 and count - 1 or 0
    elseif segment ~= '.' then
      count = count + 1
      segments[count] = segment
    end
  end
  path = '/' .. concat(segments, '/', 1, count)
  return ends_in_slash and count > 0 and path .. '/' or path
end

-- ---- Arguments. ----

local escape, unescape = _M.escape_uri, _M.unescape_uri

local function add_argument(out, name, value)
  local kind = type(value)
  if kind == 'boolean' then
    if value then
      out[#out + 1] = escape(name)
    end
  elseif kind == 'string' or kind == 'number' then
    out[#out + 1] = escape(name) .. '=' .. escape(value)
  else
    error('attempt to use ' .. kind .. ' as query arg value', 3)
  end
end

function _M.encode_args(arguments)
  if type(arguments) ~= 'table' then
    error(("bad argument #1 to 'encode_args' (table expected, got %s)"):format(
      arguments == nil and 'nil' or type(arguments)), 2)
  end
  local out = {}
  for name, value in pairs(arguments) do
    if type(name) ~= 'string' then
      error('attempt to use a non-string key in the "args" option table', 2)
    end
    if type(value) == 'table' then
      for i = 1, #value do
        add_argument(out, name, value[i])
      end
    else
      add_argument(out, name, value)
    end
  end
  return concat(out, '&')
end

-- Adds one value to a table in which a repeated name has a list.
local function add_value(to, name, value)
  local known = rawget(to, name)
  if known == nil then
    to[name] = value
  elseif type(known) == 'table' then
    known[#known + 1] = value
  else
    to[name] = { known, value }
  end
end
_M.add_value = add_value

local ARGUMENTS_MAX = 100

-- The limit given as `max` to get_headers, get_uri_args and the like; 0: no limit.
function _M.limit_of(max)
  max = max == nil and ARGUMENTS_MAX or max
  return max <= 0 and 2 ^ 53 or max
end

-- name -> value, true (without `=`), or a list of these; followed by 'truncated' if there were more than
-- `max` (100).
function _M.decode_args(text, max, result)
  if type(text) ~= 'string' then
    error(("bad argument #1 to 'decode_args' (string expected, got %s)"):format(
      text == nil and 'nil' or type(text)), 2)
  end
  result = result or {}
  local limit = _M.limit_of(max)
  local count, at, length = 0, 1, #text
  while at <= length do
    local stop = find(text, '&', at, true) or length + 1
    if stop > at then
      if count == limit then
        return result, 'truncated'
      end
      count = count + 1
      local pair = sub(text, at, stop - 1)
      local equals = find(pair, '=', 1, true)
      local name = unescape(equals and sub(pair, 1, equals - 1) or pair)
      if name ~= '' then
        add_value(result, name, not equals or unescape(sub(pair, equals + 1)))
      end
    end
    at = stop + 1
  end
  return result
end

-- ---- Digests. ----

local md5_buffer = ffi.new 'uint8_t[16]'

function _M.md5_bin(text)
  text = text_of(text)
  api.md5(text, #text, md5_buffer)
  return ffi_string(md5_buffer, 16)
end

function _M.md5(text)
  return crypto.hex_encode(_M.md5_bin(text))
end

function _M.sha1_bin(text)
  return crypto.sha1(text_of(text))
end

function _M.hmac_sha1(key, text)
  return crypto.hmac('sha1', text_of(key), text_of(text))
end

local crc_table

local function make_crc_table()
  crc_table = ffi.new 'uint32_t[256]'
  for i = 0, 255 do
    local value = i
    for _ = 1, 8 do
      value = bxor(rshift(value, 1), band(value, 1) ~= 0 and 0xedb88320 or 0)
    end
    crc_table[i] = band(value, 0xffffffff)
  end
end

function _M.crc32(text)
  text = text_of(text)
  if not crc_table then
    make_crc_table()
  end
  local crc = 0xffffffff
  for i = 1, #text do
    crc = bxor(crc_table[band(bxor(crc, byte(text, i)), 255)], rshift(crc, 8))
  end
  return bnot(crc) % 2 ^ 32
end

-- ---- base64. ----

function _M.encode_base64(text, no_padding)
  if no_padding ~= nil and type(no_padding) ~= 'boolean' then
    error('bad no_padding: boolean expected, got ' .. type(no_padding), 2)
  end
  local encoded = crypto.base64_encode(text_of(text))
  return no_padding and (gsub(encoded, '=+$', '')) or encoded
end

-- Missing padding, or leftover bits in the last digit, are accepted here.
local function decode(text)
  local digits = match(text, '^([%w+/]*)=?=?$')
  if not digits or #digits % 4 == 1 then
    return nil
  end
  local decoded = crypto.base64_decode(digits .. rep('=', -#digits % 4))
  if decoded then
    return decoded
  end
  local rest = #digits % 4
  decoded = crypto.base64_decode(digits .. rep('A', 4 - rest))
  return decoded and sub(decoded, 1, rest - 5)
end

function _M.decode_base64(text)
  if type(text) ~= 'string' then
    error('string argument only', 2)
  end
  return decode(text)
end

function _M.decode_base64mime(text)
  if type(text) ~= 'string' then
    error('string argument only', 2)
  end
  return decode((gsub(text, '[^%w+/]', '')))
end

function _M.encode_base64url(text)
  if type(text) ~= 'string' then
    return nil, 'must provide a string'
  end
  return crypto.base64url_encode(text)
end

function _M.decode_base64url(text)
  if type(text) ~= 'string' then
    return nil, 'must provide a string'
  end
  local decoded = decode((gsub(text, '[-_]', { ['-'] = '+', _ = '/' })))
  if not decoded or find(text, '[+/]') then
    return nil, 'invalid input'
  end
  return decoded
end

-- ---- SQL. ----

local SQL_ESCAPES = { ['\0'] = '\\0', ['\b'] = '\\b', ['\n'] = '\\n', ['\r'] = '\\r', ['\t'] = '\\t',
  ['\26'] = '\\Z', ['\\'] = '\\\\', ["'"] = "\\'", ['"'] = '\\"' }

function _M.quote_sql_str(text)
  return "'" .. gsub(text_of(text), '[%z\b\n\r\t\26\\\'"]', SQL_ESCAPES) .. "'"
end

-- ---- Time. ----

ffi.cdef [[
typedef struct { long seconds; long microseconds; } moonring_timeval;
int gettimeofday(moonring_timeval *now, void *zone);
]]
local timeval = ffi.new 'moonring_timeval'
local C = ffi.C

-- Seconds with milliseconds. The clock is read at each call: ngx.update_time has nothing to do.
function _M.now()
  C.gettimeofday(timeval, nil)
  return tonumber(timeval.seconds) + floor(tonumber(timeval.microseconds) / 1000) / 1000
end

function _M.time()
  return time()
end

function _M.today()
  return date '%Y-%m-%d'
end

function _M.localtime()
  return date '%Y-%m-%d %H:%M:%S'
end

function _M.utctime()
  return date '!%Y-%m-%d %H:%M:%S'
end

local function check_seconds(seconds, what)
  if type(seconds) ~= 'number' then
    error(('%s: number argument expected, got %s'):format(what, type(seconds)), 3)
  end
  return seconds
end

function _M.http_time(seconds)
  return calendar.http_date(check_seconds(seconds, 'ngx.http_time'))
end

function _M.cookie_time(seconds)
  local parts, day, month = calendar.parts_of(check_seconds(seconds, 'ngx.cookie_time'))
  -- A two-digit year after 2037 would be taken for the last century.
  local year = parts.year > 2037 and format('%04d', parts.year) or format('%02d', parts.year % 100)
  return format('%s, %02d-%s-%s %02d:%02d:%02d GMT', day, parts.day, month, year, parts.hour,
    parts.min, parts.sec)
end

-- RFC 9110 §5.6.7: the preferred form, that of RFC 850, and that of asctime.
local function fields_of(text)
  local day, month, year, hour, minute, second =
    match(text, '^%a+, *(%d+)[ -](%a+)[ -](%d+) +(%d+):(%d+):(%d+)')
  if not day then
    month, day, hour, minute, second, year =
      match(text, '^%a+ +(%a+) +(%d+) (%d+):(%d+):(%d+) (%d+)')
  end
  return tonumber(day), month and calendar.month_numbers[lower(month)], tonumber(year), tonumber(hour),
    tonumber(minute), tonumber(second)
end

function _M.parse_http_time(text)
  if type(text) ~= 'string' then
    return nil
  end
  local day, month, year, hour, minute, second = fields_of(text)
  if not day or not month or day < 1 or day > 31 or hour > 23 or minute > 59 or second > 59 then
    return nil
  end
  if year < 100 then
    year = year + (year < 70 and 2000 or 1900)
  end
  return days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
end

-- A field's value with line breaks and the like escaped, as in OpenResty.
function _M.escape_field(text)
  return find(text, '[%z\1-\8\10-\31\127]') and (gsub(text, '[%z\1-\8\10-\31\127]', percent)) or text
end

_M.text_of = text_of

return _M
