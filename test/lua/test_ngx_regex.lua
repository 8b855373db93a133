local expect = require 'expect'
local re = require 'moonring.ngx_regex'

local cases = {}

function cases.groups_are_captured()
  for _, flags in ipairs { '', 'jo' } do
    local found = re.match('hello, 1234', '(?<word>[a-z]+), (\\d)(x)?', flags)
    expect.equal(found, { [0] = 'hello, 1', 'hello', '1', false, word = 'hello' })
    expect.equal(re.match('hello', '\\d', flags), nil)
  end
  expect.equal(re.match('b', '(a)|(b)'), { [0] = 'b', false, 'b' })
  expect.equal(re.match('a', '(?<x>a)|(?<x>b)', 'D').x, { 'a' })
end

function cases.a_position_is_used_and_moved()
  local context = { pos = 3 }
  expect.equal(re.match('12 34 56', '\\d+', 'jo', context)[0], '34')
  expect.equal(context.pos, 6)
  expect.equal({ re.find('12 34 56', '(\\d)(\\d)', 'jo', context, 2) }, { 8, 8 })
  expect.equal(re.match('12', '\\d', '', { pos = 99 }), nil)
end

function cases.matches_are_iterated()
  local words = {}
  for found in re.gmatch('one, two', '[a-z]+', 'jo') do
    words[#words + 1] = found[0]
  end
  expect.equal(words, { 'one', 'two' })
  local count = 0
  for _ in re.gmatch('\195\169a', '', 'u') do
    count = count + 1
  end
  expect.equal(count, 3)
end

function cases.text_is_replaced()
  expect.equal({ re.sub('hello, 1234', '([a-z])(?<d>l)', '[$0|$1|${2}|$$|$&]') }, { 'h[el|e|l|$|el]lo, 1234', 1 })
  expect.equal({ re.gsub('a1b22', '\\d+', '<$0>', 'jo') }, { 'a<1>b<22>', 2 })
  expect.equal({ re.gsub('abc', 'x', 'y') }, { 'abc', 0 })
  expect.equal({ re.gsub('abc', '', '-') }, { '-a-b-c-', 4 })
  expect.equal((re.gsub('ab', '.', function(found)
    return found[0] == 'a' and '$1' or nil
  end)), '$1')
  local _, _, problem = re.sub('a', 'a', '$name')
  expect.equal(problem:match 'named capturing variable "name"', 'named capturing variable "name"')
end

function cases.what_is_wrong_is_said()
  local found, problem = re.match('a', '(')
  expect.equal(found, nil)
  expect.equal(problem:match '^pcre_compile%(%) failed: missing', 'pcre_compile() failed: missing')
  expect.raises('unknown flag "q"', re.match, 'a', 'a', 'q')
  local from, _, failure = re.find(('a'):rep(40) .. 'b', '^(a+)+$', 'jo')
  expect.equal(from, nil)
  expect.equal(failure, 'pcre_exec() failed: -47')
end

function cases.text_is_split()
  expect.equal(re.split('a,b,,c,,', ','), { 'a', 'b', '', 'c' })
  expect.equal(re.split('a1b2c', '(\\d)'), { 'a', '1', 'b', '2', 'c' })
  expect.equal(re.split('a,b,c', ',', nil, nil, 2), { 'a', 'b,c' })
  expect.equal(re.split('abc', ''), { 'a', 'b', 'c' })
end

function cases.more_expressions_than_are_kept_work_all_the_same()
  for round = 1, 2 do
    for number = 1, 1500 do
      expect.equal(re.match('x' .. number, '^x' .. number .. '$', 'jo') ~= nil, true)
    end
    expect.equal(round <= 2, true)
  end
end

return cases
