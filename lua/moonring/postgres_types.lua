-- PostgreSQL values in Lua and back. The server sends integers, doubles, booleans and bytes in binary, which
-- takes a tenth of the time of parsing text, and everything else as text. docs/lua-postgres.md has a table of
-- the types.
local ffi = require 'ffi'
local calendar = require 'moonring.calendar'
local crypto = require 'moonring.crypto'
local failure = require 'moonring.failure'
local json_text = require 'moonring.json_text'

local byte, find, format, gsub, sub = string.byte, string.find, string.format, string.gsub,
  string.sub
local char, match = string.char, string.match
local concat, floor, huge = table.concat, math.floor, math.huge
local getmetatable, next, pcall, require, setmetatable = getmetatable, next, pcall, require, setmetatable
local tonumber, tostring, type = tonumber, tostring, type
local date_of, days_of = calendar.date_of, calendar.days_of

local _M = {}

-- The same as moonring.json's, so that rows can be sent as JSON.
local has_json, json = pcall(require, 'moonring.json')
local null = has_json and json.null or ffi.cast('void *', 0)
-- Marks a list as an array for moonring.json, even if it is empty.
local array_type = has_json and getmetatable(json.array()) or nil
_M.array_type = array_type
_M.null = null

-- Integers below this are exact.
local EXACT = 2 ^ 53
-- Nesting of arrays.
local DIMENSIONS_MAX = 6

local BOOL, BYTEA, INT8, INT2, INT4, TEXT, OID, JSON = 16, 17, 20, 21, 23, 25, 26, 114
local FLOAT4, FLOAT8, NUMERIC, JSONB = 700, 701, 1700, 3802

-- ---- From the server: functions (data, from, to) by the type's number. nil: malformed. ----

local function text(data, from, to)
  return sub(data, from, to)
end

-- An integer of decimal digits: a number, or the text where a number would not be exact.
local function integer_text(digits)
  local number = tonumber(digits)
  if number and number < EXACT and number > -EXACT then
    return number
  end
  return number and digits or nil
end

local SPECIAL = { NaN = 0 / 0, Infinity = huge, ['-Infinity'] = -huge }

local function float_text(digits)
  return SPECIAL[digits] or tonumber(digits)
end

local function bool_text(word)
  if word == 't' then
    return true
  elseif word == 'f' then
    return false
  end
end

local function octal(digits)
  return char(tonumber(digits, 8) % 256)
end

-- Both forms of bytea_output.
local function bytea_text(shown)
  if sub(shown, 1, 2) == '\\x' then
    return (crypto.hex_decode(sub(shown, 3)))
  end
  return (gsub(gsub(shown, '\\(%d%d%d)', octal), '\\\\', '\\'))
end

local function json_value(shown)
  if not has_json then
    return nil, json
  end
  return json.decode(shown)
end

-- Of texts, by type.
local from_text = {
  [BOOL] = bool_text, [BYTEA] = bytea_text, [INT8] = integer_text, [INT2] = tonumber,
  [INT4] = tonumber, [OID] = tonumber, [FLOAT4] = float_text, [FLOAT8] = float_text,
  [JSON] = json_value, [JSONB] = json_value,
}

-- ---- Binary. ----

local function bool_binary(data, from, to)
  if from == to then
    return byte(data, from) ~= 0
  end
end

local function int2_binary(data, from, to)
  if to - from == 1 then
    local high, low = byte(data, from, to)
    local value = high * 256 + low
    return value < 32768 and value or value - 65536
  end
end

local function oid_binary(data, from, to)
  if to - from == 3 then
    local a, b, c, d = byte(data, from, to)
    return ((a * 256 + b) * 256 + c) * 256 + d
  end
end

local function int4_binary(data, from, to)
  if to - from == 3 then
    local a, b, c, d = byte(data, from, to)
    local value = ((a * 256 + b) * 256 + c) * 256 + d
    return value < 2147483648 and value or value - 4294967296
  end
end

