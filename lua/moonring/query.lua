-- Queries: query.parse('a=1&b=two+words') and back with query.encode{ a = 1 }. Also the format of
-- application/x-www-form-urlencoded bodies.
local members = require 'moonring.members'
local percent = require 'moonring.percent'

local find, gsub, sub = string.find, string.gsub, string.sub
local concat, sort = table.concat, table.sort
local decode, encode = percent.decode, percent.encode
local error, pairs, tostring, type = error, pairs, tostring, type

local _M = {}

-- The default limit on pairs.
local LIMIT = 100

local function decode_part(text)
  if find(text, '+', 1, true) then
    text = gsub(text, '%+', ' ')
  end
  return decode(text)
end

-- Calls take(to, name, value) for each pair, in order. True, or nil, what is wrong, and whether it was their
-- number.
local function each_pair(text, limit, take, to)
  local at, count, length = 1, 0, #text
  while at <= length do
    local stop = find(text, '&', at, true) or length + 1
    if stop > at then
      count = count + 1
      if count > limit then
        return nil, 'more than ' .. limit .. ' fields', true
      end
      local pair = sub(text, at, stop - 1)
      local equals = find(pair, '=', 1, true)
      local name = decode_part(equals and sub(pair, 1, equals - 1) or pair)
      local value = decode_part(equals and sub(pair, equals + 1) or '')
      if not name or not value then
        return nil, 'field ' .. count .. ' has a malformed percent-encoding', false
      end
      take(to, name, value)
    end
    at = stop + 1
  end
  return true
end

local function take_first(to, name, value)
  if to[name] == nil then
    to[name] = value
  end
end

local function take_all(to, name, value)
  local values = to[name]
  if values then
    values[#values + 1] = value
  else
    to[name] = { value }
  end
end

local function take_pair(to, name, value)
  to[#to + 1] = { name = name, value = value }
end

local function parser(call, take)
  return function(text, limit)
    if type(text) ~= 'string' then
      error(('query.%s(text, limit) takes a string, not a %s'):format(call, type(text)), 2)
    end
    local result = {}
    local ok, problem, too_many = each_pair(text, limit or LIMIT, take, result)
    if not ok then
      return nil, problem, too_many
    end
    return result
  end
end

-- For more than `limit` (100) pairs or a malformed escape each returns nil, what is wrong, and
-- whether it was the limit.
-- parse: name -> value, the first one where a name is repeated. parse_all: name -> all its values.
-- parse_pairs: { { name =, value = }, ... } as sent.
_M.parse = parser('parse', take_first)
_M.parse_all = parser('parse_all', take_all)
_M.parse_pairs = parser('parse_pairs', take_pair)

local function text_of(name, value)
  local kind = type(value)
  if kind ~= 'string' and kind ~= 'number' and kind ~= 'boolean' then
    error(('query.encode(fields): %q is a %s'):format(name, kind), 3)
  end
  return encode(tostring(value))
end

-- The query with `fields`: name -> string, number, boolean or a list of them. Sorted by name.
function _M.encode(fields)
  if type(fields) ~= 'table' then
    error('query.encode(fields) takes a table, not a ' .. type(fields), 2)
  end
  local names = {}
  for name in pairs(fields) do
    if type(name) ~= 'string' then
      error('query.encode(fields): names are strings, not ' .. type(name), 2)
    end
    names[#names + 1] = name
  end
  sort(names)
  local parts = {}
  for i = 1, #names do
    local name, value = names[i], fields[names[i]]
    local list = type(value) == 'table' and value or { value }
    for k = 1, #list do
      parts[#parts + 1] = encode(name) .. '=' .. text_of(name, list[k])
    end
  end
  return concat(parts, '&')
end

return members.strict(_M, 'moonring.query')
