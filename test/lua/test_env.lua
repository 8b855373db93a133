local ffi = require 'ffi'
local expect = require 'expect'
local env = require 'moonring.env'

ffi.cdef 'int setenv(const char *name, const char *value, int overwrite); int unsetenv(const char *name);'

local cases = {}

-- The result of fn(...) while the variable X has this value.
local function with(value, fn, ...)
  if value then
    ffi.C.setenv('X', value, 1)
  else
    ffi.C.unsetenv 'X'
  end
  return fn('X', ...)
end

local function refused(words, value, fn, ...)
  local rest = { ... }
  local message = expect.raises(words, function()
    local result = with(value, fn, unpack(rest))
    return result
  end)
  return message
end

function cases.required()
  expect.equal(with('a value', env.required), 'a value')
  refused('the environment variable X is not set', nil, env.required)
  refused('the environment variable X is empty', '', env.required)
end

function cases.strings()
  expect.equal(with('a', env.string, 'b'), 'a')
  expect.equal(with('', env.string, 'b'), '')
  expect.equal(with(nil, env.string, 'b'), 'b')
  expect.equal(with(nil, env.string), nil)
  refused('the default has to be a string, not a number', nil, env.string, 5)
end

function cases.numbers()
  for text, number in pairs { ['80'] = 80, ['-1.5'] = -1.5, ['1e3'] = 1000, [' 7 '] = 7, ['.5'] = 0.5 } do
    expect.equal(with(text, env.number), number)
  end
  expect.equal(with(nil, env.number, 80), 80)
  expect.equal(with('', env.number, 80), 80)
  for _, text in ipairs { 'eighty', '0x10', 'inf', 'nan', '1 2', '80;', '.', 'e', '1e999' } do
    refused(('the environment variable X has to be a number, not %q'):format(text), text, env.number, 1)
  end
  refused('the environment variable X is not set', nil, env.number)
  refused('the default has to be a number, not a string', nil, env.number, '80')
end

function cases.integers()
  expect.equal(with('80', env.integer), 80)
  expect.equal(with(nil, env.integer, 5), 5)
  refused('X has to be a whole number, not "1.5"', '1.5', env.integer)
  refused('X is not set', nil, env.integer)
end

function cases.booleans()
  for _, text in ipairs { '1', 'true', 'YES', 'on' } do
    expect.equal(with(text, env.boolean), true)
  end
  for _, text in ipairs { '0', 'False', 'no', 'off' } do
    expect.equal(with(text, env.boolean, true), false)
  end
  expect.equal(with(nil, env.boolean, false), false)
  refused('X is not set', nil, env.boolean)
  refused('has to be true or false, not "maybe"', 'maybe', env.boolean, true)
end

function cases.one_of()
  local levels = { 'debug', 'info' }
  expect.equal(with('info', env.one_of, levels), 'info')
  expect.equal(with(nil, env.one_of, levels, 'debug'), 'debug')
  refused('X has to be one of debug, info, not "Info"', 'Info', env.one_of, levels)
  refused('X is not set', nil, env.one_of, levels)
  refused('the default warn is not one of the values', nil, env.one_of, levels, 'warn')
  refused('a list of values', nil, env.one_of, 'info')
end

function cases.errors_are_at_the_line_that_asked()
  for _, run in ipairs {
    function() env.required 'NOT_SET_X' end,
    function() env.number 'NOT_SET_X' end,
    function() env.integer 'NOT_SET_X' end,
    function() env.boolean 'NOT_SET_X' end,
    function() env.one_of('NOT_SET_X', { 'a' }) end,
    function() env.string(5) end,
    function() env.integer(5) end,
    function() env.number('PATH') end,
    function() env.string('a=b') end,
  } do
    local message = expect.raises('', run)
    expect.equal(message:match '^[^:]*test_env%.lua:%d+:' ~= nil, true)
  end
end

return cases
