-- Environment variables, checked when the file is loaded: env.required 'DB_URL', env.number('PORT',
-- 80). A missing or invalid one is an error, which a start or a reload reports.
local members = require 'moonring.members'

local getenv = os.getenv
local error, tonumber, tostring, type = error, tonumber, tostring, type
local concat = table.concat
local find, lower = string.find, string.lower
local huge = math.huge

local _M = {}

local TRUE = { ['1'] = true, ['true'] = true, yes = true, on = true }
local FALSE = { ['0'] = true, ['false'] = true, no = true, off = true }

-- The value, nil if it is not set; raises at the line that called this module's function, by default 3 levels
-- up.
local function read(what, name, level)
  if type(name) ~= 'string' or not find(name, '^[^%z=]+$') then
    error(('env.%s: the first argument has to be the name of a variable, not %s'):format(what,
      tostring(name)), level or 3)
  end
  return getenv(name)
end

-- A variable whose value is not shown: it may be a secret.
local function fail_missing(name)
  error(('the environment variable %s is not set'):format(name), 3)
end

local function check_default(what, kind, default)
  if default ~= nil and type(default) ~= kind then
    error(('env.%s: the default has to be a %s, not a %s'):format(what, kind, type(default)), 3)
  end
end

-- The value of a variable that must be set and not ''.
function _M.required(name)
  local value = read('required', name)
  if value == nil then
    fail_missing(name)
  elseif value == '' then
    error(('the environment variable %s is empty'):format(name), 2)
  end
  return value
end

-- The value, or the default (nil without one) if the variable is not set.
function _M.string(name, default)
  local value = read('string', name)
  check_default('string', 'string', default)
  if value == nil then
    return default
  end
  return value
end

local function number_of(what, name, default)
  local value = read(what, name, 4)
  if value == nil or value == '' then
    return default
  end
  -- Decimal only: tonumber also accepts 0x10 and 'inf'.
  local number = find(value, '^%s*[+-]?%d*%.?%d*[eE]?[+-]?%d*%s*$') and tonumber(value)
  if not number or number >= huge or number <= -huge then
    error(('the environment variable %s has to be a number, not %q'):format(name, value), 3)
  end
  return number
end

-- A number; without a default the variable has to be set.
function _M.number(name, default)
  check_default('number', 'number', default)
  local number = number_of('number', name, default)
  if number == nil then
    error(('the environment variable %s is not set'):format(tostring(name)), 2)
  end
  return number
end

-- A whole number; without a default the variable has to be set.
function _M.integer(name, default)
  check_default('integer', 'number', default)
  local number = number_of('integer', name, default)
  if number == nil then
    error(('the environment variable %s is not set'):format(tostring(name)), 2)
  elseif number % 1 ~= 0 then
    error(('the environment variable %s has to be a whole number, not %q'):format(name,
      getenv(name) or tostring(default)), 2)
  end
  return number
end

-- true for 1, true, yes and on, false for 0, false, no and off, in any case; without a default the
-- variable has to be set.
function _M.boolean(name, default)
  local value = read('boolean', name)
  check_default('boolean', 'boolean', default)
  if value == nil or value == '' then
    if default == nil then
      fail_missing(name)
    end
    return default
  end
  local text = lower(value)
  if TRUE[text] then
    return true
  elseif FALSE[text] then
    return false
  end
  error(('the environment variable %s has to be true or false, not %q'):format(name, value), 2)
end

-- One of a list of values; without a default the variable has to be set.
function _M.one_of(name, values, default)
  local value = read('one_of', name)
  local known = {}
  if type(values) ~= 'table' or #values == 0 then
    error('env.one_of: the second argument has to be a list of values', 2)
  end
  for i = 1, #values do
    known[values[i]] = true
  end
  if default ~= nil and not known[default] then
    error(('env.one_of: the default %s is not one of the values'):format(tostring(default)), 2)
  end
  if value == nil or value == '' then
    if default == nil then
      fail_missing(name)
    end
    return default
  elseif not known[value] then
    error(('the environment variable %s has to be one of %s, not %q'):format(name,
      concat(values, ', '), value), 2)
  end
  return value
end

return members.strict(_M, 'moonring.env')
