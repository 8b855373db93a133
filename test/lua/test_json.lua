local expect = require 'expect'
local json = require 'moonring.json'

local cases = {}

function cases.values_become_text()
  expect.equal(json.encode('a"b\\c/\n\0\31\127\195\169'), [["a\"b\\c/\n\u0000\u001f]] .. '\127\195\169"')
  expect.equal(json.encode(true), 'true')
  expect.equal(json.encode(false), 'false')
  expect.equal(json.encode(json.null), 'null')
  expect.equal(json.encode { 1, 'two', { three = false }, { { } } }, '[1,"two",{"three":false},[{}]]')
  expect.equal(json.encode { ['a"'] = { b = {} } }, '{"a\\"":{"b":{}}}')
end

function cases.numbers_keep_their_value()
  for text, value in pairs {
    ['0'] = 0, ['42'] = 42, ['-1'] = -1, ['0.1'] = 0.1, ['1e+100'] = 1e100, ['1.5'] = 1.5,
    ['9007199254740991'] = 2 ^ 53 - 1, ['1234567890123456'] = 1234567890123456,
  } do
    expect.equal(json.encode(value), text)
  end
  for _, value in ipairs { 1 / 3, 2 ^ -1074, 1.7976931348623157e308, -2 ^ 63, 0.1 + 0.2 } do
    expect.equal(json.decode(json.encode(value)) == value, true)
  end
end

function cases.empty_tables_are_objects_and_marked_ones_arrays()
  expect.equal(json.encode {}, '{}')
  expect.equal(json.encode { a = json.array() }, '{"a":[]}')
  expect.equal(json.encode(json.array { 1 }), '[1]')
end

function cases.arrays_in_any_order_of_keys()
  local list = {}
  for i = 5, 1, -1 do
    list[i] = i
  end
  expect.equal(json.encode(list), '[1,2,3,4,5]')
end

function cases.what_is_no_json_raises_and_says_where()
  local function place(words, value)
    local message = expect.raises(words, function()
      json.encode(value)
    end)
    expect.equal(message:match 'test_json.lua:%d' ~= nil, true)
  end
  place('value is no JSON: the number nan', 0 / 0)
  place('value.a[2].b is no JSON: the number inf', { a = { 1, { b = 1 / 0 } } })
  place('value.run is no JSON: a function', { run = print })
  place('value is no JSON: a nil', nil)
  place('value[2] is no JSON: a cdata', { 1, 1LL })
  place('value is no JSON: an array has no holes and no names', { 1, nil, 3, [9] = 4 })
  place('value.a is no JSON: an array has no holes and no names', { a = { 1, b = 2 } })
  place('value is no JSON: a name that is a number', { [2] = 1 })
  place('value is no JSON: a name that is a boolean', { [true] = 1 })
end

function cases.values_that_contain_themselves_raise()
  local loop = {}
  loop.again = loop
  expect.raises('more than 100 levels', json.encode, loop)
end

local function nested(levels, value)
  for _ = 1, levels do
    value = { value }
  end
  return value
end

function cases.depth_is_limited_both_ways()
  local text = ('['):rep(100) .. '1' .. (']'):rep(100)
  expect.equal(json.encode(nested(100, 1)), text)
  expect.raises('more than 100 levels', json.encode, nested(101, 1))
  expect.equal(json.decode(text), nested(100, 1))
  expect.failure('nested', json.decode('[' .. text .. ']'))
  expect.failure('', json.decode(('['):rep(1024 * 1024)))
  expect.failure('', json.decode(('{"a":'):rep(200000)))
end

function cases.texts_become_values()
  expect.equal(json.decode ' {"a":[1,2.5e1,-0.5],"b":"\\u00e9\\n","c":{"d":true}} ',
    { a = { 1, 25, -0.5 }, b = '\195\169\n', c = { d = true } })
  expect.equal(json.decode 'null', json.null)
  expect.equal(json.decode('[null]')[1] == json.null, true)
  expect.equal(json.decode 'false', false)
end

function cases.malformed_texts_are_failures_with_a_position()
  for _, text in ipairs {
    '', ' ', '{', '[1,]', '{"a"}', '{a:1}', "'a'", 'nul', 'true false', '[1]]', '"\\x"',
    '"a', '{"a":1,}', '\0', '"\\ud800"', '+1', '-', '"\\u12', '[1 2]',
  } do
    expect.failure('at character', json.decode(text))
  end
end

function cases.numbers_that_are_no_json_are_failures()
  for _, text in ipairs { 'NaN', 'Infinity', '-Infinity', 'inf', 'nan', '0x10', '[01]' } do
    expect.failure('at character', json.decode(text))
  end
end

function cases.a_text_that_is_no_string_raises_at_the_caller()
  local message = expect.raises('takes a string, not a nil', function()
    json.decode(nil)
  end)
  expect.equal(message:match 'test_json.lua' ~= nil, true)
end

function cases.settings_of_the_apps_cjson_do_not_matter()
  local cjson = require 'cjson'
  cjson.decode_max_depth(1)
  cjson.decode_invalid_numbers(true)
  expect.equal(json.decode '[[1]]', { { 1 } })
  expect.failure('', json.decode 'NaN')
end

function cases.send_answers()
  local answer = {}
  local res = setmetatable({}, { __index = function(_, name)
    return function(self, ...)
      answer[#answer + 1] = { name, ... }
      return self
    end
  end })
  expect.equal(json.send(res, { a = 1 }, 201) == res, true)
  expect.equal(answer, {
    { 'status', 201 }, { 'header', 'Content-Type', 'application/json' }, { 'body', '{"a":1}' },
    { 'send' },
  })
  local message = expect.raises('a function', function()
    json.send(res, print)
  end)
  expect.equal(message:match 'test_json.lua' ~= nil, true)
end

function cases.many_names_are_not_all_remembered()
  for i = 1, 5000 do
    expect.equal(json.encode { ['n' .. i] = i }, ('{"n%d":%d}'):format(i, i))
  end
end

-- A client chooses the names of what an app decodes and encodes again.
function cases.long_names_are_not_remembered()
  local function megabytes()
    collectgarbage()
    return collectgarbage 'count' / 1024
  end
  local before = megabytes()
  for i = 1, 50 do
    json.encode { [('n'):rep(1e6) .. i] = i }
  end
  expect.equal(megabytes() - before < 10, true)
end

function cases.without_cjson_the_package_is_named()
  local loaded, cpath = package.loaded, package.cpath
  local ours, theirs = loaded['moonring.json'], loaded.cjson
  loaded['moonring.json'], loaded.cjson, package.cpath = nil, nil, ''
  local ok, message = pcall(require, 'moonring.json')
  loaded['moonring.json'], loaded.cjson, package.cpath = ours, theirs, cpath
  expect.equal(ok, false)
  expect.equal(message:match 'install the package lua%-cjson' ~= nil, true)
end

function cases.long_texts_take_linear_time()
  for _, piece in ipairs { '[', '"', ' ', '{"a":', '\\', '1' } do
    expect.linear(function(length) return piece:rep(length / #piece) end, json.decode)
  end
  expect.linear(function(length)
    return '[' .. ('"\\u0041",'):rep(length / 9) .. '1]'
  end, json.decode)
  expect.linear(function(length) return ('"'):rep(length) end, json.encode)
end

return cases
