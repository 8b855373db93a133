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
  place('value cannot be encoded as JSON: the number nan', 0 / 0)
  place('value.a[2].b cannot be encoded as JSON: the number inf', { a = { 1, { b = 1 / 0 } } })
  place('value.run cannot be encoded as JSON: a function', { run = print })
  place('value cannot be encoded as JSON: nil', nil)
  place('value[2] cannot be encoded as JSON: a cdata', { 1, 1LL })
  place('value cannot be encoded as JSON: a table with the key true', { [true] = 1 })
end

function cases.an_array_is_exactly_1_to_n()
  local function refused(words, value)
    expect.raises(words, json.encode, value)
    expect.raises('value.a cannot be encoded', json.encode, { a = value })
  end
  refused('an array with holes', { 1, nil, 3, [9] = 4 })
  refused('an array with holes', { [1] = 1, [3] = 3 })
  refused('an array with holes', { [2] = 1 })
  refused('an array with holes', { [0] = 0, 1 })
  refused('an array with holes', { [-1] = 0, [1] = 1 })
  refused('an array with holes', { 1, [2.5] = 1 })
  refused('key b', { 1, b = 2 })
  local named = {}
  named.name = 'v'
  named[1] = 'first'
  refused('key ', named)
  refused('an array with the key name', json.array { name = 'v' })
  refused('a table with the key 1', json.object { 1 })
end

-- Keys of the hash part are in no particular order: none may be missed.
function cases.no_key_beside_an_array_is_lost()
  for n = 1, 6 do
    for key = -99, 99 do
      local value = {}
      value[key] = 'x'
      for i = n, 1, -1 do
        value[i] = i
      end
      local ok = pcall(json.encode, value)
      expect.equal(ok, key >= 1 and key <= n + 1)
    end
  end
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
  for text, at in pairs {
    ['1.'] = 1, ['-.5'] = 1, ['0.'] = 1, ['.5'] = 1, ['[-]'] = 2, ['[1, 00]'] = 5, ['1e'] = 1,
    ['1e+'] = 1, ['{"a":1.e5}'] = 6, ['1-2'] = 1, ['[+1]'] = 2, ['1..2'] = 1, ['1e5.5'] = 1,
    ['-01'] = 1,
  } do
    expect.failure('Found a malformed number at character ' .. at, json.decode(text))
  end
  expect.equal(json.decode '[0,-0,0.0,-0.5e+01,1E2,10]', { 0, -0, 0, -5, 100, 10 })
end

-- A number that became infinite would make encode raise.
function cases.numbers_out_of_range_are_failures()
  for _, text in ipairs { '1e400', '-1e400', '[1e309]', ('9'):rep(400), ('9'):rep(400) .. '.5' } do
    expect.failure('Found a number that is out of range at character', json.decode(text))
  end
  expect.equal(json.decode '[1e308,1e-400]', { 1e308, 0 })
  expect.equal(json.decode('0.' .. ('0'):rep(400) .. '1'), 0)
end

function cases.big_integers_can_be_strings()
  local text = '{"id":9007199254740993,"n":-9007199254740992,"safe":9007199254740991,'
    .. '"a":[12345678901234567890,"9007199254740993 \\" 9007199254740993",1e20,90071992547409930.5]}'
  expect.equal(json.decode(text, { big_integers = 'string' }), {
    id = '9007199254740993', n = '-9007199254740992', safe = 9007199254740991,
    a = { '12345678901234567890', '9007199254740993 " 9007199254740993', 1e20,
      90071992547409930.5 },
  })
  expect.equal(json.decode('7', { big_integers = 'string' }), 7)
  expect.equal(json.decode '9007199254740993', 2 ^ 53)
end

function cases.invalid_utf8_is_refused_and_never_sent()
  for text, at in pairs {
    ['"\255"'] = 2, ['["\195\169\195"]'] = 5, ['"\237\160\128"'] = 2, ['{"\192\128":1}'] = 3,
    ['"\244\144\128\128"'] = 2, ['"\\\255"'] = 3,
  } do
    expect.failure('Found invalid UTF-8 in a string at character ' .. at, json.decode(text))
  end
  expect.equal(json.decode '"\195\169\240\159\152\128"', '\195\169\240\159\152\128')
  expect.equal(json.encode 'a\255b\195', '"a\239\191\189b\239\191\189"')
  expect.equal(json.encode { ['\128'] = '\195\169"' }, '{"\239\191\189":"\195\169\\""}')
end

function cases.control_characters_in_strings_are_refused()
  expect.failure('Found an unescaped control character in a string at character 3',
    json.decode '"a\nb"')
  expect.equal(json.decode ' \t\r\n"a" ', 'a')
end

function cases.names_of_objects_can_be_sorted()
  local value = { b = 1, a = { d = 1, c = {} }, c = { { z = 1, y = 2 } } }
  for _ = 1, 3 do
    expect.equal(json.encode(value, { sorted = true }),
      '{"a":{"c":{},"d":1},"b":1,"c":[{"y":2,"z":1}]}')
  end
  expect.equal(json.encode(json.object { z = 1, a = 2, m = 3 }), '{"a":2,"m":3,"z":1}')
  expect.equal(json.encode { json.object { b = 1, a = 2 } }, '[{"a":2,"b":1}]')
  expect.equal(json.encode(json.object()), '{}')
end

function cases.unknown_options_raise_at_the_caller()
  local function refused(words, ...)
    local message = expect.raises(words, ...)
    expect.equal(message:match 'test_json.lua:%d' ~= nil or message:match '^%[C%]' ~= nil, true)
  end
  refused('has no member "sort": did you mean "sorted"?', function()
    json.encode({}, { sort = true })
  end)
  refused('the option sorted is not valid', function() json.encode({}, { sorted = 1 }) end)
  refused("takes 'string'", function() json.decode('1', { big_integers = 'number' }) end)
  refused('takes options as a table, got boolean', function() json.encode({}, true) end)
end

function cases.a_text_that_is_no_string_raises_at_the_caller()
  local message = expect.raises('takes a string, got nil', function()
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

function cases.many_names_are_not_all_remembered()
  for i = 1, 5000 do
    expect.equal(json.encode { ['n' .. i] = i }, ('{"n%d":%d}'):format(i, i))
  end
end

-- Clients choose the keys of what an app decodes and encodes again.
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
  for _, piece in ipairs { '[', '"', ' ', '{"a":', '\\', '1', '-', '1,', '"\255', '9007199254740993,' } do
    expect.linear(function(length) return piece:rep(length / #piece) end, json.decode)
  end
  expect.linear(function(length)
    return '[' .. ('"\\u0041",'):rep(length / 9) .. '1]'
  end, json.decode)
  expect.linear(function(length)
    return '[' .. ('9007199254740993,'):rep(length / 17) .. '1]'
  end, function(text)
    json.decode(text, { big_integers = 'string' })
  end)
  expect.linear(function(length) return ('"'):rep(length) end, json.encode)
  expect.linear(function(length) return ('\255'):rep(length) end, json.encode)
end

return cases
