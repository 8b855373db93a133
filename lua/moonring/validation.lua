-- Validation of client data against a schema: validation.new(schema). See docs/lua-validation.md.
--
--   local link = validation.new { fields = { url = { type = 'string', required = true } } }
--   local value = link:body(req)                     -- raises a refusal, which is a 400
--   local value, errors = link:check(json.decode(text))
-- Each node of a schema becomes a function of a value and the run, which returns the checked value, or nil
-- after reporting what is wrong. Paths of fields are built only for errors.
local failures = require 'moonring.failure'
local members = require 'moonring.members'
local query = require 'moonring.query'

local find, format, gsub, lower, match, sub = string.find, string.format, string.gsub, string.lower,
  string.match, string.sub
local concat, floor, huge = table.concat, math.floor, math.huge
local error, getmetatable, ipairs, next, pairs = error, getmetatable, ipairs, next, pairs
local require, setmetatable, sort, tonumber = require, setmetatable, table.sort, tonumber
local pcall, tostring, type = pcall, tostring, type

local _M = {}

-- Errors reported by a run, and bytes of a name in them: the client controls both.
local ERRORS_MAX, NAME_MAX = 20, 64
-- Captures of a Lua pattern; levels of a schema, as many as of JSON.
local CAPTURES_MAX, LEVELS_MAX = 32, 100
-- Marks a copied array, which is then encoded as one even if it is empty.
local has_json, json = pcall(require, 'moonring.json')
local array_type = has_json and getmetatable(json.array()) or nil
-- From here on, doubles do not represent every integer.
local INTEGER_END = 2 ^ 53

-- ---- A run: what is wrong, and where. ----

local function path_of(run)
  local parts = {}
  for i = 1, run.depth do
    local name = run.trail[i]
    if type(name) == 'number' then
      parts[i] = format('[%d]', name)
    elseif find(name, '^[%a_][%w_]*$') and #name <= NAME_MAX then
      parts[i] = i == 1 and name or '.' .. name
    else
      parts[i] = format('[%s]', format('%q', name:sub(1, NAME_MAX)))
    end
  end
  return concat(parts)
end

local function new_run(is_text)
  return { errors = {}, trail = {}, depth = 0, is_text = is_text }
end

