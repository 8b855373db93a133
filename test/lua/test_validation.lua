local expect = require 'expect'
local json = require 'moonring.json'
local validation = require 'moonring.validation'

local cases = {}

-- The first error as `path message`.
local function problem(checker, value)
  local found, errors = checker:check(value)
  expect.equal(found, nil)
  return errors[1].path .. ' ' .. errors[1].message
end

local function of(field)
  return validation.new { fields = { a = field } }
end

function cases.types()
  local values = { string = 'x', number = 1.5, integer = 3, boolean = false, array = { 1 },
    object = { b = 1 } }
  for kind in pairs(values) do
    local checker = of { type = kind, unknown = kind == 'object' and 'keep' or nil }
    for other, value in pairs(values) do
      if kind == other or kind == 'number' and other == 'integer' then
        expect.equal(checker:check { a = value }, { a = value })
      else
        expect.equal(problem(checker, { a = value }):match '^a is not ' ~= nil, true)
      end
    end
    expect.equal(checker:check {}, {})
    expect.equal(of({ type = 'any' }):check { a = values[kind] }, { a = values[kind] })
  end
  expect.equal(problem(of { type = 'number' }, { a = 0 / 0 }), 'a is not a number')
  expect.equal(problem(of { type = 'number' }, { a = 1 / 0 }), 'a is not a number')
  expect.equal(problem(of { type = 'integer' }, { a = 2 ^ 53 }), 'a is an integer of more than 53 bits')
  expect.equal(of({ type = 'integer' }):check { a = 2 ^ 53 - 1 }, { a = 2 ^ 53 - 1 })
  expect.equal(problem(of { type = 'array' }, { a = { 1, [3] = 3 } }), 'a is not an array')
  expect.equal(problem(of { type = 'object' }, { a = { 1 } }), 'a is not an object')
  expect.equal(problem(of { type = 'any' }, 'text'), ' is not an object')
end

function cases.limits()
  local text = of { type = 'string', min_length = 2, max_length = 3, pattern = '^%l+$' }
  expect.equal(problem(text, { a = 'x' }), 'a has less than 2 characters')
  expect.equal(problem(text, { a = 'xxxx' }), 'a has more than 3 characters')
  expect.equal(problem(text, { a = 'XX' }), 'a has not the form that is expected')
  expect.equal(text:check { a = 'xxx' }, { a = 'xxx' })
  expect.equal(of({ type = 'string', max_length = 2 }):check { a = 'ü€' }, { a = 'ü€' })
  local number = of { type = 'integer', min = 1, max = 5 }
  expect.equal(problem(number, { a = 0 }), 'a is less than 1')
  expect.equal(problem(number, { a = 6 }), 'a is more than 5')
  local list = of { items = { type = 'integer' }, min_items = 1, max_items = 2 }
  expect.equal(problem(list, { a = {} }), 'a has less than 1 elements')
  expect.equal(problem(list, { a = { 1, 2, 3 } }), 'a has more than 2 elements')
  local choice = of { type = 'string', enum = { 'x', 'y' } }
  expect.equal(problem(choice, { a = 'z' }), 'a is not one of x, y')
  expect.equal(choice:check { a = 'y' }, { a = 'y' })
  local even = of { type = 'integer', check = function(value)
    return value % 2 == 1 and 'is odd' or nil
  end }
  expect.equal(problem(even, { a = 3 }), 'a is odd')
  expect.equal(problem(even, { a = 'x' }), 'a is not an integer')
end

function cases.absent_and_null()
  local checker = validation.new { fields = {
    a = { type = 'string', required = true }, b = { type = 'integer', default = 7 },
    c = { type = 'string', nullable = true },
  } }
  expect.equal(checker:check { a = 'x' }, { a = 'x', b = 7 })
  expect.equal(problem(checker, { b = 1 }), 'a is required')
  expect.equal(problem(checker, { a = json.null }), 'a is required')
  local value = checker:check { a = 'x', b = json.null, c = json.null }
  expect.equal({ value.b, value.c == json.null }, { 7, true })
  expect.equal(problem(of { items = { type = 'string' } }, { a = { json.null } }), 'a[1] is null')
  local listed = of { items = { type = 'any' }, default = { 1 } }
  listed:check({}).a[1] = 2
  expect.equal(listed:check_text {}, { a = { 1 } })
end

function cases.unknown_keys()
  local function checker(unknown)
    return validation.new { fields = { a = { type = 'any' } }, unknown = unknown }
  end
  expect.equal(problem(checker(), { a = 1, b = 2 }), 'b is not known')
  expect.equal(checker('drop'):check { a = 1, b = 2 }, { a = 1 })
  expect.equal(checker('keep'):check { a = 1, b = 2 }, { a = 1, b = 2 })
