-- moonring.url: accepted and rejected URLs, and references.
local expect = require 'expect'
local url = require 'moonring.url'

local cases = {}

local function parts(text)
  local found, problem = url.parse(text)
  if not found then
    error(text .. ': ' .. problem, 2)
  end
  return ('%s %s %d %s %s %s:%s'):format(found.scheme, found.host, found.port, found.authority,
    found.target, tostring(found.user), tostring(found.password))
end

function cases.parts_of_a_url()
  expect.equal(parts 'http://a', 'http a 80 a / nil:nil')
  expect.equal(parts 'HTTPS://Example.COM/X?y=Z#f', 'https example.com 443 example.com /X?y=Z nil:nil')
  expect.equal(parts 'http://a:8080/b/c', 'http a 8080 a:8080 /b/c nil:nil')
  expect.equal(parts 'http://a:80?q', 'http a 80 a /?q nil:nil')
  expect.equal(parts 'https://a:80/', 'https a 80 a:80 / nil:nil')
  expect.equal(parts 'http://a:/', 'http a 80 a / nil:nil')
  expect.equal(parts 'http://a#/b', 'http a 80 a / nil:nil')
  expect.equal(parts 'http://a//b/../c', 'http a 80 a //b/../c nil:nil')
  expect.equal(parts "http://a/-._~!$&'()*+,;=:@%41/?/?", "http a 80 a /-._~!$&'()*+,;=:@%41/?/? nil:nil")
  expect.equal(url.parse('https://A:443/x').origin, 'https://a')
end

function cases.user_and_password()
  expect.equal(parts 'http://u:p@a/', 'http a 80 a / u:p')
  expect.equal(parts 'http://u@a/', 'http a 80 a / u:')
  expect.equal(parts 'http://%40:a%3Ab:c@a/', 'http a 80 a / @:a:b:c')
  expect.equal(parts 'http://@a/', 'http a 80 a / :')
  for _, text in ipairs { 'http://a@b@c/', 'http://a%3Ab@c/', 'http://a%4@c/', 'http://a b@c/' } do
    expect.failure('bad URL: ', url.parse(text))
  end
end

function cases.addresses()
  expect.equal(parts 'http://127.0.0.1:1/', 'http 127.0.0.1 1 127.0.0.1:1 / nil:nil')
  expect.equal(parts 'http://[::1]/', 'http ::1 80 [::1] / nil:nil')
  expect.equal(parts 'https://[FE80::1:2]:8443/', 'https fe80::1:2 8443 [fe80::1:2]:8443 / nil:nil')
  for _, text in ipairs { '::', '1::', '::1:2', '1:2:3:4:5:6:7:8', '::ffff:1.2.3.4', '1:2:3:4:5:6:7::' } do
    expect.equal(url.parse('http://[' .. text .. ']/').host, text)
  end
  for _, text in ipairs { '', ':', ':::', '1', '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7', '::1::', '12345::', 'g::',
    ':1:2:3:4:5:6:7', '1:2:3:4:5:6:7:', '::1.2.3', '::1.2.3.256', '1.2.3.4', '::1%25eth0', '::1%eth0',
    '1:2:3:4:5:6:7:1.2.3.4', '1:2:3:4:5:6:7:8::' } do
    expect.failure('bad URL: the brackets hold no IPv6 address', url.parse('http://[' .. text .. ']/'))
  end
end

function cases.numbers_that_the_system_takes_for_an_address_are_refused()
  for _, host in ipairs { '2130706433', '0x7f000001', '127.1', '0177.0.0.1', '1.2.3.4.5', '1.2.3.256',
    '127.0.0.1.', 'a.1', 'a.0x', '01.2.3.4' } do
    expect.failure('bad URL: the host is no IPv4 address', url.parse('http://' .. host .. '/'))
  end
  expect.equal(url.parse('http://1a.2b').host, '1a.2b')
end

function cases.what_is_refused()
  for _, text in ipairs { '', 'a', '/a', '//a/b', 'a:80', 'http:', 'http:/a', 'http:///a', 'http://', 'http://:80/',
    'ftp://a/', 'javascript://a/', 'http://a:x/', 'http://a:0/', 'http://a:65536/', 'http://a:1:2/',
    'http://a:+1/', 'http://a:99999999999999999999/', 'http://[::1/', 'http://[::1]x/', 'http://[::1]80/',
    'http://a b/', 'http://a%41/', 'http://a_é/', 'http://a..b/', 'http://.a/', 'http://a\\b/', 'http://a\r\nb/',
    ' http://a/', 'http://a/ b', 'http://a/\r\nX: y', 'http://a/\0', 'http://a/é', 'http://a/"', 'http://a/<>',
    'http://a/[x]', 'http://a/{x}', 'http://a/|', 'http://a/\\', 'http://a/^', 'http://a/`', 'http://a/\127',
    'http://a/%', 'http://a/%4', 'http://a/%4g', 'http://a/?%zz', 'http://' .. ('a'):rep(64) .. '/',
    'http://' .. ('a.'):rep(127) .. 'a/' } do
    expect.failure('bad URL: ', url.parse(text))
  end
  expect.failure('it is a nil', url.parse(nil))
  expect.failure('it is a table', url.parse {})