local function int8_binary(data, from, to)
  if to - from ~= 7 then
    return nil
  end
  local a, b, c, d, e, f, g, h = byte(data, from, to)
  local high = ((a * 256 + b) * 256 + c) * 256 + d
  local low = ((e * 256 + f) * 256 + g) * 256 + h
  if high >= 2147483648 then
    high = high - 4294967296
  end
  local number = high * 4294967296 + low
  if number < EXACT and number > -EXACT then
    return number
  end
  local value = ffi.cast('int64_t', high) * 4294967296LL + ffi.cast('int64_t', low)
  return sub(tostring(value), 1, -3) -- without LL
end

local word = ffi.new 'union { uint8_t bytes[8]; double number; }'

-- Big endian, as all of the protocol.
local is_little = ffi.abi 'le'

local function float8_binary(data, from, to)
  if to - from ~= 7 then
    return nil
  end
  for i = 0, 7 do
    word.bytes[is_little and 7 - i or i] = byte(data, from + i)
  end
  return tonumber(word.number)
end

-- Not float4: the server's text, 0.1 and not 0.10000000149, is more expensive to compute here.
local from_binary = {
  [BOOL] = bool_binary, [BYTEA] = text, [INT2] = int2_binary, [INT4] = int4_binary,
  [INT8] = int8_binary, [OID] = oid_binary, [FLOAT8] = float8_binary,
}

-- ---- Arrays, which come as text: {1,NULL,"a\"b",{…}}. ----

-- The type of an array's elements; arrays of other types are texts.
local element_of = {
  [1000] = BOOL, [1001] = BYTEA, [1005] = INT2, [1007] = INT4, [1016] = INT8, [1028] = OID,
  [1021] = FLOAT4, [1022] = FLOAT8, [1231] = NUMERIC, [199] = JSON, [3807] = JSONB,
  [1009] = TEXT, [1015] = TEXT, [1014] = TEXT, [1002] = TEXT, [1003] = TEXT, [2951] = TEXT,
  [1182] = TEXT, [1115] = TEXT, [1185] = TEXT, [1183] = TEXT, [1270] = TEXT, [1187] = TEXT,
  [1041] = TEXT, [651] = TEXT, [1040] = TEXT, [1563] = TEXT, [1561] = TEXT, [2949] = TEXT,
}

local function unescaped(quoted)
  return (gsub(quoted, '\\(.)', '%1'))
end

-- The element, list or nil at `at` of `shown`, and where it ends.
local element_at

local function list_at(shown, at, decode, depth)
  if depth > DIMENSIONS_MAX then
    return nil
  end
  local list, count = setmetatable({}, array_type), 0
  if byte(shown, at + 1) == 125 then -- {}
    return list, at + 1
  end
  repeat
    local value, last = element_at(shown, at + 1, decode, depth)
    if value == nil then
      return nil
    end
    count = count + 1
    list[count] = value
    at = last + 1
    local follows = byte(shown, at)
    if follows == 125 then
      return list, at
    end
  until follows ~= 44
end

function element_at(shown, at, decode, depth)
  local first = byte(shown, at)
  if first == 123 then
    return list_at(shown, at, decode, depth + 1)
  end
  local value
  if first == 34 then -- a quote
    local from = at + 1
    at = at + 1
    while true do
      at = find(shown, '["\\]', at)
      if not at then
        return nil
      elseif byte(shown, at) == 34 then
        break
      end
      at = at + 2
    end
    value = unescaped(sub(shown, from, at - 1))
  else
    local last = find(shown, '[,}]', at)
    if not last or last == at then
      return nil
    end
    value = sub(shown, at, last - 1)
    at = last - 1
    if value == 'NULL' then
      return null, at
    end
  end
  if decode then
    value = decode(value)
  end
  return value, at
end