end

function cases.errors_name_the_path()
  local checker = validation.new { fields = { items = { items = { fields = {
    price = { type = 'number', required = true }, name = { type = 'string' } } } } } }
  local value, errors = checker:check { items = { { price = 1 }, { name = 3 }, 'x' }, ['a b'] = 1 }
  expect.equal(value, nil)
  local found = {}
  for i, each in ipairs(errors) do
    found[i] = each.path .. ' ' .. each.message
  end
  expect.equal(found, { 'items[2].name is not a string', 'items[2].price is required',
    'items[3] is not an object', '["a b"] is not known' })
  expect.equal(problem(validation.new { items = { items = { type = 'integer' } } },
    { { 1 }, { 1, 'x' } }), '[2][2] is not an integer')
end

function cases.errors_are_limited()
  local many = {}
  for i = 1, 1000 do
    many[('k'):rep(200) .. i] = i
  end
  local _, errors = of({ type = 'any' }):check(many)
  expect.equal(#errors, 20)
  expect.equal(#errors[1].path < 80, true)
end

function cases.values_are_not_changed()
  local value = { a = { 'x' } }
  local copy = of({ items = { type = 'string' } }):check(value)
  copy.a[1] = 'y'
  expect.equal(value, { a = { 'x' } })
  local list = of({ items = { type = 'string' } }):check { a = json.array() }
  expect.equal(json.encode(list), '{"a":[]}')
  list = of({ type = 'array' }):check(json.decode '{"a":[]}')
  expect.equal(json.encode(list), '{"a":[]}')
end

function cases.texts_of_queries()
  local checker = validation.new { fields = {
    n = { type = 'number' }, i = { type = 'integer' }, b = { type = 'boolean' },
    s = { type = 'string' }, l = { items = { type = 'integer' } },
  } }
  expect.equal(checker:check_text { n = '-1.5e2', i = '007', b = 'true', s = '5', l = '3' },
    { n = -150, i = 7, b = true, s = '5', l = { 3 } })
  expect.equal(checker:check_text { b = '0', l = { '1', '2' } }, { b = false, l = { 1, 2 } })
  for _, text in ipairs { '', ' 1', '0x10', '1.', '.5', 'nan', 'inf', '1e999', '--1' } do
    local value, errors = checker:check_text { n = text }
    expect.equal({ value, errors[1].message }, { nil, 'is not a number' })
  end
  local _, errors = checker:check_text { i = '1.5' }
  expect.equal(errors[1].message, 'is not an integer')
  _, errors = checker:check_text { s = { 'a', 'b' } }
  expect.equal(errors[1].message, 'is given more than once')
end

local function request(content, content_type, text)
  return { query = text or '', body = function() return content end,
    header = function() return content_type end }
end

local function refusal(run)
  local ok, failure = pcall(run)
  expect.equal(ok, false)
  return { failure.status, failure.message, failure.errors and failure.errors[1].path }
end

function cases.requests_are_checked_or_refused()
  local checker = of { type = 'integer', required = true }
  local function body(content, content_type)
    return function() return checker:body(request(content, content_type)) end
  end
  expect.equal(body('{"a":1}', 'Application/JSON; charset=utf-8')(), { a = 1 })
  expect.equal(body('{"a":1}', 'application/merge-patch+json')(), { a = 1 })
  expect.equal(refusal(body('{"a":1}', 'text/plain')), { 415, 'the content is not application/json' })
  expect.equal(refusal(body('{"a":1}'))[1], 415)
  expect.equal(refusal(body('{"a"', 'application/json'))[1], 400)
  expect.equal(refusal(body('{}', 'application/json')), { 400, 'content: a is required', 'a' })
  expect.equal(refusal(body('3', 'application/json')), { 400, 'content: it is not an object', '' })
  expect.equal(checker:query(request('', nil, 'a=5')), { a = 5 })
  expect.equal(refusal(function() checker:query(request('', nil, 'a=5&a=6')) end),
    { 400, 'query: a is given more than once', 'a' })
  expect.equal(refusal(function() checker:query(request('', nil, 'a=%')) end)[1], 400)
  expect.equal(checker:params { a = '5' }, { a = 5 })
  expect.equal(refusal(function() checker:params { a = 'x' } end),
    { 400, 'path: a is not an integer', 'a' })
end

local function mistake(words, schema)
  expect.raises(words, validation.new, schema)
end

function cases.mistakes_of_a_schema()
  mistake('the schema is a nil', nil)
  mistake('the schema has no type', {})
  mistake('the schema.a has the unknown type "text"', { fields = { a = { type = 'text' } } })
  mistake('the unknown type "strng": did you mean "string"?', { type = 'strng' })
  mistake('the fields of an object stand in fields = { url = … }', { url = { type = 'string' } })
  mistake('did you mean "max_length"?', { type = 'string', max_lenght = 3 })
  mistake('has no member "min_length"', { type = 'integer', min_length = 3 })
  mistake('max is a string, not a number', { type = 'integer', max = '3' })
  mistake('is required and has a default', { fields = { a = { type = 'any', required = true,
    default = 1 } } })
  mistake('the schema.a default is not an integer', { fields = { a = { type = 'integer',
    default = 'x' } } })
  mistake("unknown is 'refuse', 'drop' or 'keep'", { fields = {}, unknown = 'ignore' })
  mistake('is malformed', { type = 'string', pattern = '[' })
  for _, pattern in ipairs { 'a[', 'a%', 'a(', 'a)', 'a[^]', '[a%]', '%b(', '%f', '(%1)', '%0', ('()'):rep(33) } do
    mistake('is malformed', { type = 'string', pattern = pattern })
  end
  for _, pattern in ipairs { '', '^[]]$', '[^]%]]-', '%b()', '%f[%w]', '(a)%1', '(())%2', '%]%)', '[%a-', '%%' } do
    expect.equal(pcall(validation.new, { type = 'string', pattern = pattern }), pattern ~= '[%a-')
  end
  mistake('min_length is more than max_length', { type = 'string', min_length = 3, max_length = 2 })
  mistake('min is more than max', { type = 'integer', min = 3, max = 2 })
  local endless = { fields = {} }
  endless.fields.child = endless
  mistake('more than 100 levels, or contains itself', endless)
  mistake('enum is empty', { type = 'string', enum = {} })
  mistake('the schema.a[] has no type', { fields = { a = { items = {} } } })
  expect.raises('test_validation.lua', function() validation.new {} return 1 end)
end

-- A pattern accepted by a schema never raises an error, whatever the text.
function cases.random_patterns()
  math.randomseed(1)
  local parts = { '(', ')', '[', ']', '%', '^', '$', '-', 'a', 'b', 'f', '1', '.', '*' }
  local function text(length)
    local out = {}
    for i = 1, math.random(length) do
      out[i] = parts[math.random(#parts)]
    end
    return table.concat(out)
  end
  local accepted = 0
  for _ = 1, 20000 do
    local pattern = text(6)
    local ok, checker = pcall(validation.new, { type = 'string', pattern = pattern })
    accepted = accepted + (ok and 1 or 0)
    for _ = 1, ok and 3 or 0 do
      expect.equal({ pattern, (pcall(checker.check, checker, text(6))) }, { pattern, true })
    end
  end
  expect.equal(accepted > 1000, true)
end

-- Decoding and checking any input gives a value or errors, and an accepted value is accepted
-- again, unchanged.
function cases.random_values()
  math.randomseed(1)
  local random = math.random
  local checker = validation.new { fields = {
    a = { type = 'string', max_length = 3, required = true }, b = { type = 'integer', min = 0 },
    c = { items = { fields = { d = { type = 'boolean', nullable = true } }, unknown = 'keep' } },
    e = { type = 'any' }, f = { type = 'number', enum = { 1, 2 }, default = 1 },
  }, unknown = 'drop' }
  local names = { 'a', 'b', 'c', 'd', 'e', 'f', 'zz', 1, 2 }
  local function value(depth)
    local kind = random(depth > 3 and 6 or 8)
    if kind <= 2 then return ('xyz\255\0'):sub(random(5)) end
    if kind == 3 then return random(-2, 3) end
    if kind == 4 then return random() end
    if kind == 5 then return random(2) == 1 end
    if kind == 6 then return json.null end
    local made = {}
    for i = 1, random(0, 4) do
      made[kind == 7 and i or names[random(#names)]] = value(depth + 1)
    end
    return made
  end
  local accepted = 0
  for _ = 1, 20000 do
    local given = { a = random(8) > 1 and 'x' or nil, b = random(3) == 1 and value(1) or nil,
      c = random(2) == 1 and value(1) or nil, e = value(1), zz = value(1) }
    if random(10) == 1 then given = value(0) end
    local found, errors = checker:check(given)
    if found then
      accepted = accepted + 1
      expect.equal(checker:check(found), found)
      expect.equal(found.zz, nil)
    else
      expect.equal(#errors > 0 and #errors <= 20 and type(errors[1].path) == 'string', true)
    end
    local _, text_errors = checker:check_text(type(given) == 'table' and given or { given })
    expect.equal(text_errors == nil or #text_errors > 0, true)
  end
  expect.equal(accepted > 1000, true)
end

return cases
