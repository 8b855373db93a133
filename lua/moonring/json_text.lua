-- Pieces of JSON text (RFC 8259): strings and numbers, shared by json.encode and the log's fields.
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

-- `text` in quotes. Each byte that is not UTF-8 becomes U+FFFD: JSON must be UTF-8.
function _M.quote(text)
  if find(text, '[%c"\\\128-\255]') then
    if find(text, '[\128-\255]') then
      text = utf8_repair(text)
    end
    text = gsub(text, '[%z\1-\31"\\]', escape)
  end
  return '"' .. text .. '"'
end

-- The shortest text that reads back as the number. The number is finite.
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