end

function cases.underscores_and_a_final_dot_are_names()
  expect.equal(url.parse('http://my_service.internal./').host, 'my_service.internal.')
end

-- RFC 3986 §5.4.
function cases.references()
  local base = 'http://a/b/c/d;p?q'
  local meanings = {
    ['g'] = 'http://a/b/c/g', ['./g'] = 'http://a/b/c/g', ['g/'] = 'http://a/b/c/g/', ['/g'] = 'http://a/g',
    ['//g'] = 'http://g', ['?y'] = 'http://a/b/c/d;p?y', ['g?y'] = 'http://a/b/c/g?y',
    ['#s'] = 'http://a/b/c/d;p?q', ['g#s'] = 'http://a/b/c/g', ['g?y#s'] = 'http://a/b/c/g?y',
    [';x'] = 'http://a/b/c/;x', [''] = 'http://a/b/c/d;p?q', ['.'] = 'http://a/b/c/', ['./'] = 'http://a/b/c/',
    ['..'] = 'http://a/b/', ['../'] = 'http://a/b/', ['../g'] = 'http://a/b/g', ['../..'] = 'http://a/',
    ['../../g'] = 'http://a/g', ['../../../g'] = 'http://a/g', ['/./g'] = 'http://a/g', ['/../g'] = 'http://a/g',
    ['g.'] = 'http://a/b/c/g.', ['.g'] = 'http://a/b/c/.g', ['g..'] = 'http://a/b/c/g..', ['..g'] = 'http://a/b/c/..g',
    ['./../g'] = 'http://a/b/g', ['./g/.'] = 'http://a/b/c/g/', ['g/./h'] = 'http://a/b/c/g/h',
    ['g/../h'] = 'http://a/b/c/h', ['g;x=1/../y'] = 'http://a/b/c/y', ['g?y/./x'] = 'http://a/b/c/g?y/./x',
    ['https://x/y'] = 'https://x/y', ['mailto:x'] = 'mailto:x', ['ä b'] = 'http://a/b/c/%C3%A4%20b',
  }
  for reference, meaning in pairs(meanings) do
    expect.equal({ reference, (url.resolve(base, reference)) }, { reference, meaning })
  end
  expect.equal((url.resolve('http://u:p@a:81', 'x')), 'http://a:81/x')
  expect.failure('bad URL: ', url.resolve('a', 'b'))
end

-- An accepted URL can be sent unchanged, and gives the same result when it is parsed again.
function cases.random_input()
  local words = { 'http://', 'https://', 'a', 'B.c', '[::1]', '127.0.0.1', ':80', ':', '@', '/', '?', '#', '%41', '%', ' ',
    '\r\n', '\0', 'é', '..', '.', '0x7f', '\\', 'u:p@', '[', ']', '//', '\127' }
  for _ = 1, 20000 do
    local pieces = { math.random() < 0.8 and 'http://' or '' }
    for i = 2, math.random(2, 8) do
      pieces[i] = words[math.random(#words)]
    end
    local text = table.concat(pieces)
    local found, problem = url.parse(text)
    if found then
      local sent = found.target .. found.authority
      if sent:find '[%z\1-\32\127-\255]' or found.target:sub(1, 1) ~= '/' or found.host == '' then
        error(('%q: %q, %q'):format(text, found.authority, found.target))
      end
      local again = url.parse(found.origin .. found.target)
      expect.equal({ again.host, again.port, again.target }, { found.host, found.port, found.target })
    else
      expect.equal(problem:find('bad URL: ', 1, true), 1)
    end
  end
end

function cases.long_urls_take_linear_time()
  for _, piece in ipairs { '/a', '%41', '/../', ':', '.' } do
    expect.linear(function(length) return 'http://a/' .. piece:rep(length / #piece) end, url.parse)
    expect.linear(function(length) return piece:rep(length / #piece) end, function(text)
      return url.resolve('http://a/b', text)
    end)
  end
end

return cases
