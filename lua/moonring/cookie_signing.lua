-- Signed cookie values: text that can be made only with the key, bound to the cookie's name and to its expiry
-- time. Not encrypted: clients can read it.
--
--     base64url(value) "." time "." base64url(HMAC-SHA-256(key, label NUL name NUL time NUL value))
-- Labels, names and times contain no NUL, so no two cookies have the same signed text.
local crypto = require 'moonring.crypto'
local raise = require('moonring.failure').raise

local find, format, match = string.find, string.format, string.match
local time = os.time
local tonumber, tostring, type = tonumber, tostring, type

local _M = {}

local LABEL = 'moonring cookie 1'
-- Shorter keys could be guessed.
local KEY_LENGTH, KEYS = 16, 16
local AGE_MOST = 10 * 366 * 86400
-- Longer text was not made here: browsers drop it.
local TEXT_LENGTH = 4096

-- The keys as a list: the first one signs, all of them verify.
local function keys_of(what, keys)
  if type(keys) == 'string' then
    keys = { keys }
  end
  if type(keys) ~= 'table' or #keys == 0 or #keys > KEYS then
    raise(('cookies.%s: keys has to be a key, or a list of 1 to %d'):format(what, KEYS))
  end
  for i = 1, #keys do
    if type(keys[i]) ~= 'string' or #keys[i] < KEY_LENGTH then
      raise(('cookies.%s: a key has to be a string of at least %d bytes'):format(what, KEY_LENGTH))
    end
  end
  return keys
end

local function check_name(what, name)
  if type(name) ~= 'string' or not find(name, "^[%w!#$%%&'*+.^_`|~-]+$") then
    raise(('cookies.%s: the name has to be a token (RFC 6265 §4.1.1)'):format(what))
  end
end

local function signature_of(key, name, expires, value)
  local text = LABEL .. '\0' .. name .. '\0' .. expires .. '\0' .. value
  return crypto.hmac('sha256', key, text, 'base64url')
end

-- `what`: the function of moonring.cookies that was called.
function _M.sign(what, name, value, keys, max_age)
  check_name(what, name)
  keys = keys_of(what, keys)
  if type(value) ~= 'string' then
    raise(('cookies.%s: the value has to be a string, not a %s'):format(what, type(value)))
  elseif type(max_age) ~= 'number' or max_age % 1 ~= 0 or max_age < 1 or max_age > AGE_MOST then
    raise(('cookies.%s: max_age has to be the seconds for which the signature is valid, a whole '
      .. 'number from 1 to %d, not %s'):format(what, AGE_MOST, tostring(max_age)))
  end
  local expires = format('%.0f', time() + max_age)
  return crypto.base64url_encode(value) .. '.' .. expires .. '.'
    .. signature_of(keys[1], name, expires, value)
end

-- The value, or nil and 'malformed', 'not signed with these keys' or 'expired'.
function _M.verify(what, name, text, keys)
  check_name(what, name)
  keys = keys_of(what, keys)
  if type(text) ~= 'string' then
    raise(('cookies.%s: the text has to be a string, not a %s'):format(what, type(text)))
  end
  local encoded, expires, signature
  if #text <= TEXT_LENGTH then
    encoded, expires, signature = match(text, '^([%w_-]*)%.(%d+)%.([%w_-]+)$')
  end
  local value = encoded and #expires <= 12 and crypto.base64url_decode(encoded)
  if not value then
    return nil, 'malformed'
  end
  local is_signed = false
  for i = 1, #keys do -- all, so that the time does not tell which one it was
    is_signed = crypto.equal(signature_of(keys[i], name, expires, value), signature) or is_signed
  end
  if not is_signed then
    return nil, 'not signed with these keys'
  elseif tonumber(expires) <= time() then
    return nil, 'expired'
  end
  return value
end

return _M
