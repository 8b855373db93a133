-- JSON (RFC 8259): json.decode(text, options), json.encode(value, options), json.send(res, value,
-- status). lua-cjson decodes, after a check for what it is too lenient about (exec/hs_lua_json.h). Encoding
-- is done here: lua-cjson cannot express `[]`, cuts numbers to 14 digits, fills holes in arrays, passes on
-- invalid UTF-8, does not sort names, and does not say where an unencodable value is.
local found, cjson = pcall(require, 'cjson')
if not found then
  error('moonring.json needs lua-cjson: install the package lua-cjson (Debian, Ubuntu), or build it '
    .. 'with luarocks install lua-cjson\n' .. tostring(cjson), 0)
end

local json_text = require 'moonring.json_text'
local members = require 'moonring.members'
local json_check = require('moonring.native').json_check
local raise = require('moonring.failure').raise

local concat, sort, huge = table.concat, table.sort, math.huge
local error, getmetatable, next, pairs = error, getmetatable, next, pairs
local pcall, setmetatable, tostring, type = pcall, setmetatable, tostring, type
local quote, number_text = json_text.quote, json_text.number

-- Nesting of arrays and objects, in both directions. It also stops at a value that contains itself.
local DEPTH = 100
-- Quoted names of members are cached: at most this many, none longer than this, since clients may choose
-- them.
local REMEMBERED, REMEMBERED_LENGTH = 1000, 64

-- Our own decoder: the app's settings of `cjson` do not affect it.
local decoder = cjson.new()
decoder.decode_max_depth(DEPTH)
decoder.decode_invalid_numbers(false)

local _M = {}

-- JSON's null, in both directions: a Lua table cannot hold nil.
_M.null = cjson.null
local null = _M.null

local array_type = { __name = 'json array' }
local object_type = { __name = 'json object' }

-- Marks a table (a new one by default) as an array, which is `[]` when empty, and returns it.
function _M.array(list)
  return setmetatable(list or {}, array_type)
end

-- Marks a table (a new one by default) as an object whose names are written sorted, and returns it.
function _M.object(fields)
  return setmetatable(fields or {}, object_type)
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

-- Encoding errors: the message, and the names on the path to the value, innermost first.
local problem, trail

local function fail(words)
  problem, trail = words, {}
  return nil
end