local function array_reader(element)
  local decode = from_text[element]
  return function(data, from, to)
    local shown = sub(data, from, to)
    local at = 1
    if byte(shown) == 91 then -- [2:3]={…}: where its numbers begin
      at = (find(shown, '=', 1, true) or #shown) + 1
    end
    if byte(shown, at) ~= 123 then
      return nil
    end
    local list, last = list_at(shown, at, decode, 1)
    return last == #shown and list or nil
  end
end

-- ---- Columns. ----

local text_readers = {}
for oid, decode in next, from_text do
  text_readers[oid] = function(data, from, to)
    return decode(sub(data, from, to))
  end
end
for oid, element in next, element_of do
  text_readers[oid] = array_reader(element)
end

-- The format to request for a column of this type: 1 for binary, 0 for text.
function _M.format_of(oid)
  return from_binary[oid] and 1 or 0
end

-- The decoder of a column of this type in this format; nil: none.
function _M.reader(oid, is_binary)
  if is_binary then
    return from_binary[oid]
  end
  return text_readers[oid] or text
end

-- ---- To the server. ----

local Json, Array, Bytea = {}, {}, {}

-- A value to send as JSON, whatever the type of the parameter.
function _M.json(value)
  return setmetatable({ value = value }, Json)
end

-- A list to send as an array, if the type does not say so: a user-defined one.
function _M.array(list)
  return setmetatable({ value = list }, Array)
end

-- A string to send as its bytes, if the type does not say so.
function _M.bytea(data)
  return setmetatable({ value = data }, Bytea)
end

local function number_text(value)
  if value % 1 == 0 and value < 2 ^ 63 and value >= -2 ^ 63 then
    return format('%d', value)
  elseif value ~= value then
    return 'NaN'
  elseif value == huge then
    return 'Infinity'
  elseif value == -huge then
    return '-Infinity'
  end
  return json_text.number(value)
end

local function scalar_text(value)
  local kind = type(value)
  if kind == 'string' then
    return value
  elseif kind == 'number' then
    return number_text(value)
  elseif kind == 'boolean' then
    return value and 'true' or 'false'
  elseif kind == 'cdata' and (ffi.istype('int64_t', value) or ffi.istype('uint64_t', value)) then
    return (match(tostring(value), '^-?%d+'))
  end
  return nil, 'a ' .. kind
end

local function json_encode(value)
  if not has_json then
    return nil, json
  end
  local ok, shown = pcall(json.encode, value)
  if ok then
    return shown
  end
  return nil, (gsub(tostring(shown), '^[^:]*:%d+: ', ''))
end

local function quoted(shown)
  return '"' .. gsub(shown, '["\\]', '\\%0') .. '"'
end

local array_text

-- An element of an array whose elements have the type `oid`.
local function element_text(value, oid, depth)
  if value == null or value == nil then
    return 'NULL'
  end
  if oid == JSON or oid == JSONB or getmetatable(value) == Json then
    local is_text = type(value) == 'string'
    local shown, problem = value, nil
    if not is_text then
      shown, problem = json_encode(getmetatable(value) == Json and value.value or value)
    end
    return shown and quoted(shown), problem
  elseif type(value) == 'table' and getmetatable(value) ~= Bytea then
    return array_text(value, oid, depth + 1)
  elseif oid == BYTEA or getmetatable(value) == Bytea then
    local data = getmetatable(value) == Bytea and value.value or value
    if type(data) ~= 'string' then
      return nil, 'a ' .. type(data) .. ' among bytes'
    end
    return '"\\\\x' .. crypto.hex_encode(data) .. '"'
  end
  local shown, problem = scalar_text(value)
  return shown and quoted(shown), problem
end

function array_text(list, oid, depth)
  if depth > DIMENSIONS_MAX then
    return nil, format('an array of more than %d dimensions', DIMENSIONS_MAX)
  end
  local length = list.n or #list
  for key in next, list do
    if key ~= 'n' and not (type(key) == 'number' and key % 1 == 0 and key >= 1 and key <= length) then
      return nil, 'an array whose keys are not 1 to n: NULL in it is postgres.null'
    end
  end
  local parts = {}
  for i = 1, length do
    local shown, problem = element_text(list[i], oid, depth)
    if not shown then
      return nil, problem
    end
    parts[i] = shown
  end
  return '{' .. concat(parts, ',') .. '}'
end

-- The bytes of a parameter whose type has the number `oid`: false for NULL. nil and what is wrong.
-- They are binary for bytea, see parameter_format, and text for all else.
function _M.encode(value, oid)
  if value == nil or value == null then
    return false
  end
  local kind = type(value)
  if kind ~= 'table' then
    if (oid == JSON or oid == JSONB) and kind ~= 'string' then
      return json_encode(value)
    elseif oid == BYTEA and kind ~= 'string' then
      return nil, 'a ' .. kind .. ', and not a string of bytes'
    end
    return scalar_text(value)
  end
  local class = getmetatable(value)
  if class == Json then
    return json_encode(value.value)
  elseif class == Array then
    if type(value.value) ~= 'table' then
      return nil, 'an array of a ' .. type(value.value)
    end
    return array_text(value.value, element_of[oid] or TEXT, 1)
  elseif class == Bytea then
    if type(value.value) ~= 'string' then
      return nil, 'bytea of a ' .. type(value.value)
    elseif oid == BYTEA then
      return value.value
    end
    return '\\x' .. crypto.hex_encode(value.value)
  elseif oid == JSON or oid == JSONB then
    return json_encode(value)
  elseif element_of[oid] then
    return array_text(value, element_of[oid], 1)
  end
  return nil, 'a table, and neither json nor an array of a known type: see postgres.array and '
    .. 'postgres.json'
end

function _M.parameter_format(oid)
  return oid == BYTEA and 1 or 0
end

-- ---- Times. ----

-- The years 1 to 9999.
local FIRST_SECOND, END_SECOND = days_of(1, 1, 1) * 86400, days_of(10000, 1, 1) * 86400

-- Seconds since 1970 of a timestamp in the server's format; without a zone, UTC is assumed. nil: not a
-- timestamp, or infinite.
function _M.epoch(shown)
  if type(shown) ~= 'string' then
    return nil
  end
  local year, month, day, rest = match(shown, '^(%d%d%d%d+)%-(%d%d)%-(%d%d)(.*)$')
  if not year then
    return nil
  end
  local seconds = days_of(tonumber(year), tonumber(month), tonumber(day)) * 86400
  if rest == '' then
    return seconds
  end
  local hour, minute, second, zone = match(rest, '^[ T](%d%d):(%d%d):(%d%d%.?%d*)(.*)$')
  if not hour then
    return nil
  end
  seconds = seconds + tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
  if zone == '' or zone == 'Z' then
    return seconds
  end
  local sign, hours, minutes, rest_of_zone = match(zone, '^([+-])(%d%d):?(%d?%d?)(.*)$')
  local odd = rest_of_zone and match(rest_of_zone, '^:(%d%d)$')
  if not sign or (rest_of_zone ~= '' and not odd) then
    return nil
  end
  local offset = tonumber(hours) * 3600 + (tonumber(minutes) or 0) * 60 + (tonumber(odd) or 0)
  return sign == '+' and seconds - offset or seconds + offset
end

-- The reverse, in UTC and to the microsecond.
function _M.timestamp(seconds)
  if type(seconds) ~= 'number' or not (seconds >= FIRST_SECOND and seconds < END_SECOND) then
    failure.raise('postgres.timestamp takes seconds since 1970 of the years 1 to 9999, not '
      .. tostring(seconds))
  end
  local micros = floor(seconds * 1000000 + 0.5)
  local whole = floor(micros / 1000000)
  local year, month, day = date_of(floor(whole / 86400))
  local time = whole % 86400
  return format('%04d-%02d-%02d %02d:%02d:%02d.%06d+00', year, month, day, floor(time / 3600),
    floor(time / 60) % 60, time % 60, micros - whole * 1000000)
end

return _M
