local expect = require 'expect'
local cookies = require 'moonring.cookies'
local crypto = require 'moonring.crypto'

local cases = {}

local KEY, OLD, OTHER = ('k'):rep(32), ('o'):rep(32), ('x'):rep(32)
local WRONG = 'not signed with these keys'

local function request_with(field)
  return { header_values = function()
    return { field }
  end }
end

local function response()
  local set = {}
  return { set = set, header = function(self, name, value)
    set[#set + 1] = { name, value }
    return self
  end }
end

-- Runs fn as if it were `seconds` later.
local function later(seconds, fn)
  local real = os.time
  local chunk = debug.getinfo(cookies.verify, 'f').func
  local _, signing = debug.getupvalue(chunk, 1)
  for i = 1, 60 do
    local name = debug.getupvalue(signing.verify, i)
    if name == 'time' then
      -- Compiled code treats an upvalue that is never assigned as a constant.
      jit.off(signing.verify)
      jit.flush()
      debug.setupvalue(signing.verify, i, function() return real() + seconds end)
      fn()
      debug.setupvalue(signing.verify, i, real)
      return
    end
  end
  error 'verify has no clock'
end

function cases.what_was_signed_is_verified()
  for _, value in ipairs { '', 'ann', 'a b;c="d",\\', '\0\1\255', ('x'):rep(2000), 'a.b.c' } do
    local text = cookies.sign('user', value, KEY, 60)
    expect.equal(text:match '^[%w_.-]+$', text)
    expect.equal(cookies.verify('user', text, KEY), value)
  end
end

function cases.keys_are_exchanged()
  local old = cookies.sign('user', 'ann', { OLD }, 60)
  expect.equal(cookies.verify('user', old, { KEY, OLD }), 'ann')
  expect.failure(WRONG, cookies.verify('user', old, { KEY }))
  local new = cookies.sign('user', 'ann', { KEY, OLD }, 60)
  expect.equal(cookies.verify('user', new, KEY), 'ann')
  expect.failure(WRONG, cookies.verify('user', new, OLD))
end

function cases.the_name_is_signed()
  local text = cookies.sign('user', 'ann', KEY, 60)
  expect.failure(WRONG, cookies.verify('admin', text, KEY))
  expect.failure(WRONG, cookies.verify('use', text, KEY))
end

function cases.every_changed_or_missing_character_is_seen()
  local text = cookies.sign('user', 'ann', KEY, 60)
  for i = 1, #text do
    for _, with in ipairs { 'A', '0', 'z', '.', '-', '\0', '', ' ', '=' } do
      local forged = text:sub(1, i - 1) .. with .. text:sub(i + 1)
      if forged ~= text and cookies.verify('user', forged, KEY) ~= nil then
        error(forged .. ' passes for ' .. text)
      end
    end
    expect.equal(cookies.verify('user', text:sub(1, i - 1), KEY), nil)
    expect.equal(cookies.verify('user', text:sub(i + 1), KEY), nil)
  end
  expect.failure('malformed', cookies.verify('user', text .. '=', KEY))
  expect.failure('malformed', cookies.verify('user', text .. '.', KEY))
  expect.failure(WRONG, cookies.verify('user', text .. 'A', KEY))
end

-- Bytes cannot move between name, time and value where they meet.
function cases.parts_do_not_run_into_each_other()
  local value, expires, signature = cookies.sign('a', '1', KEY, 60):match '^(.*)%.(.*)%.(.*)$'
  local function forged(other_expires, other_value)
    return crypto.base64url_encode(other_value) .. '.' .. other_expires .. '.' .. signature
  end
  expect.equal(crypto.base64url_decode(value), '1')
  expect.equal(cookies.verify('a', forged(expires, '1'), KEY), '1')
  expect.failure(WRONG, cookies.verify('a', forged(expires .. '1', ''), KEY))
  expect.failure(WRONG, cookies.verify('a' .. expires:sub(1, 1), forged(expires:sub(2), '1'), KEY))
  expect.failure(WRONG, cookies.verify('a', forged('0' .. expires, '1'), KEY))
  expect.failure('malformed', cookies.verify('a', forged(('9'):rep(13), '1'), KEY))
end

function cases.the_time_is_signed()
  local text = cookies.sign('user', 'ann', KEY, 60)
  later(59, function() expect.equal(cookies.verify('user', text, KEY), 'ann') end)
  later(61, function() expect.failure('expired', cookies.verify('user', text, KEY)) end)
  local value, expires, signature = text:match '^(.*)%.(.*)%.(.*)$'
  local longer = value .. '.' .. ('%.0f'):format(expires + 1000) .. '.' .. signature
  expect.failure(WRONG, cookies.verify('user', longer, KEY))
end

-- A signature by the same key for something else is invalid.
function cases.other_uses_of_the_key_sign_no_cookie()
  local value, expires = cookies.sign('user', 'ann', KEY, 60):match '^(.*)%.(.*)%..*$'
  for _, text in ipairs { 'ann', value .. '.' .. expires, 'user\0' .. expires .. '\0ann' } do
    local forged = value .. '.' .. expires .. '.' .. crypto.hmac('sha256', KEY, text, 'base64url')
    expect.failure(WRONG, cookies.verify('user', forged, KEY))
  end
end

function cases.through_request_and_response()
  local res = response()
  expect.equal(cookies.set_signed(res, 'user', 'ann;', { KEY }, { max_age = 60, http_only = true }),
    res)
  local name, field = unpack(res.set[1])
  expect.equal(name, 'Set-Cookie')
  local pair = field:match '^(user=[%w_.-]+); Max%-Age=60; HttpOnly$'
  expect.equal(cookies.read_signed(request_with('a=b; ' .. pair), 'user', KEY), 'ann;')
  expect.failure('missing', cookies.read_signed(request_with 'a=b', 'user', KEY))
  expect.failure('malformed', cookies.read_signed(request_with 'user=ann', 'user', KEY))
  expect.failure(WRONG, cookies.read_signed(request_with(pair), 'user', OTHER))
  expect.failure('malformed', cookies.verify('user', ('a'):rep(5000), KEY))
end

function cases.bad_calls_are_errors()
  expect.raises('cookies.sign: a key has to be a string of at least 16 bytes', cookies.sign, 'a', 'b',
    'short', 60)
  expect.raises('at least 16 bytes', cookies.verify, 'a', 'b', { KEY, 'short' })
  for _, keys in ipairs { {}, 5, true } do
    expect.raises('a key, or a list of 1 to 16', cookies.verify, 'a', 'b', keys)
  end
  expect.raises('a key, or a list of 1 to 16', cookies.verify, 'a', 'b')
  for _, age in ipairs { 0, -1, 1.5, '60', 1e12, 0 / 0 } do
    expect.raises('cookies.sign: max_age has to be the seconds for which the signature is valid',
      cookies.sign, 'a', 'b', KEY, age)
  end
  expect.raises('cookies.set_signed: max_age', cookies.set_signed, response(), 'a', 'b', KEY)
  expect.raises('the name has to be a token', cookies.sign, 'a b', 'c', KEY, 60)
  expect.raises('the name has to be a token', cookies.verify, 'a\0b', 'c', KEY)
  expect.raises('the value has to be a string, not a number', cookies.sign, 'a', 1, KEY, 60)
  expect.raises('a is longer than 4096 bytes', cookies.set_signed, response(), 'a', ('x'):rep(4000),
    KEY, { max_age = 60 })
end

return cases
