-- Password authentication for PostgreSQL: MD5, and SCRAM-SHA-256 (RFC 5802, RFC 7677), which also proves that
-- the server knows the password.
local bit = require 'bit'
local ffi = require 'ffi'
local crypto = require 'moonring.crypto'
local scheduler = require 'moonring.scheduler'

local band, bnot, bor, bxor, rol = bit.band, bit.bnot, bit.bor, bit.bxor, bit.rol
local byte, char, format, rep, sub = string.byte, string.char, string.format, string.rep, string.sub
local match, tohex, bswap = string.match, bit.tohex, bit.bswap
local concat, floor, tonumber = table.concat, math.floor, tonumber
local hmac, sha256 = crypto.hmac, crypto.sha256

local _M = {}

-- ---- MD5 (RFC 1321), which the server's oldest way needs and nothing else should. ----

local SHIFTS = { { 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 } }
local SINES = {}
for i = 1, 64 do
  SINES[i] = bit.tobit(floor(math.abs(math.sin(i)) * 2 ^ 32))
end

local function mix(round, b, c, d)
  if round == 1 then
    return bor(band(b, c), band(bnot(b), d))
  elseif round == 2 then
    return bor(band(d, b), band(bnot(d), c))
  elseif round == 3 then
    return bxor(b, c, d)
  end
  return bxor(c, bor(b, bnot(d)))
end

local function place(round, i)
  if round == 1 then
    return i
  elseif round == 2 then
    return (5 * i + 1) % 16
  elseif round == 3 then
    return (3 * i + 5) % 16
  end
  return (7 * i) % 16
end

local function little_endian(value)
  return char(band(value, 255), band(bit.rshift(value, 8), 255), band(bit.rshift(value, 16), 255),
    band(bit.rshift(value, 24), 255))
end

-- As hexadecimal digits.
function _M.md5(text)
  local length = #text * 8
  text = text .. '\128' .. rep('\0', (55 - #text) % 64) .. little_endian(length) .. '\0\0\0\0'
  local a, b, c, d = 0x67452301, bit.tobit(0xefcdab89), bit.tobit(0x98badcfe), 0x10325476
  for at = 1, #text, 64 do
    local words = {}
    for i = 0, 15 do
      local w, x, y, z = byte(text, at + 4 * i, at + 4 * i + 3)
      words[i] = bit.tobit(((z * 256 + y) * 256 + x) * 256 + w)
    end
    local e, f, g, h = a, b, c, d
    for i = 0, 63 do
      local round = floor(i / 16) + 1
      local sum = bit.tobit(e + mix(round, f, g, h) + SINES[i + 1] + words[place(round, i)])
      e, h, g, f = h, g, f, bit.tobit(f + rol(sum, SHIFTS[round][i % 4 + 1]))
    end
    a, b, c, d = bit.tobit(a + e), bit.tobit(b + f), bit.tobit(c + g), bit.tobit(d + h)
  end
  return tohex(bswap(a)) .. tohex(bswap(b)) .. tohex(bswap(c)) .. tohex(bswap(d))
end

-- The response that the server expects instead of the password.
function _M.md5_password(user, password, salt)
  return 'md5' .. _M.md5(_M.md5(password .. user) .. salt)
end

-- ---- SCRAM. ----

local BYTES = 32
-- The most rounds a server may ask for: more would block the reactor for too long.
local ROUNDS_MAX = 1000000
-- Rounds after which other tasks get their turn.
local ROUNDS_AT_ONCE = 256

local words_of = ffi.typeof 'uint32_t[8]'
local words_in = ffi.typeof 'const uint32_t *'

-- PBKDF2 (RFC 8018) of one block.
local function salted_password(password, salt, rounds)
  local last = hmac('sha256', password, salt .. '\0\0\0\1')
  local sum = words_of()
  ffi.copy(sum, last, BYTES)
  for round = 2, rounds do
    last = hmac('sha256', password, last)
    local words = ffi.cast(words_in, last)
    for i = 0, 7 do
      sum[i] = bxor(sum[i], words[i])
    end
    if round % ROUNDS_AT_ONCE == 0 then
      scheduler.sleep(0)
    end
  end
  return ffi.string(sum, BYTES)
end

local function xor(a, b)
  local parts = {}
  for i = 1, BYTES do
    parts[i] = char(bxor(byte(a, i), byte(b, i)))
  end
  return concat(parts)
end

-- Starts: the first message, and the state for _M.respond. `header` is the GS2 header of RFC 5802, `binding`
-- the channel binding data or ''.
function _M.begin(header, binding, nonce)
  nonce = nonce or crypto.random(18, 'base64')
  local bare = 'n=,r=' .. nonce
  return header .. bare, { bare = bare, nonce = nonce, binding = header .. binding }
end

-- `known` caches expensive results for later connections of the pool.
function _M.respond(state, challenge, password, known)
  local nonce, salt64, rounds = match(challenge, '^r=([^,]+),s=([^,]+),i=(%d+)')
  local salt = salt64 and crypto.base64_decode(salt64)
  rounds = tonumber(rounds)
  if not salt or sub(nonce, 1, #state.nonce) ~= state.nonce or #nonce == #state.nonce then
    return nil, 'the server has not answered as SCRAM says'
  elseif rounds < 1 or rounds > ROUNDS_MAX then
    return nil, format('the server asks for %.0f rounds of SCRAM: %d is the most', rounds, ROUNDS_MAX)
  end
  local key = salt64 .. ',' .. rounds
  if known.key ~= key or known.password ~= password then
    local salted = salted_password(password, salt, rounds)
    known.key, known.password, known.salted = key, password, salted
  end
  local client_key = hmac('sha256', known.salted, 'Client Key')
  local unproven = 'c=' .. crypto.base64_encode(state.binding) .. ',r=' .. nonce
  local message = state.bare .. ',' .. challenge .. ',' .. unproven
  local signature = hmac('sha256', sha256(client_key), message)
  state.expected = hmac('sha256', hmac('sha256', known.salted, 'Server Key'), message)
  return unproven .. ',p=' .. crypto.base64_encode(xor(client_key, signature))
end

-- Whether the server proved that it knows the password.
function _M.is_genuine(state, final)
  local shown = match(final, '^v=([^,]+)')
  local signature = shown and crypto.base64_decode(shown)
  return signature ~= nil and state.expected ~= nil and crypto.equal(signature, state.expected)
end

return _M