local function report(run, message)
  local errors = run.errors
  if #errors < ERRORS_MAX then
    errors[#errors + 1] = { path = path_of(run), message = message }
  end
  return nil
end

-- ---- What a schema may say. ----

local COMMON = { type = true, required = true, default = true, enum = true, nullable = true,
  check = true }
local KEYS = {
  any = {},
  boolean = {},
  string = { min_length = true, max_length = true, pattern = true },
  number = { min = true, max = true },
  integer = { min = true, max = true },
  array = { items = true, min_items = true, max_items = true },
  object = { fields = true, unknown = true },
}
local KINDS = { required = 'boolean', nullable = 'boolean', enum = 'table', check = 'function',
  pattern = 'string', items = 'table', fields = 'table', unknown = 'string', min = 'number',
  max = 'number', min_length = 'number', max_length = 'number', min_items = 'number',
  max_items = 'number' }
local RANGES = { string = { '_length' }, array = { '_items' }, number = { '' }, integer = { '' } }
local UNKNOWN = { refuse = true, drop = true, keep = true }

-- Raises a schema's mistake, at the line that called new().
local function mistake(where, message)
  failures.raise(format('validation.new: %s %s', where, message))
end

-- A schema without a valid type.
local function no_type(schema)
  local kind = schema.type
  if type(kind) == 'string' then
    local meant = members.nearest(kind, { KEYS })
    return format('has the unknown type %q%s', kind,
      meant and format(': did you mean %q?', meant) or '')
  end
  local name, value = next(schema)
  if type(name) == 'string' and type(value) == 'table' and not COMMON[name] then
    return format('has no type: the fields of an object stand in fields = { %s = … }', name)
  end
  return 'has no type: string, number, integer, boolean, array, object or any'
end

-- The end of the set of a pattern that begins at `at`; nil if it has none.
local function end_of_set(pattern, at)
  at = at + (sub(pattern, at + 1, at + 1) == '^' and 2 or 1)
  local first = at
  while at <= #pattern do
    local character = sub(pattern, at, at)
    if character == ']' and at > first then
      return at
    end
    at = at + (character == '%' and 2 or 1)
  end
end

-- Whether Lua accepts a pattern for every text: find() reads it only as far as the text at hand matches.
local function is_pattern(pattern)
  local at, open, closed = 1, 0, 0
  while at and at <= #pattern do
    local character, next_one = sub(pattern, at, at), sub(pattern, at + 1, at + 1)
    if character == '(' then
      open = open + 1
    elseif character == ')' then
      open, closed = open - 1, closed + 1
    elseif character == '[' then
      at = end_of_set(pattern, at)
    elseif character == '%' then
      local number = tonumber(next_one)
      if next_one == '' or next_one == 'b' and at + 3 > #pattern or number and number > closed
        or number == 0 or next_one == 'f' and sub(pattern, at + 2, at + 2) ~= '[' then
        return false
      end
      at = at + (next_one == 'b' and 3 or 1)
    end
    if open < 0 or open + closed > CAPTURES_MAX then
      return false
    end
    at = at and at + 1
  end
  return at ~= nil and open == 0
end

local function check_schema(schema, where)
  if type(schema) ~= 'table' then
    mistake(where, 'is a ' .. type(schema) .. ', not a table')
  end
  local kind = schema.type or schema.fields and 'object' or schema.items and 'array'
  if not KEYS[kind] then
    mistake(where, no_type(schema))
  end
  for name, value in pairs(schema) do
    if not COMMON[name] and not KEYS[kind][name] then
      mistake(where, '(' .. kind .. '): ' .. members.unknown('it', name, { COMMON, KEYS[kind] }))
    elseif KINDS[name] and type(value) ~= KINDS[name] then
      mistake(where, format('%s is a %s, not a %s', name, type(value), KINDS[name]))
    end
  end
  if schema.required and schema.default ~= nil then
    mistake(where, 'is required and has a default')
  elseif schema.unknown and not UNKNOWN[schema.unknown] then
    mistake(where, "unknown is 'refuse', 'drop' or 'keep'")
  elseif schema.pattern and not is_pattern(schema.pattern) then
    mistake(where, format('pattern: %q is malformed', schema.pattern))
  end
  for _, name in ipairs(RANGES[kind] or {}) do
    local least, most = schema['min' .. name], schema['max' .. name]
    if least and most and least > most then
      mistake(where, format('min%s is more than max%s', name, name))
    end
  end
  return kind
end

-- ---- The types. ----

-- The number of characters; each invalid byte counts as one.
local function length_of(text)
  local _, others = gsub(text, '[\128-\191]', '')
  return #text - others
end

local function bounds(schema, low, high, unit, measure)
  local least, most = schema[low], schema[high]
  if not least and not most then
    return nil
  end
  return function(value, run)
    local size = measure and measure(value) or value
    if least and size < least then
      return report(run, format('has less than %s%s', tostring(least), unit))
    elseif most and size > most then
      return report(run, format('has more than %s%s', tostring(most), unit))
    end
    return value
  end
end

local function is_number(value)
  return type(value) == 'number' and value == value and value ~= huge and value ~= -huge
end

local function is_integer(value)
  return is_number(value) and value == floor(value)
end

-- The value of a query's text.
local function number_of(text)
  if find(text, '^-?%d+$') or find(text, '^-?%d+%.%d+$') or find(text, '^-?%d+%.?%d*[eE][+-]?%d+$') then
    return tonumber(text)
  end
end

local BOOLEANS = { ['true'] = true, ['false'] = false, ['1'] = true, ['0'] = false }

-- A check for values of a simple type. `read` parses one from a text, `limit` is an additional check.
local function simple(is_type, read, message, limit)
  return function(value, run)
    if run.is_text then
      if type(value) ~= 'string' then
        return report(run, 'is given more than once')
      end
      if read then
        value = read(value)
      end
    end
    if not is_type(value) then
      return report(run, message)
    end
    if limit then
      return limit(value, run)
    end
    return value
  end
end

local compile

local makers = {}

function makers.any()
  return function(value)
    return value
  end
end

function makers.boolean()
  return simple(function(value) return type(value) == 'boolean' end,
    function(text) return BOOLEANS[text] end, 'is not true or false')
end

local function number_limits(schema)
  local least, most = schema.min, schema.max
  if not least and not most then
    return nil
  end
  return function(value, run)
    if least and value < least then
      return report(run, 'is less than ' .. tostring(least))
    elseif most and value > most then
      return report(run, 'is more than ' .. tostring(most))
    end
    return value
  end
end

function makers.number(schema)
  return simple(is_number, number_of, 'is not a number', number_limits(schema))
end

function makers.integer(schema)
  local limit = number_limits(schema)
  return simple(is_integer, number_of, 'is not an integer', function(value, run)
    if value >= INTEGER_END or value <= -INTEGER_END then
      return report(run, 'is an integer of more than 53 bits')
    elseif limit then
      return limit(value, run)
    end
    return value
  end)
end

function makers.string(schema)
  local pattern = schema.pattern
  local sized = bounds(schema, 'min_length', 'max_length', ' characters', length_of)
  return simple(function(value) return type(value) == 'string' end, nil, 'is not a string',
    (pattern or sized) and function(value, run)
      if sized and sized(value, run) == nil then
        return nil
      elseif pattern and not find(value, pattern) then
        return report(run, 'has not the form that is expected')
      end
      return value
    end)
end

-- The number of elements of an array: keys 1 to n and no others; nil if it is not an array.
local function count_of(value)
  local count = 0
  for _ in pairs(value) do
    count = count + 1
  end
  for i = 1, count do
    if value[i] == nil then
      return nil
    end
  end
  return count
end

function makers.array(schema, where, level)
  local item = schema.items and compile(schema.items, where .. '[]', level + 1)
  local sized = bounds(schema, 'min_items', 'max_items', ' elements', function(value)
    return #value
  end)
  return function(value, run)
    if run.is_text and type(value) == 'string' then
      value = { value }
    end
    local count = type(value) == 'table' and count_of(value)
    if not count then
      return report(run, 'is not an array')
    elseif sized and sized(value, run) == nil then
      return nil
    end
    local copy, depth = setmetatable({}, array_type), run.depth + 1
    for i = 1, count do
      run.depth = depth
      run.trail[depth] = i
      copy[i] = value[i]
      if item then
        copy[i] = item(value[i], run)
      end
    end
    run.depth = depth - 1
    return copy
  end
end

-- A table is copied, since it belongs to one request.
local function default_of(node)
  local default = node.default
  return type(default) == 'table' and node.check(default, new_run(false)) or default
end

-- Keys that are not in the schema: refused, dropped or kept.
local function check_unknown(value, copy, nodes, unknown, run, depth)
  for name, member in next, value do
    if type(name) ~= 'string' then
      run.depth = depth - 1
      return report(run, 'is not an object')
    elseif not nodes[name] then
      if unknown == 'keep' then
        copy[name] = member
      elseif unknown == 'refuse' then
        run.trail[depth] = name
        report(run, 'is not known')
      end
    end
  end
end

function makers.object(schema, where, level)
  local nodes, names = {}, {}
  for name, field in pairs(schema.fields or {}) do
    if type(name) ~= 'string' then
      mistake(where, 'fields: names are strings')
    end
    nodes[name] = { check = compile(field, where .. '.' .. name, level + 1), required = field.required,
      default = field.default, nullable = field.nullable }
    names[#names + 1] = name
  end
  sort(names)
  local unknown = schema.unknown or 'refuse'
  return function(value, run)
    if type(value) ~= 'table' then
      return report(run, 'is not an object')
    end
    local copy, depth = {}, run.depth + 1
    for i = 1, #names do
      local name = names[i]
      local node, member = nodes[name], value[name]
      run.depth = depth
      run.trail[depth] = name
      if member == nil or type(member) == 'userdata' and not node.nullable then
        if node.required then
          report(run, 'is required')
        end
        copy[name] = default_of(node)
      else
        copy[name] = node.check(member, run)
      end
    end
    run.depth = depth
    check_unknown(value, copy, nodes, unknown, run, depth)
    run.depth = depth - 1
    return copy
  end
end

local function enumerated(list, where)
  local known, shown = {}, {}
  for i, value in ipairs(list) do
    known[value] = true
    shown[i] = tostring(value)
  end
  if #shown == 0 then
    mistake(where, 'enum is empty')
  end
  return known, 'is not one of ' .. concat(shown, ', ')
end

compile = function(schema, where, level)
  if level > LEVELS_MAX then
    mistake('the schema', format('has more than %d levels, or contains itself', LEVELS_MAX))
  end
  local kind = check_schema(schema, where)
  local check_type = makers[kind](schema, where, level)
  local check_more, nullable = schema.check, schema.nullable
  local known, not_known
  if schema.enum then
    known, not_known = enumerated(schema.enum, where)
  end
  local function check(value, run)
    if type(value) == 'userdata' then
      if nullable or kind == 'any' then
        return value
      end
      return report(run, 'is null')
    end
    local before = #run.errors
    value = check_type(value, run)
    if value == nil then
      return nil
    elseif known and not known[value] then
      return report(run, not_known)
    elseif check_more and #run.errors == before then
      local problem = check_more(value)
      if problem then
        return report(run, tostring(problem))
      end
    end
    return value
  end
  if schema.default ~= nil then
    local run = new_run(false)
    check(schema.default, run)
    if run.errors[1] then
      mistake(where, 'default ' .. run.errors[1].message)
    end
  end
  return check
end

-- ---- Checkers. ----

local Checker = {}
local checker_type = {}

local function run_of(checker, value, is_text)
  if getmetatable(checker) ~= checker_type then
    failures.raise('the methods of a checker are called with a colon: checker:check(value)')
  end
  local run = new_run(is_text)
  local copy = checker.run(value, run)
  if run.errors[1] then
    return nil, run.errors
  end
  return copy
end

-- The value with its defaults; nil and a list of errors, { path, message } each.
function Checker:check(value)
  return run_of(self, value, false)
end

-- The same for strings: numbers and booleans are parsed, and a single string is an array of one.
function Checker:check_text(fields)
  return run_of(self, fields, true)
end

local function refuse(status, message, errors)
  local refusal = failures.new('invalid', message)
  refusal.status, refusal.errors = status, errors
  error(refusal, 0)
end

-- The value, or an error that says what is wrong with the first field.
local function demand(what, value, errors)
  if value ~= nil then
    return value
  end
  local first = errors[1]
  refuse(400, format('%s: %s %s', what, first.path == '' and 'it' or first.path, first.message),
    errors)
end

-- The content of the request, JSON: checked, or a refusal is raised (400, 415).
function Checker:body(req)
  failures.check_request(req, 'checker:body(req)')
  local media_type = lower(match(req:header 'Content-Type' or '', '^[^; \t]*'))
  if media_type ~= 'application/json' and not find(media_type, '%+json$') then
    refuse(415, 'the content is not application/json')
  end
  local value, problem = require('moonring.json').decode(req:body())
  if value == nil then
    refuse(400, 'the content is not JSON: ' .. problem)
  end
  return demand('content', self:check(value))
end

-- The fields of the query.
function Checker:query(req)
  failures.check_request(req, 'checker:query(req)')
  local fields, problem = query.parse_all(req.query)
  if not fields then
    refuse(400, 'query: ' .. problem)
  end
  for name, values in pairs(fields) do
    if #values == 1 then
      fields[name] = values[1]
    end
  end
  return demand('query', self:check_text(fields))
end

-- The path parameters found by the router.
function Checker:params(params)
  if type(params) ~= 'table' then
    failures.raise('checker:params(params) takes the table of the router, got ' .. type(params))
  end
  return demand('path', self:check_text(params))
end

checker_type.__index = members.strict(Checker, 'the checker')

-- A checker for values of the schema. Raises for a mistake in the schema.
function _M.new(schema)
  return setmetatable({ run = compile(schema, 'the schema', 1) }, checker_type)
end

return members.strict(_M, 'moonring.validation')
