-- JSON (RFC 8259): json.decode(text), json.encode(value), json.send(res, value, status). Decoding
-- is lua-cjson's work. Encoding is done here, since lua-cjson has no way to say `[]`, cuts numbers
-- to 14 digits and does not tell where a value that is no JSON stands.
local found, cjson = pcall(require, 'cjson')
if not found then
  error('moonring.json needs lua-cjson: install the package lua-cjson (Debian, Ubuntu), or build it '
    .. 'with luarocks install lua-cjson\n' .. tostring(cjson), 0)
end

local byte, find, format, gsub = string.byte, string.find, string.format, string.gsub
local concat, huge = table.concat, math.huge
local error, getmetatable, next, pairs = error, getmetatable, next, pairs
local pcall, setmetatable, tonumber, tostring, type = pcall, setmetatable, tonumber, tostring, type

-- Arrays and objects inside one another, both ways. It also ends a value that contains itself.
local DEPTH = 100
-- Names of members are quoted once and remembered: so many of them, none longer than this, since a
-- client may choose them.
local REMEMBERED, REMEMBERED_LENGTH = 1000, 64

-- A decoder of our own: what an app sets in its `cjson` does not change this one.
local decoder = cjson.new()
decoder.decode_max_depth(DEPTH)
decoder.decode_invalid_numbers(false)

local _M = {}

-- JSON's null, in values of both directions: Lua's nil cannot stand in a table.
_M.null = cjson.null
local null = _M.null

local array_type = { __name = 'json array' }

-- Marks a table (a new one by default) as an array, so that it is `[]` when it is empty, and
-- returns it.
function _M.array(list)
  return setmetatable(list or {}, array_type)
end

local escapes = { ['"'] = '\\"', ['\\'] = '\\\\', ['\b'] = '\\b', ['\f'] = '\\f', ['\n'] = '\\n',
  ['\r'] = '\\r', ['\t'] = '\\t' }

local function escape(character)
  return escapes[character] or format('\\u%04x', byte(character))
end

local function quote(text)
  if find(text, '[%c"\\]') then
    text = gsub(text, '[%z\1-\31"\\]', escape)
  end
  return '"' .. text .. '"'
end

local quoted, quoted_count = {}, 0

local function quote_name(name)
  local text = quoted[name]
  if not text then
    if #name > REMEMBERED_LENGTH then
      return quote(name)
    end
    if quoted_count == REMEMBERED then
      quoted, quoted_count = {}, 0
    end
    text = quote(name)
    quoted[name] = text
    quoted_count = quoted_count + 1
  end
  return text
end

-- The shortest text that means the number again.
local function number_text(value)
  local text = tostring(value)
  if tonumber(text) ~= value then
    text = format('%.16g', value)
    if tonumber(text) ~= value then
      text = format('%.17g', value)
    end
  end
  return text
end

-- Errors while encoding: the words, and the names on the way to the place, innermost first.
local problem, trail

local function fail(words)
  problem, trail = words, {}
  return nil
end

-- Adds the step to a place that is wrong; for `return within(name)`.
local function within(name)
  trail[#trail + 1] = type(name) == 'number' and '[' .. name .. ']' or '.' .. tostring(name)
  return nil
end

-- Appends the pieces of `value` to `out` behind `at`, and returns how many there are then; nil if
-- it is no JSON.
local append

local function append_array(value, out, at, depth)
  local length = #value
  if next(value, length > 0 and length or nil) ~= nil then
    -- Either the keys lie in another order, or there are others than 1 to length.
    local count = 0
    for _ in pairs(value) do
      count = count + 1
    end
    if count ~= length then
      return fail 'an array has no holes and no names'
    end
  end
  at = at + 1
  out[at] = '['
  for i = 1, length do
    if i > 1 then
      at = at + 1
      out[at] = ','
    end
    local stop = append(value[i], out, at, depth)
    if not stop then
      return within(i)
    end
    at = stop
  end
  out[at + 1] = ']'
  return at + 1
end

local function append_object(value, out, at, depth)
  local separator = '{'
  for name, member in pairs(value) do
    if type(name) ~= 'string' then
      return fail('a name that is a ' .. type(name))
    end
    out[at + 1] = separator
    out[at + 2] = quote_name(name)
    out[at + 3] = ':'
    local stop = append(member, out, at + 3, depth)
    if not stop then
      return within(name)
    end
    at = stop
    separator = ','
  end
  if separator == '{' then
    at = at + 1
    out[at] = '{'
  end
  out[at + 1] = '}'
  return at + 1
end

append = function(value, out, at, depth)
  local kind = type(value)
  if kind == 'table' then
    if depth == DEPTH then
      return fail('more than ' .. DEPTH .. ' levels')
    end
    if value[1] ~= nil or getmetatable(value) == array_type then
      return append_array(value, out, at, depth + 1)
    end
    return append_object(value, out, at, depth + 1)
  end
  local text
  if kind == 'string' then
    text = quote(value)
  elseif kind == 'number' then
    if value ~= value or value == huge or value == -huge then
      return fail('the number ' .. tostring(value))
    end
    text = number_text(value)
  elseif kind == 'boolean' then
    text = value and 'true' or 'false'
  elseif value == null then
    text = 'null'
  else
    return fail('a ' .. kind)
  end
  out[at + 1] = text
  return at + 1
end

local function encode(value)
  local out = {}
  local count = append(value, out, 0, 0)
  if count then
    return concat(out, '', 1, count)
  end
  local place = 'value'
  for i = #trail, 1, -1 do
    place = place .. trail[i]
  end
  error(('json.encode: %s is no JSON: %s'):format(place, problem), 3)
end

-- The JSON text of strings, numbers, booleans, json.null and tables of these. A table is an array
-- if it has an element 1 or is marked by json.array, else an object. Strings are taken to be UTF-8.
-- What is no JSON (NaN, infinity, a function, an array with holes, more than 100 levels) raises an
-- error at the caller's line that says where it stands.
function _M.encode(value)
  local text = encode(value)
  return text
end

-- The value of a JSON text; nil and what is wrong, with its position, if it is none. Arrays and
-- objects are tables, null is json.null. `null` alone is json.null too, so nil always is a failure.
function _M.decode(text)
  if type(text) ~= 'string' then
    error('json.decode(text) takes a string, not a ' .. type(text), 2)
  end
  local ok, value = pcall(decoder.decode, text)
  if ok then
    return value
  end
  return nil, value
end

-- Answers with `value` as JSON and with `status` (200): sets Content-Type and content, and sends.
-- Returns the response. Raises as encode does.
function _M.send(res, value, status)
  local text = encode(value)
  return res:status(status or 200):header('Content-Type', 'application/json'):body(text):send()
end

return _M
