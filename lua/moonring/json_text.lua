-- Pieces of JSON text (RFC 8259): strings and numbers. What json.encode and the log's fields have
-- in common.
local native = require 'moonring.native'

local byte, find, format, gsub = string.byte, string.find, string.format, string.gsub
local tonumber, tostring = tonumber, tostring
local utf8_repair = native.utf8_repair

local _M = {}

local escapes = { ['"'] = '\\"', ['\\'] = '\\\\', ['\b'] = '\\b', ['\f'] = '\\f', ['\n'] = '\\n',
  ['\r'] = '\\r', ['\t'] = '\\t' }

local function escape(character)
  return escapes[character] or format('\\u%04x', byte(character))
end

-- `text` in quotes. Bytes that are not UTF-8 become U+FFFD each: what is no UTF-8 is no JSON.
function _M.quote(text)
  if find(text, '[%c"\\\128-\255]') then
    if find(text, '[\128-\255]') then
      text = utf8_repair(text)
    end
    text = gsub(text, '[%z\1-\31"\\]', escape)
  end
  return '"' .. text .. '"'
end

-- The shortest text that means the number again. The number is finite.
function _M.number(value)
  local text = tostring(value)
  if tonumber(text) ~= value then
    text = format('%.16g', value)
    if tonumber(text) ~= value then
      text = format('%.17g', value)
    end
  end
  return text
end

return _M
