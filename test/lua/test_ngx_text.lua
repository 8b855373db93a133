local expect = require 'expect'
local text = require 'moonring.ngx_text'

local cases = {}

function cases.components_are_escaped()
  expect.equal(text.escape_uri 'a b/?&=+%;"\255', 'a%20b%2F%3F%26%3D%2B%25%3B%22%FF')
  expect.equal(text.escape_uri "AZ09-._~!*'()", "AZ09-._~!*'()")
  expect.equal(text.escape_uri('a b/?#%\1', 0), 'a%20b/%3F%23%25%01')
  expect.equal(text.escape_uri(nil), '')
  expect.raises('out of range', text.escape_uri, 'a', 99)
end

function cases.what_is_malformed_stays()
  expect.equal(text.unescape_uri 'a%20b+c%2', 'a b c%2')
  expect.equal(text.unescape_uri '%zz%41', '%zzA')
end

function cases.paths_are_normalized()
  for path, normal in pairs { ['/a//b/./c/../d'] = '/a/b/d', ['/'] = '/', ['/..'] = '/',
    ['/a/..'] = '/', ['/%2e%2e/x'] = '/x', ['/a/b/'] = '/a/b/', ['/a/.'] = '/a/', ['/a/b/..'] = '/a/',
    ['/...'] = '/...', ['/../../etc/passwd'] = '/etc/passwd' } do
    expect.equal(text.normalize_path(path), normal)
  end
end

function cases.arguments_are_decoded_and_encoded()
  expect.equal(text.decode_args 'a=1&b&c=&=x&a=2&%64=%20', { a = { '1', '2' }, b = true, c = '', d = ' ' })
  local result, truncated = text.decode_args('a&b&c', 2)
  expect.equal(result, { a = true, b = true })
  expect.equal(truncated, 'truncated')
  expect.equal(text.decode_args(('x&'):rep(150), 0).x[150], true)
  expect.equal(text.encode_args { ['a b'] = 1 }, 'a%20b=1')
  expect.equal(text.encode_args { a = { 1, true, false, 'x' } }, 'a=1&a&a=x')
  expect.raises('query arg value', text.encode_args, { a = print })
end

function cases.digests_are_those_of_the_rfcs()
  expect.equal(text.md5 'abc', '900150983cd24fb0d6963f7d28e17f72')
  expect.equal(#text.md5_bin '', 16)
  expect.equal(text.crc32 '123456789', 0xcbf43926)
  expect.equal(text.crc32 '', 0)
end

function cases.base64_may_lack_its_padding()
  expect.equal(text.encode_base64 'ab', 'YWI=')
  expect.equal(text.encode_base64('ab', true), 'YWI')
  for length = 0, 40 do
    local data = ('\0\255x'):rep(20):sub(1, length)
    expect.equal(text.decode_base64(text.encode_base64(data)), data)
    expect.equal(text.decode_base64(text.encode_base64(data, true)), data)
    expect.equal(text.decode_base64url(text.encode_base64url(data)), data)
  end
  expect.equal(text.decode_base64 'YWJ=', 'ab')
  expect.equal(text.decode_base64 'a*b=', nil)
  expect.equal(text.decode_base64 'a', nil)
  expect.equal(text.decode_base64mime 'Y\r\nW-I=', 'ab')
end

function cases.times_have_their_forms()
  expect.equal(text.http_time(1290079655), 'Thu, 18 Nov 2010 11:27:35 GMT')
  expect.equal(text.cookie_time(1290079655), 'Thu, 18-Nov-10 11:27:35 GMT')
  for _, form in ipairs { 'Thu, 18 Nov 2010 11:27:35 GMT', 'Thursday, 18-Nov-10 11:27:35 GMT',
    'Thu Nov 18 11:27:35 2010' } do
    expect.equal(text.parse_http_time(form), 1290079655)
  end
  expect.equal(text.parse_http_time 'Thu, 29 Feb 2024 00:00:00 GMT', 1709164800)
  expect.equal(text.parse_http_time 'Thu, 01 Jan 1970 00:00:00 GMT', 0)
  for _, form in ipairs { '', 'x', 'Thu, 18 Abc 2010 11:27:35 GMT', 'Thu, 18 Nov 2010 25:27:35 GMT' } do
    expect.equal(text.parse_http_time(form), nil)
  end
end

function cases.sql_strings_are_quoted()
  expect.equal(text.quote_sql_str "a'b\"\\\n\0", [['a\'b\"\\\n\0']])
end

return cases
