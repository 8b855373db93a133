-- moonring.resp: encoding of commands, and parsing of replies, in whatever pieces they arrive.
local buffer = require 'string.buffer'
local ffi = require 'ffi'
local expect = require 'expect'
local resp = require 'moonring.resp'

local cases = {}

local null = resp.null

local function encoded(...)
  local out = buffer.new()
  resp.encode(out, ...)
  return out:tostring()
end

local function bytes_of(text)
  return ffi.cast('const uint8_t *', text)
end

-- Like a connection: keeps unused bytes until more has arrived. Returns a list of
-- { kind, value } for all replies in the text, which arrives in pieces of `size` bytes.
local function decode(text, size, decoder)
  decoder = decoder or resp.decoder(1024 * 1024, 8)
  local found, kept, at = {}, '', 1
  while at <= #text do
    kept = kept .. text:sub(at, at + size - 1)
    at = at + size
    local done, len = 0, #kept
    if len >= decoder.need then
      local p = bytes_of(kept)
      while true do
        local kind, value
        done, kind, value = decoder:next(p, done, len)
        if not kind then
          break
        end
        found[#found + 1] = { kind, value }
        if kind == resp.BROKEN then
          return found
        end
      end
      kept = kept:sub(done + 1)
    end
  end
  return found, kept
end

-- As plain tables, so that errors and NaN can be compared.
local function shown(value)
  if resp.is_error(value) then
    return { code = value.code, message = value.message, slot = value.slot, host = value.host,
      port = value.port }
  elseif value == null then
    return 'NULL'
  elseif value ~= value then
    return 'NaN'
  elseif type(value) == 'table' then
    local copy = {}
    for key, item in pairs(value) do
      copy[type(key) == 'table' and table.concat(key, ',') or key] = shown(item)
    end
    return copy
  end
  return value
end

-- The same for pieces of every size.
local function expect_replies(text, expected, new_decoder)
  for size = 1, #text do
    local found = decode(text, size, new_decoder and new_decoder())
    for i, reply in ipairs(found) do
      found[i] = { reply[1], shown(reply[2]) }
    end
    expect.equal(found, expected)
  end
end

local function expect_value(text, value)
  expect_replies(text, { { resp.VALUE, value } })
end

function cases.nulls_are_those_of_json()
  expect.equal(null == require('moonring.json').null, true)
end

function cases.commands_are_arrays_of_strings()
  expect.equal(encoded('PING'), '*1\r\n$4\r\nPING\r\n')
  expect.equal(encoded('GET', 'k'), '*2\r\n$3\r\nGET\r\n$1\r\nk\r\n')
  expect.equal(encoded('SET', 'a\r\n\0', ''), '*3\r\n$3\r\nSET\r\n$4\r\na\r\n\0\r\n$0\r\n\r\n')
  expect.equal(encoded('INCRBY', 'k', 7), '*3\r\n$6\r\nINCRBY\r\n$1\r\nk\r\n$1\r\n7\r\n')
end

function cases.numbers_are_sent_without_loss()
  local function sent(number)
    return (encoded('ECHO', number):match '\r\n([^\r]*)\r\n$')
  end
  expect.equal(sent(0), '0')
  expect.equal(sent(-5), '-5')
  expect.equal(sent(99999999999999), '99999999999999')
  expect.equal(sent(2 ^ 53), '9007199254740992')
  expect.equal(sent(0.1), '0.10000000000000001')
  expect.equal(sent(1 / 0), 'inf')
  expect.equal(sent(9007199254740993LL), '9007199254740993')
  expect.equal(sent(18446744073709551615ULL), '18446744073709551615')
end

function cases.what_cannot_be_sent_is_named()
  expect.raises('SET: argument 2 is nil; strings and numbers can be sent', encoded, 'SET', 'k', nil)
  expect.raises('GET: argument 1 is a table', encoded, 'GET', {})
  expect.raises('SET: argument 2 is a boolean', encoded, 'SET', 'k', true)
  expect.raises('not a number (NaN)', encoded, 'ECHO', 0 / 0)
  expect.raises('at most 67108864 bytes', encoded, 'SET', 'k', ('x'):rep(64 * 1024 * 1024))
end

function cases.names_of_commands()
  expect.equal(resp.name_of 'get', 'GET')
  expect.equal(resp.name_of 'JSON.get', 'JSON.GET')
  expect.equal(resp.name_of 'a b', nil)
  expect.equal(resp.name_of 'get\r\n', nil)
  expect.equal(resp.name_of '', nil)
end

function cases.each_type_of_reply()
  expect_value('+OK\r\n', 'OK')
  expect_value('+\r\n', '')
  expect_value(':0\r\n', 0)
  expect_value(':-12\r\n', -12)
  expect_value(':+12\r\n', 12)
  expect_value('$0\r\n\r\n', '')
  expect_value('$5\r\nhello\r\n', 'hello')
  expect_value('$12\r\nhello\r\nworld\r\n', 'hello\r\nworld')
  expect_value('$-1\r\n', 'NULL')
  expect_value('*-1\r\n', 'NULL')
  expect_value('_\r\n', 'NULL')
  expect_value('#t\r\n', true)
  expect_value('#f\r\n', false)
  expect_value(',1.5\r\n', 1.5)
  expect_value(',-1e3\r\n', -1000)
  expect_value(',10\r\n', 10)
  expect_value(',inf\r\n', 1 / 0)
  expect_value(',-inf\r\n', -1 / 0)
  expect_value(',nan\r\n', 'NaN')
  expect_value('(3492890328409238509324850943850943825024385\r\n', '3492890328409238509324850943850943825024385')
  expect_value('=15\r\ntxt:Some string\r\n', 'Some string')
  expect_value('*0\r\n', {})
  expect_value('*3\r\n:1\r\n$-1\r\n+x\r\n', { 1, 'NULL', 'x' })
  expect_value('~2\r\n+a\r\n+b\r\n', { 'a', 'b' })
  expect_value('%2\r\n+a\r\n:1\r\n:2\r\n*1\r\n#t\r\n', { a = 1, [2] = { true } })
  expect_value('%1\r\n*2\r\n+a\r\n+b\r\n+c\r\n', { ['a,b'] = 'c' })
  expect_value('%0\r\n', {})
end

function cases.integers_that_a_number_does_not_hold_are_text()
  expect_value(':9007199254740991\r\n', 2 ^ 53 - 1)
  expect_value(':9007199254740993\r\n', '9007199254740993')
  expect_value(':-9223372036854775808\r\n', '-9223372036854775808')
end

function cases.errors_have_codes()
  local function failed(text, code, message, more)
    local expected = { code = code, message = message }
    for name, value in pairs(more or {}) do
      expected[name] = value
    end
    expect_replies(text, { { resp.FAILED, expected } })
  end
  failed('-WRONGTYPE Operation against\r\n', 'WRONGTYPE', 'WRONGTYPE Operation against')
  failed("-ERR unknown command 'x'\r\n", 'ERR', "ERR unknown command 'x'")
  failed('-something else\r\n', 'ERR', 'something else')
  failed('-\r\n', 'ERR', '')
  failed('!10\r\nSYNTAX a\r\n\r\n', 'SYNTAX', 'SYNTAX a\r\n')
  failed('-MOVED 3999 127.0.0.1:6381\r\n', 'MOVED', 'MOVED 3999 127.0.0.1:6381',
    { slot = 3999, host = '127.0.0.1', port = 6381 })
  failed('-ASK 1 ::1:7\r\n', 'ASK', 'ASK 1 ::1:7', { slot = 1, host = '::1', port = 7 })
  failed('-MOVED\r\n', 'MOVED', 'MOVED')
  expect_value('*2\r\n-NOSCRIPT no\r\n:1\r\n', { { code = 'NOSCRIPT', message = 'NOSCRIPT no' }, 1 })
end

function cases.replies_follow_each_other()
  expect_replies('+a\r\n$3\r\nabc\r\n*1\r\n*1\r\n:5\r\n$-1\r\n-ERR x\r\n+b\r\n', {
    { resp.VALUE, 'a' }, { resp.VALUE, 'abc' }, { resp.VALUE, { { 5 } } }, { resp.VALUE, 'NULL' },
    { resp.FAILED, { code = 'ERR', message = 'ERR x' } }, { resp.VALUE, 'b' },
  })
  expect_replies(('$1\r\nx\r\n_\r\n'):rep(4), {
    { resp.VALUE, 'x' }, { resp.VALUE, 'NULL' }, { resp.VALUE, 'x' }, { resp.VALUE, 'NULL' },
    { resp.VALUE, 'x' }, { resp.VALUE, 'NULL' }, { resp.VALUE, 'x' }, { resp.VALUE, 'NULL' },
  })
end

function cases.pushes_stand_beside_replies()
  expect_replies('>2\r\n+invalidate\r\n*1\r\n+k\r\n+OK\r\n>0\r\n', {
    { resp.PUSH, { 'invalidate', { 'k' } } }, { resp.VALUE, 'OK' }, { resp.PUSH, {} },
  })
end

function cases.attributes_are_passed_over()
  expect_replies('|1\r\n+ttl\r\n:3600\r\n*2\r\n|1\r\n+a\r\n*1\r\n+b\r\n:1\r\n:2\r\n|0\r\n+OK\r\n', {
    { resp.VALUE, { 1, 2 } }, { resp.VALUE, 'OK' },
  })
end

function cases.what_is_no_protocol_breaks()
  local function breaks(text, why)
    for size = 1, #text do
      local found = decode(text, size)
      local last = found[#found]
      if not last or last[1] ~= resp.BROKEN or not last[2]:find(why, 1, true) then
        error(('%q in pieces of %d: %s'):format(text, size, last and tostring(last[2]) or 'no end'))
      end
    end
  end
  breaks('HTTP/1.1 400 Bad Request\r\n', 'an unknown type (byte 72)')
  breaks('+OK\n', 'does not end in CR LF')
  breaks('\r\n\r\n', 'does not end in CR LF')
  breaks(':\r\n', 'an integer that is none')
  breaks(':1x\r\n', 'an integer that is none')
  breaks(':--1\r\n', 'an integer that is none')
  breaks(':123456789012345678901\r\n', 'an integer that is none')
  breaks('$-2\r\n', 'a length that cannot be')
  breaks('$x\r\nabc\r\n', 'a length that cannot be')
  breaks('$99999999999999\r\n', 'a length that cannot be')
  breaks('$?\r\n', 'a streamed string')
  breaks('*?\r\n', 'a streamed reply')
  breaks('*-2\r\n', 'a length that cannot be')
  breaks('*9999999999\r\n', 'a length that cannot be')
  breaks('~-1\r\n', 'a length that cannot be')
  breaks('$3\r\nabcd\r\n', 'a string that does not end in CR LF')
  breaks('$3\r\nab\r\n\r\n', 'a string that does not end in CR LF')
  breaks('=3\r\nabc\r\n', 'a verbatim string without its format')
  breaks('=5\r\nabcde\r\n', 'a verbatim string without its format')
  breaks('_x\r\n', 'a null that is none')
  breaks('#x\r\n', 'a boolean that is none')
  breaks('#tf\r\n', 'a boolean that is none')
  breaks(',0x10\r\n', 'a double that is none')
  breaks(',1e\r\n', 'a double that is none')
  breaks('(12a\r\n', 'a big number that is none')
  breaks('%1\r\n_\r\n+a\r\n', 'a map with a key that cannot be')
  breaks('%1\r\n,nan\r\n+a\r\n', 'a map with a key that cannot be')
  breaks('*1\r\n>1\r\n+a\r\n', 'a push inside of a reply')
  breaks(('*1\r\n'):rep(9) .. ':1\r\n', 'nested more than 8 deep')
  breaks(':' .. ('1'):rep(100), 'a line that is too long')
end

function cases.a_line_has_a_limit()
  local text = '+' .. ('x'):rep(64 * 1024) .. '\r\n'
  expect.equal(#decode(text, 1000)[1][2], 64 * 1024)
  local found = decode('+' .. ('x'):rep(70 * 1024), 1000)
  expect.equal(found[1][2], 'a line that is too long')
end

function cases.what_is_too_large_is_dropped_and_the_next_reply_is_right()
  local function small()
    return resp.decoder(100, 8)
  end
  local dropped = { resp.FAILED, { code = 'too large', message = 'the reply is larger than max_reply' } }
  local ok = { resp.VALUE, 'OK' }
  expect_replies('$84\r\n' .. ('x'):rep(84) .. '\r\n+OK\r\n', { { resp.VALUE, ('x'):rep(84) }, ok }, small)
  expect_replies('$85\r\n' .. ('x'):rep(85) .. '\r\n+OK\r\n', { dropped, ok }, small)
  expect_replies('$500\r\n' .. ('x\r\n'):rep(166) .. 'xx\r\n+OK\r\n', { dropped, ok }, small)
  -- Many small ones, nested ones, and lengths that announce more than is allowed.
  expect_replies('*8\r\n' .. (':1\r\n'):rep(8) .. '+OK\r\n', { dropped, ok }, small)
  expect_replies('*2\r\n*2\r\n+a\r\n$90\r\n' .. ('y'):rep(90) .. '\r\n%1\r\n+k\r\n*1\r\n_\r\n+OK\r\n',
    { dropped, ok }, small)
  expect_replies('>2\r\n+message\r\n$200\r\n' .. ('z'):rep(200) .. '\r\n+OK\r\n',
    { { resp.PUSH, dropped[2] }, ok }, small)
end

function cases.a_length_reserves_nothing()
  collectgarbage()
  local before = collectgarbage 'count'
  local decoder = resp.decoder(64 * 1024 * 1024, 8)
  decode('*2000000\r\n*1000000\r\n:1\r\n', 64, decoder)
  expect.equal(collectgarbage 'count' - before < 1024, true)
end

-- A value and its bytes.
local function random_value(random, depth)
  local kinds = depth > 0 and 9 or 6
  local kind = random(kinds)
  if kind == 1 then
    local text = ('\r\n\0x$'):rep(random(0, 40)):sub(1, random(0, 120))
    return text, ('$%d\r\n%s\r\n'):format(#text, text)
  elseif kind == 2 then
    local number = random(-100000, 100000)
    return number, (':%d\r\n'):format(number)
  elseif kind == 3 then
    return 'NULL', random(2) == 1 and '$-1\r\n' or '_\r\n'
  elseif kind == 4 then
    return true, '#t\r\n'
  elseif kind == 5 then
    local text = ('ab'):rep(random(0, 20))
    return text, '+' .. text .. '\r\n'
  elseif kind == 6 then
    return 0.5, ',0.5\r\n'
  end
  local count = random(0, 4)
  local values, parts = {}, {}
  for i = 1, count do
    local value, bytes = random_value(random, depth - 1)
    if kind == 9 then
      values['k' .. i] = value
      bytes = ('+k%d\r\n'):format(i) .. bytes
    else
      values[i] = value
    end
    parts[i] = bytes
  end
  local sign = kind == 9 and '%' or kind == 8 and '~' or '*'
  return values, sign .. count .. '\r\n' .. table.concat(parts)
end

function cases.random_replies_in_random_pieces()
  math.randomseed(7)
  local random = math.random
  for _ = 1, 300 do
    local expected, bytes = {}, {}
    for i = 1, random(6) do
      local value, text = random_value(random, 4)
      expected[i] = value
      bytes[i] = text
    end
    local text = table.concat(bytes)
    local found = decode(text, random(math.min(#text, 50)))
    expect.equal(#found, #expected)
    for i, reply in ipairs(found) do
      expect.equal(shown(reply[2]), expected[i])
    end
  end
end

-- Neither an error nor a wrong size, whatever the bytes: they end at the end of a page, so that a
-- read past them would be noticed by a sanitizer.
function cases.any_bytes_are_replies_or_broken()
  math.randomseed(11)
  local random = math.random
  local letters = { '+', '-', ':', '$', '*', '_', ',', '(', '#', '!', '=', '%', '~', '>', '|', '\r\n', '\r\n',
    '\r\n', '\r', '\n', '0', '1', '2', '3', '-1', 'a', 't', '\0', '$1\r\nx\r\n', '*2\r\n' }
  for _ = 1, 5000 do
    local parts = {}
    for i = 1, random(30) do
      parts[i] = letters[random(#letters)]
    end
    local text = table.concat(parts)
    local whole = decode(text, #text)
    for _, size in ipairs { 1, random(#text) } do
      local found = decode(text, size)
      expect.equal(#found, #whole)
      for i, reply in ipairs(found) do
        expect.equal({ reply[1], shown(reply[2]) }, { whole[i][1], shown(whole[i][2]) })
      end
    end
  end
end

return cases
