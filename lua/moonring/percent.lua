-- Percent-encoding (RFC 3986 §2.1): percent.decode(text) and percent.encode(text).
local members = require 'moonring.members'

local raise = require('moonring.failure').raise

local byte, char, find, format, gsub = string.byte, string.char, string.find, string.format,
  string.gsub
local type = type

local _M = {}

-- The two digits after the `%`, in any case -> the byte.
local meaning = {}
for code = 0, 255 do
  local lower, upper = format('%02x', code), format('%02X', code)
  meaning[lower], meaning[upper] = char(code), char(code)
  meaning[lower:sub(1, 1) .. upper:sub(2)] = char(code)
  meaning[upper:sub(1, 1) .. lower:sub(2)] = char(code)
end

local function escape(character)
  return format('%%%02X', byte(character))
end

-- The decoded bytes of `text`, nil if a `%` is not followed by two hexadecimal digits.
function _M.decode(text)
  if type(text) ~= 'string' then
    raise('percent.decode(text) takes a string, got ' .. type(text))
  end
  if not find(text, '%', 1, true) then
    return text
  end
  if find(text, '%%%X') or find(text, '%%%x%X') or find(text, '%%%x?$') then
    return nil
  end
  return (gsub(text, '%%(%x%x)', meaning))
end

-- `text` with everything escaped except A-Z a-z 0-9 - . _ ~, for use in a path or a query.
function _M.encode(text)
  if type(text) ~= 'string' then
    raise('percent.encode(text) takes a string, got ' .. type(text))
  end
  return (gsub(text, '[^%w%-._~]', escape))
end

return members.strict(_M, 'moonring.percent')