-- Adds a step to the path of an error; for `return within(name)`.
local function within(name)
  trail[#trail + 1] = type(name) == 'number' and '[' .. name .. ']' or '.' .. tostring(name)
  return nil
end

-- Appends the pieces of `value` to `out` after `at`, and returns the new count; nil if it cannot be encoded.
-- `sorts`: names are sorted in all objects.
local append

-- An array has the keys 1 to n and no others, in whatever order they were set: there are n keys, and none of
-- 1 to n is missing.
local function append_array(value, out, at, depth, sorts)
  local length, count = #value, 0
  for name in pairs(value) do
    if type(name) ~= 'number' then
      return fail(('an array with the key %s: its keys are 1 to n'):format(tostring(name)))
    end
    count = count + 1
  end
  if count ~= length then
    return fail 'an array with holes: its keys are 1 to n'
  end
  at = at + 1
  out[at] = '['
  for i = 1, length do
    if i > 1 then
      at = at + 1
      out[at] = ','
    end
    local element = value[i]
    if element == nil then
      return fail 'an array with holes: its keys are 1 to n'
    end
    local stop = append(element, out, at, depth, sorts)
    if not stop then
      return within(i)
    end
    at = stop
  end
  out[at + 1] = ']'
  return at + 1
end

local function append_member(name, member, out, at, depth, sorts)
  if type(name) ~= 'string' then
    return fail(('a table with the key %s: keys of an object are strings, those of an array '
      .. '1 to n'):format(tostring(name)))
  end
  out[at + 1] = quote_name(name)
  out[at + 2] = ':'
  local stop = append(member, out, at + 2, depth, sorts)
  return stop or within(name)
end

local function append_sorted(value, out, at, depth, sorts)
  local names = {}
  for name in pairs(value) do
    if type(name) ~= 'string' then
      return append_member(name)
    end
    names[#names + 1] = name
  end
  sort(names)
  local separator = '{'
  for i = 1, #names do
    out[at + 1] = separator
    at = append_member(names[i], value[names[i]], out, at + 1, depth, sorts)
    if not at then
      return nil
    end
    separator = ','
  end
  out[at + 1] = '}'
  return at + 1
end

local function append_object(value, out, at, depth)
  local separator = '{'
  for name, member in pairs(value) do
    out[at + 1] = separator
    at = append_member(name, member, out, at + 1, depth, false)
    if not at then
      return nil
    end
    separator = ','
  end
  out[at + 1] = '}'
  return at + 1
end

local function append_table(value, out, at, depth, sorts)
  local first = next(value)
  local mark = getmetatable(value)
  if type(first) == 'number' and mark ~= object_type or mark == array_type then
    return append_array(value, out, at, depth, sorts)
  end
  if first == nil then
    out[at + 1] = '{}'
    return at + 1
  end
  if sorts or mark == object_type then
    return append_sorted(value, out, at, depth, sorts)
  end
  return append_object(value, out, at, depth)
end

append = function(value, out, at, depth, sorts)
  local kind = type(value)
  if kind == 'table' then
    if depth == DEPTH then
      return fail('more than ' .. DEPTH .. ' levels')
    end
    return append_table(value, out, at, depth + 1, sorts)
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
    return fail(value == nil and 'nil' or 'a ' .. kind)
  end
  out[at + 1] = text
  return at + 1
end

local function check_options(call, options, known)
  if type(options) ~= 'table' then
    raise(('%s takes options as a table, got %s'):format(call, type(options)))
  end
  for name, value in pairs(options) do
    if known[name] == nil then
      raise(members.unknown('the options of ' .. call, name, { known }))
    elseif type(value) ~= type(known[name]) then
      raise(('%s: the option %s is not valid'):format(call, name))
    end
  end
end

local function encode(value, sorts)
  local out = {}
  local count = append(value, out, 0, 0, sorts)
  if count then
    return concat(out, '', 1, count)
  end
  local place = 'value'
  for i = #trail, 1, -1 do
    place = place .. trail[i]
  end
  raise(('json.encode: %s cannot be encoded as JSON: %s'):format(place, problem))
end

local ENCODE_OPTIONS, DECODE_OPTIONS = { sorted = true }, { big_integers = 'string' }

-- The JSON text of strings, numbers, booleans, json.null and tables of these. A table with the keys
-- 1 to n is an array, one whose keys are strings is an object. Bytes of strings that are not UTF-8
-- become U+FFFD. Values that cannot be encoded (NaN, infinity, a function, a table with other keys, more than
-- 100 levels) raise an error at the caller's line that says where they are. With the option `sorted = true`
-- names of all objects are written sorted.
function _M.encode(value, options)
  local sorts = false
  if options ~= nil then
    check_options('json.encode', options, ENCODE_OPTIONS)
    sorts = options.sorted == true
  end
  return encode(value, sorts)
end

-- The value of a JSON text; nil and what is wrong, with its position, if it is not JSON. Arrays and objects
-- are tables, null is json.null. `null` alone is json.null too, so nil always means failure. Integers from
-- 2^53 on lose digits; with the option `big_integers = 'string'` they are strings.
function _M.decode(text, options)
  if type(text) ~= 'string' then
    raise('json.decode(text) takes a string, got ' .. type(text))
  end
  if options ~= nil then
    check_options('json.decode', options, DECODE_OPTIONS)
    if options.big_integers ~= nil and options.big_integers ~= 'string' then
      raise("json.decode: the option big_integers takes 'string'")
    end
  end
  local checked, problem_found = json_check(text, options ~= nil and options.big_integers ~= nil)
  if not checked then
    return nil, problem_found
  end
  local ok, value = pcall(decoder.decode, checked)
  if ok then
    return value
  end
  return nil, value
end

-- As res:json(value, status).
function _M.send(res, value, status)
  return res:json(value, status)
end

return members.strict(_M, 'moonring.json')
