-- moonring.shared: the results of every method, as in OpenResty.
local expect = require 'expect'
local shared = require 'moonring.shared'

local cases = {}

-- An empty dictionary.
local function fresh()
  local d = moonring.shared 'test'
  d:flush_all()
  d:flush_expired()
  return d
end

local function all(...)
  return { n = select('#', ...), ... }
end

function cases.an_unknown_name_says_what_is_declared()
  expect.raises('there is no dictionary of this name (declared: test, other): start the server with '
    .. '--shared nope=16m', function() return moonring.shared 'nope' end)
  expect.equal(shared.names(), { 'test', 'other' })
  expect.equal(shared.find 'nope', nil)
  expect.equal(shared 'test' == moonring.shared 'test', true)
end

function cases.members_that_do_not_exist_raise()
  local d = fresh()
  expect.raises('a shared dictionary has no member "gett": did you mean "get"?',
    function() return d.gett end)
  expect.raises('methods are called with a colon, dict:get(…)', d.get, 'k')
  expect.raises('bad "exptime" argument', d.set, d, 'k', 1, -1)
  expect.raises('bad "flags" argument', d.set, d, 'k', 1, 0, 1.5)
  expect.raises('must provide "init" when providing "init_ttl"', d.incr, d, 'k', 1, nil, 5)
  expect.raises('bad "exptime" argument', d.expire, d, 'k')
  expect.raises('fn is a nil', d.update, d, 'k')
end

function cases.values_come_back_as_they_were()
  local d = fresh()
  for _, value in ipairs { 'text', '', ('x'):rep(3000), 'a\0b', 0, -1.5, 2 ^ 53, 1 / 0, true, false } do
    expect.equal(all(d:set('k', value)), { n = 3, true, nil, false })
    expect.equal(all(d:get 'k'), { n = 1, value })
  end
  d:set('k', 'v', 0, 7)
  expect.equal(all(d:get 'k'), { n = 2, 'v', 7 })
  expect.equal(all(d:get 'none'), { n = 1 })
  d:set(5, 'number as key')
  expect.equal(d:get '5', 'number as key')
  expect.equal(all(d:set('k', nil)), { n = 3, true, nil, false })
  expect.equal(d:get 'k', nil)
end

function cases.wrong_keys_and_values_are_told()
  local d = fresh()
  expect.failure('nil key', d:get(nil))
  expect.failure('empty key', d:get '')
  expect.failure('key too long', d:get(('k'):rep(65536)))
  expect.failure('nil key', d:set(nil, 1))
  expect.failure('empty key', d:incr('', 1))
  expect.failure('bad value type', d:set('k', {}))
  expect.failure('bad value type', d:rpush('k', true))
  expect.failure('attempt to add or replace nil values', d:add('k', nil))
  expect.equal(all(d:set('k', ('x'):rep(d:max_value()))), { n = 3, false, 'no memory', false })
end

function cases.add_replace_delete()
  local d = fresh()
  expect.equal(all(d:replace('k', 1)), { n = 3, false, 'not found', false })
  expect.equal(all(d:add('k', 1)), { n = 3, true, nil, false })
  expect.equal(all(d:add('k', 2)), { n = 3, false, 'exists', false })
  expect.equal(all(d:replace('k', 3)), { n = 3, true, nil, false })
  expect.equal(all(d:safe_add('k', 3)), { n = 2, false, 'exists' })
  expect.equal(all(d:safe_set('k', 4)), { n = 2, true })
  expect.equal(d:get 'k', 4)
  expect.equal(all(d:delete 'k'), { n = 3, true, nil, false })
  expect.equal(all(d:delete 'k'), { n = 3, true, nil, false })
end

function cases.incr()
  local d = fresh()
  expect.equal(all(d:incr('n', 1)), { n = 2, nil, 'not found' })
  expect.equal(all(d:incr('n', 1, 10)), { n = 3, 11, nil, false })
  expect.equal(all(d:incr('n', -0.5)), { n = 1, 10.5 })
  expect.equal(all(d:incr('n', '2')), { n = 1, 12.5 })
  expect.equal(d:ttl 'n', 0)
  d:incr('t', 1, 0, 60)
  expect.equal(d:ttl 't' > 59 and d:ttl 't' <= 60, true)
  d:set('s', 'text')
  expect.equal(all(d:incr('s', 1, 0)), { n = 3, nil, 'not a number', false })
end

function cases.incr_again_and_again()
  local d, other = fresh(), moonring.shared 'other'
  for i = 1, 100 do
    local key = 'key ' .. i % 70
    expect.equal(all(d:incr(key, 2, 0)), { n = 3, (i > 70 and 4 or 2), nil, false })
    expect.equal(all(d:incr('again', 1, 0)), { n = 3, i, nil, false })
    expect.equal(all(other:incr('again', -1, 0)), { n = 3, -i, nil, false })
  end
  expect.equal(d:get 'again', 100)
  d:set('again', 2 ^ 31 - 2)
  for i = -1, 5 do
    expect.equal(d:incr('again', 1), 2 ^ 31 + i)
  end
  d:set('again', 1)
  expect.equal(all(d:incr('again', 1)), { n = 1, 2 })
  local sum = all(d:incr('again', 0 / 0))
  expect.equal(sum.n, 1)
  expect.equal(sum[1] ~= sum[1], true)
  d:set('again', 'text')
  expect.equal(all(d:incr('again', 1)), { n = 2, nil, 'not a number' })
  d:delete 'again'
  expect.equal(all(d:incr('again', 1)), { n = 2, nil, 'not found' })
  other:delete 'again'
