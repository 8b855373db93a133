local expect = require 'expect'
local cookies = require 'moonring.cookies'

local cases = {}

function cases.cookies_become_a_table()
  expect.equal(cookies.parse 'a=1; b=two', { a = '1', b = 'two' })
  expect.equal(cookies.parse '', {})
  expect.equal(cookies.parse 'a=1;b=2 ; c = "x y=z" ', { a = '1', b = '2', c = '"x y=z"' })
  expect.equal(cookies.parse 'a=', { a = '' })
end

function cases.what_is_no_pair_is_left_out()
  expect.equal(cookies.parse ';;flag; =no name; ok=1;', { ok = '1' })
  expect.equal(cookies.parse '=', {})
  expect.equal(cookies.parse '   ', {})
end

function cases.the_first_of_repeated_names_wins()
  expect.equal(cookies.parse 'a=specific; a=general', { a = 'specific' })
end

function cases.more_than_the_limit_are_a_failure()
  expect.equal(cookies.parse(('a=1;'):rep(200)), { a = '1' })
  expect.failure('more than 200 cookies', cookies.parse(('a=1;'):rep(201)))
end

local function request_with(...)
  local fields = { ... }
  return { header_values = function(_, name) return name == 'Cookie' and fields or {} end }
end

function cases.a_request_without_cookies_has_none()
  expect.equal(cookies.read(request_with()), {})
  expect.equal(cookies.read(request_with 'a=b'), { a = 'b' })
end

function cases.cookies_of_all_fields_count()
  expect.equal(cookies.read(request_with('a=1; b=2', 'b=3; c=4', 'd=5')),
    { a = '1', b = '2', c = '4', d = '5' })
  expect.failure('more than 200 cookies', cookies.read(request_with(('a=1;'):rep(150), ('b=1;'):rep(51))))
end

function cases.every_option_is_written()
  expect.equal(cookies.format('a', 'b'), 'a=b')
  expect.equal(cookies.format('a', ''), 'a=')
  expect.equal(
    cookies.format('__Secure-id', 'x=1', {
      path = '/app', domain = 'example.org', max_age = 3600, expires = 784111777,
      same_site = 'Lax', secure = true, http_only = true, partitioned = true,
    }),
    '__Secure-id=x=1; Path=/app; Domain=example.org; Max-Age=3600; '
      .. 'Expires=Sun, 06 Nov 1994 08:49:37 GMT; SameSite=Lax; Secure; HttpOnly; Partitioned')
  expect.equal(cookies.format('a', 'b', { secure = false, max_age = -1 }), 'a=b; Max-Age=-1')
end

function cases.a_response_gets_the_field()
  local res = { header = function(self, name, value)
    self[name] = value
    return self
  end }
  expect.equal(cookies.set(res, 'a', 'b', { path = '/' }) == res, true)
  expect.equal(res['Set-Cookie'], 'a=b; Path=/')
end

function cases.bad_names_and_values_raise_at_the_caller()
  for _, name in ipairs { '', 'a b', 'a=b', 'a;b', 'a\r\nb', 'a,b', '\195\169', 'a\0', '"a"' } do
    expect.raises('has to be a token', cookies.format, name, '')
  end
  expect.raises('has to be a token', cookies.format, nil, '')
  for _, value in ipairs { 'a b', 'a;b', 'a\r\nX: y', '"a"', 'a,b', 'a\\b', '\0', '\195\169' } do
    expect.raises('the value of a has to be', cookies.format, 'a', value)
  end
  expect.raises('the value of a has to be', cookies.format, 'a', 5)
  for _, call in ipairs { cookies.format, function(...) cookies.set({}, ...) end } do
    local message = expect.raises('token', function()
      call('a b', '')
      return true
    end)
    expect.equal(message:match 'test_cookies.lua' ~= nil, true)
  end
end

function cases.bad_options_raise()
  for option, values in pairs {
    path = { '', 'a', '/a;b', '/a\r\n', 1 },
    domain = { '', 'a b', 'a;b', '-', 1 },
    max_age = { '1', 1.5, 0 / 0, 1 / 0 },
    expires = { '1', -1, 0 / 0, 1 / 0 },
    same_site = { 'lax', 'Anything', true },
    secure = { 'yes', 1 },
  } do
    for _, value in ipairs(values) do
      expect.raises(option .. ' of a is not valid', cookies.format, 'a', 'b', { [option] = value })
    end
  end
  expect.raises('has no member "httponly": did you mean "http_only"?', cookies.format, 'a', 'b', { httponly = true })
  expect.raises('the options are a table', cookies.format, 'a', 'b', 5)
  expect.raises('path of a is not valid', cookies.format, 'a', 'b', { path = '/' .. ('x'):rep(1024) })
  expect.raises('longer than 4096 bytes', cookies.format, 'a', ('x'):rep(4096))
end

function cases.what_browsers_refuse_raises()
  expect.raises('needs secure', cookies.format, '__Secure-a', 'b', {})
  expect.raises("needs path = '/'", cookies.format, '__Host-a', 'b', { secure = true })
  expect.raises("needs path = '/'", cookies.format, '__host-a', 'b',
    { secure = true, path = '/', domain = 'example.org' })
  expect.raises('needs secure', cookies.format, '__Host-a', 'b', { path = '/' })
  expect.equal(cookies.format('__Host-a', 'b', { path = '/', secure = true }),
    '__Host-a=b; Path=/; Secure')
  expect.raises('need secure', cookies.format, 'a', 'b', { same_site = 'None' })
  expect.raises('need secure', cookies.format, 'a', 'b', { partitioned = true })
end

function cases.long_texts_take_linear_time()
  for _, piece in ipairs { 'a', ';', '=', ' ', 'a;', 'a =', 'a=b;', '\t;' } do
    expect.linear(function(length)
      return piece:rep(length / #piece)
    end, cookies.parse)
  end
  expect.linear(function(length) return 'a=' .. (' '):rep(length) .. 'b' end, cookies.parse)
  expect.linear(function(length) return ('a;'):rep(length / 2) .. '=' end, cookies.parse)
  expect.linear(function(length) return (' '):rep(length) .. 'b=c' end, cookies.parse)
end

return cases
