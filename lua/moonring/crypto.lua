-- Digests, HMAC, random bytes, UUIDs and encodings, with OpenSSL: crypto.sha256(data, 'hex'). See
-- docs/lua-crypto.md.
local ffi = require 'ffi'
local members = require 'moonring.members'
local native = require 'moonring.native'

local VERSION = 1

ffi.cdef(native.crypto_abi)

local api = ffi.cast('hs_lua_crypto_api_t *', native.crypto)
if api.version ~= VERSION then
  error(('the Lua runtime speaks crypto ABI %d, the server %d: install them from one version'):format(
    VERSION, api.version))
end

local ffi_string, new, typeof = ffi.string, ffi.new, ffi.typeof
local error, tonumber, tostring, type = error, tonumber, tostring, type
local ceil = math.ceil

local _M = {}

-- As in exec/hs_lua_crypto_abi.h.
local DIGESTS = { sha1 = 0, sha256 = 1, sha384 = 2, sha512 = 3 }
local HEX, BASE64, BASE64URL = 0, 1, 2
local ENCODINGS = { hex = HEX, base64 = BASE64, base64url = BASE64URL }

local RANDOM_MAX = 1024 * 1024
local UUID_LENGTH = 36
local bytes_of = typeof 'uint8_t[?]'
-- Room for the longest digest and its longest text, valid only during the call that writes it.
local digest_buffer, text_buffer = new('uint8_t[64]'), new('uint8_t[128]')

-- Raises at the line that called this module's function.
local function check_string(value, what)
  if type(value) ~= 'string' then
    error(('crypto.%s has to be a string, not %s'):format(what, value == nil and 'nil'
      or 'a ' .. type(value)), 3)
  end
end

local function raise_failure()
  error(ffi_string(api.failure(api.self)), 3)
end

-- Encodes a digest or random bytes as requested.
local function shown(data, length, encoding)
  if encoding == nil then
    return ffi_string(data, length)
  end
  local number = ENCODINGS[encoding]
  if not number then
    error(("crypto: the encoding has to be 'hex', 'base64' or 'base64url', or nil for bytes, not %s")
      :format(tostring(encoding)), 3)
  end
  local out = length <= 64 and text_buffer or bytes_of(2 * length + 4)
  return ffi_string(out, api.encode(number, ffi.cast('const char *', data), length, out))
end

local function digester(name)
  local number = DIGESTS[name]
  local what = name .. ': the data'
  return function(data, encoding)
    check_string(data, what)
    local length = api.digest(api.self, number, data, #data, digest_buffer)
    if length < 0 then
      raise_failure()
    end
    local text = shown(digest_buffer, length, encoding)
    return text
  end
end

-- The digest of a string: its bytes, or a text if `encoding` says 'hex', 'base64' or 'base64url'.
_M.sha1 = digester 'sha1'
_M.sha256 = digester 'sha256'
_M.sha384 = digester 'sha384'
_M.sha512 = digester 'sha512'

-- HMAC (RFC 2104) with 'sha1', 'sha256', 'sha384' or 'sha512'.
function _M.hmac(algorithm, key, data, encoding)
  local number = DIGESTS[algorithm]
  if not number then
    error(("crypto.hmac: the algorithm has to be 'sha1', 'sha256', 'sha384' or 'sha512', not %s")
      :format(tostring(algorithm)), 2)
  end
  check_string(key, 'hmac: the key')
  check_string(data, 'hmac: the data')
  local length = api.hmac(api.self, number, key, #key, data, #data, digest_buffer)
  if length < 0 then
    raise_failure()
  end
  local text = shown(digest_buffer, length, encoding)
  return text
end

-- Random bytes fit for keys and tokens, at most 1 MiB.
function _M.random(length, encoding)
  if type(length) ~= 'number' or length % 1 ~= 0 or length < 0 or length > RANDOM_MAX then
    error(('crypto.random: the length has to be a whole number from 0 to %d, not %s'):format(
      RANDOM_MAX, tostring(length)), 2)
  end
  local data = length <= 64 and digest_buffer or bytes_of(length)
  if api.random(api.self, data, length) ~= 0 then
    raise_failure()
  end
  local text = shown(data, length, encoding)
  return text
end

-- Whether two strings are equal, in constant time. The length is not secret: strings of different lengths
-- return at once.
function _M.equal(a, b)
  check_string(a, 'equal: the first value')
  check_string(b, 'equal: the second value')
  return #a == #b and api.equal(a, b, #a) ~= 0
end

local function encoder(name)
  local number, what = ENCODINGS[name], name .. '_encode: the data'
  return function(data)
    check_string(data, what)
    local out = bytes_of(number == HEX and 2 * #data or 4 * ceil(#data / 3))
    return ffi_string(out, api.encode(number, data, #data, out))
  end
end

local function decoder(name)
  local number, what = ENCODINGS[name], name .. '_decode: the text'
  return function(text)
    check_string(text, what)
    local out = bytes_of(#text)
    local length = tonumber(api.decode(number, text, #text, out))
    if length >= 0 then
      return ffi_string(out, length)
    end
    local at = -length
    if at > #text then
      return nil, ('not %s: it ends too early'):format(name)
    end
    return nil, ('not %s: wrong character at position %d'):format(name, at)
  end
end

-- Encoders take any string. Decoders return nil and what is wrong with a text that their encoder would not
-- produce; hex may have capital letters, base64url has no padding.
_M.hex_encode, _M.hex_decode = encoder 'hex', decoder 'hex'
_M.base64_encode, _M.base64_decode = encoder 'base64', decoder 'base64'
_M.base64url_encode, _M.base64url_decode = encoder 'base64url', decoder 'base64url'

local function uuid_maker(number)
  return function()
    if api.uuid(api.self, number, text_buffer) ~= 0 then
      raise_failure()
    end
    return ffi_string(text_buffer, UUID_LENGTH)
  end
end

-- A UUID (RFC 9562): version 4 is random; version 7 begins with the time, and those of one thread are in
-- order.
_M.uuid4 = uuid_maker(4)
_M.uuid7 = uuid_maker(7)

return members.strict(_M, 'moonring.crypto')