end

function cases.time_to_live()
  local d = fresh()
  expect.equal(all(d:ttl 'k'), { n = 2, nil, 'not found' })
  expect.equal(all(d:expire('k', 1)), { n = 2, nil, 'not found' })
  d:set('k', 'v', 0.001, 3)
  local ends = moonring.now() + 0.01
  while moonring.now() < ends do end
  expect.equal(d:get 'k', nil)
  expect.equal(all(d:get_stale 'k'), { n = 3, 'v', 3, true })
  expect.equal(d:flush_expired(), 1)
  expect.equal(all(d:get_stale 'k'), { n = 1 })
  d:set('k', 'v', 100)
  expect.equal(all(d:get_stale 'k'), { n = 3, 'v', nil, false })
  expect.equal(all(d:expire('k', 0)), { n = 1, true })
  expect.equal(d:ttl 'k', 0)
end

function cases.cas_and_update()
  local d = fresh()
  expect.equal(all(d:cas('k', 'old', 'new')), { n = 3, false, 'changed', false })
  expect.equal(all(d:cas('k', nil, 'old')), { n = 3, true, nil, false })
  expect.equal(all(d:cas('k', 'old', 5, 3600)), { n = 3, true, nil, false })
  expect.equal(d:cas('k', '5', 6), false)
  expect.equal(d:cas('k', 5, 6), true)
  expect.equal(d:ttl 'k' > 3540, true)
  expect.equal(d:update('k', function(v) return v * 2 end), 12)
  expect.equal(d:update('none', function(v) return v == nil and 'made' end), 'made')
  local runs = 0
  expect.equal(d:update('k', function(v)
    runs = runs + 1
    if runs == 1 then
      d:set('k', 100)
    end
    return v + 1
  end), 101)
  expect.equal(runs, 2)
  expect.equal(d:update('k', function() return nil end), nil)
  expect.equal(d:get 'k', nil)
  d:rpush('list', 1)
  expect.failure('value is a list', d:update('list', function() return 1 end))
end

function cases.lists()
  local d = fresh()
  expect.equal(all(d:llen 'l'), { n = 1, 0 })
  expect.equal(all(d:lpop 'l'), { n = 1 })
  expect.equal(all(d:rpush('l', 'b')), { n = 1, 1 })
  expect.equal(d:lpush('l', 'a'), 2)
  expect.equal(d:rpush('l', 3), 3)
  expect.equal(d:llen 'l', 3)
  expect.failure('value is a list', d:get 'l')
  expect.equal({ d:lpop 'l', d:rpop 'l', d:rpop 'l' }, { 'a', 3, 'b' })
  expect.equal(d:get 'l', nil)
  d:set('v', 1)
  expect.failure('value not a list', d:rpush('v', 1))
  expect.failure('value not a list', d:lpop 'v')
  expect.failure('value not a list', d:llen 'v')
end

function cases.keys()
  local d = fresh()
  local expected = {}
  for i = 1, 2000 do
    d:set('key ' .. i, i)
    expected['key ' .. i] = true
  end
  expect.equal(#d:get_keys(), 1024)
  expect.equal(#d:get_keys(10), 10)
  expect.equal(#d:get_keys(0), 2000)
  local found, cursor, rounds = {}, nil, 0
  repeat
    local keys
    keys, cursor = d:scan(cursor, 100)
    rounds = rounds + 1
    for _, key in ipairs(keys) do
      expect.equal(found[key], nil)
      found[key] = true
    end
  until not cursor
  expect.equal(found, expected)
  expect.equal(rounds >= 15, true)
  expect.raises('bad cursor', d.scan, d, 'x')
end

function cases.sizes()
  local d = fresh()
  expect.equal(d:capacity(), 1024 * 1024)
  local free = d:free_space()
  d:set('k', ('x'):rep(1000))
  expect.equal(d:free_space() < free, true)
  expect.equal(d:max_value() > 6000, true)
end

function cases.a_get_of_a_number_makes_no_garbage()
  local d = fresh()
  d:set('k', 5)
  local sum = 0
  local function run(n)
    for _ = 1, n do
      sum = sum + d:get 'k' + d:incr('c', 1, 0)
    end
  end
  run(1000)
  collectgarbage()
  collectgarbage 'stop'
  local before = collectgarbage 'count'
  run(100000)
  local after = collectgarbage 'count'
  collectgarbage 'restart'
  expect.equal(after - before < 10, true)
  expect.equal(sum > 0, true)
end

return cases
