-- Access to nonexistent, usually misspelt members: an error that suggests the right one. Existing members
-- cost nothing: only failed lookups come here.
local byte, find, format, lower = string.byte, string.find, string.format, string.lower
local error, ipairs, min, pairs = error, ipairs, math.min, pairs
local setmetatable, tostring, type = setmetatable, tostring, type

local _M = {}

-- Names further apart than this are unrelated, as are shorter parts of names.
local DISTANCE, PART_LENGTH = 2, 4
-- A longer key is not compared.
local LENGTH = 40

-- The number of characters to change, add, remove or swap with a neighbour to turn one word into the other
-- (optimal string alignment).
local function distance(a, b)
  local before, row = {}, {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local last = before
    before, row = row, { [0] = i }
    for j = 1, #b do
      local is_same = byte(a, i) == byte(b, j)
      local best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (is_same and 0 or 1))
      if i > 1 and j > 1 and byte(a, i) == byte(b, j - 1) and byte(a, i - 1) == byte(b, j) then
        best = min(best, last[j - 2] + 1)
      end
      row[j] = best
    end
  end
  return row[#b]
end

-- The name in `holders`, tables of members, that `key` probably means; nil if there is none.
function _M.nearest(key, holders)
  key = lower(key)
  local found, least = nil, DISTANCE + 1
  for _, holder in ipairs(holders) do
    for name in pairs(holder) do
      local far = DISTANCE + 1
      if name ~= '' and #name >= PART_LENGTH and find(key, name, 1, true) then
        far = DISTANCE -- res:set_status
      end
      far = min(far, distance(key, lower(name)))
      if far < least or (far == least and found and name < found) then
        found, least = name, far
      end
    end
  end
  return least < #key and found or nil
end

-- The message for `key`, which `owner` does not have; `holders` are the tables of what it has.
function _M.unknown(owner, key, holders)
  local text = tostring(key)
  local name = type(key) == 'string' and #key <= LENGTH and _M.nearest(key, holders)
  return format('%s has no member %q', owner, text)
    .. (name and format(': did you mean %q?', name) or '')
end

-- Makes a table of members raise an error for unknown ones, at the accessing line. Returns it.
function _M.strict(members, owner)
  return setmetatable(members, { __index = function(_, key)
    error(_M.unknown(owner, key, { members }), 2)
  end })
end

-- The same for objects in which the runtime keeps its own fields: `fields` are their names, false if an
-- object does not have them. `public` are the methods available to handlers.
function _M.class(members, owner, public, fields)
  local known = {}
  for _, name in ipairs(public) do
    known[name] = members[name]
  end
  for _, name in ipairs(fields) do
    members[name] = members[name] or false
  end
  return setmetatable(members, { __index = function(_, key)
    error(_M.unknown(owner, key, { known }), 2)
  end })
end

return _M
