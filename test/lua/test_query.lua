local expect = require 'expect'
local query = require 'moonring.query'

local cases = {}

function cases.pairs_become_a_table()
  expect.equal(query.parse 'a=1&b=two', { a = '1', b = 'two' })
  expect.equal(query.parse '', {})
end

function cases.plus_is_a_space_and_escapes_are_decoded()
  expect.equal(query.parse 'a+b=c+d%2Be&%26=%3D', { ['a b'] = 'c d+e', ['&'] = '=' })
end

function cases.a_name_without_value_is_empty_and_empty_pairs_are_nothing()
  expect.equal(query.parse '&&a&b=&&=c&d=e=f&', { a = '', b = '', [''] = 'c', d = 'e=f' })
end

function cases.the_first_of_repeated_names_wins()
  expect.equal(query.parse 'a=1&b=2&a=3', { a = '1', b = '2' })
end

function cases.all_values_in_order()
  expect.equal(query.parse_all 'a=1&b=2&a=3', { a = { '1', '3' }, b = { '2' } })
end

function cases.pairs_as_they_were_sent()
  expect.equal(query.parse_pairs 'a=1&b=2&a=3', {
    { name = 'a', value = '1' }, { name = 'b', value = '2' }, { name = 'a', value = '3' },
  })
end

function cases.malformed_escapes_are_a_failure()
  for _, text in ipairs { 'a=%', 'a=%zz', '%=a', 'ok=1&a=%4' } do
    expect.failure('malformed percent-encoding', query.parse(text))
  end
  expect.failure('field 2 ', query.parse 'ok=1&a=%4')
end

function cases.more_pairs_than_the_limit_are_a_failure()
  expect.equal(query.parse(('a&'):rep(100)), { a = '' })
  expect.failure('more than 100 fields', query.parse(('a&'):rep(101)))
  expect.failure('more than 2 fields', query.parse_all('a&b&c', 2))
  expect.equal(query.parse_all('a&b&&&', 2), { a = { '' }, b = { '' } })
end

function cases.encoding_is_sorted_and_escaped()
  expect.equal(query.encode { b = 1, a = 'x y&z', c = { 'p', 'q' }, d = true, e = {} },
    'a=x%20y%26z&b=1&c=p&c=q&d=true')
  expect.equal(query.encode {}, '')
  local fields, names = {}, {}
  for code = ('a'):byte(), ('z'):byte() do
    local name = string.char(code)
    fields[name], names[#names + 1] = '', name .. '='
  end
  expect.equal(query.encode(fields), table.concat(names, '&'))
end

function cases.parsing_undoes_encoding()
  local fields = { ['a b'] = '+&=%', ['\0'] = '\255' }
  expect.equal(query.parse(query.encode(fields)), fields)
end

function cases.what_cannot_be_encoded_raises_at_the_caller()
  local message = expect.raises('"a" is a function', function()
    query.encode { a = print }
  end)
  expect.equal(message:match 'test_query.lua' ~= nil, true)
  expect.raises('names are strings, not number', query.encode, { 'a' })
  expect.raises('"a" is a table', query.encode, { a = { {} } })
end

function cases.other_values_than_texts_raise_at_the_caller()
  for words, run in pairs {
    ['query.parse(text, limit) takes a string, not a nil'] = function() query.parse() end,
    ['query.parse_all(text, limit) takes a string, not a table'] = function() query.parse_all {} end,
    ['query.encode(fields) takes a table, not a nil'] = function() query.encode() end,
  } do
    expect.equal(expect.raises(words, run):match '^[^:]*test_query%.lua:%d+:' ~= nil, true)
  end
end

function cases.long_texts_take_linear_time()
  for _, piece in ipairs { 'a', '&', '=', '+', 'a=b&', '%41', 'a&' } do
    expect.linear(function(length)
      return piece:rep(length / #piece)
    end, function(text)
      query.parse(text, math.huge)
      query.parse_all(text, math.huge)
    end)
  end
end

return cases
