-- The server's log from a handler: log.info('text', { field = value }), also debug, warn and error.
-- Each call writes one record, of one line whatever text and fields contain; it names the request. No call
-- raises an error.
local api = require 'moonring.abi'
local json_text = require 'moonring.json_text'
local members = require 'moonring.members'

local byte, find, format, gsub, sub = string.byte, string.find, string.format, string.gsub,
  string.sub
local concat, huge = table.concat, math.huge
local getmetatable, next, pcall, rawget = getmetatable, next, pcall, rawget
local select, tostring, type = select, tostring, type
local quote, number_text = json_text.quote, json_text.number

local DEBUG, INFO, WARN, ERROR = 0, 1, 2, 3

-- Limits on a record's fields: bytes in total, of one text and of one name, and nesting of tables. Longer
-- ones are cut and end in `…`. os/hs_log.h drops more than 6144 bytes.
local BYTES, TEXT_BYTES, NAME_BYTES, LEVELS = 4096, 1024, 64, 5
local CUT = '"…"'

-- Members that every record has.
local OWN = { level = true, time = true, pid = true, reactor = true, reqId = true, req = true,
  traceId = true, spanId = true, msg = true }

local _M = {}

-- Terminal control characters are escaped as well: DEL and U+0080 to U+009F.
local function escape(character)
  return format('\\u%04x', byte(character, -1))
end

local function quote_cut(text, length)
  if #text > length then
    text = sub(text, 1, length) .. '…'
  end
  text = quote(text)
  if find(text, '[\127\194]') then
    text = gsub(gsub(text, '\127', escape), '\194[\128-\159]', escape)
  end
  return text
end

-- Works even if a value's __tostring raises.
local function text_of(value)
  local ok, text = pcall(tostring, value)
  return ok and type(text) == 'string' and text or 'a ' .. type(value)
end

local function describes_itself(value)
  local meta = getmetatable(value)
  return type(meta) == 'table' and meta.__tostring ~= nil
end

local left -- bytes that the fields being written may still have

local render

local function render_name(name)
  if OWN[name] then
    name = name .. '_'
  end
  return quote_cut(type(name) == 'string' and name or text_of(name), NAME_BYTES)
end

-- The members of a table, without braces.
local function render_members(value, depth)
  local out, at = {}, 0
  for name, member in next, value do
    if left <= 0 then
      at = at + 1
      out[at] = '"…":true'
      break
    end
    local quoted = depth == 0 and render_name(name) or quote_cut(text_of(name), NAME_BYTES)
    left = left - #quoted - 2
    at = at + 1
    out[at] = quoted .. ':' .. render(member, depth + 1)
  end
  return concat(out, ',')
end

local function render_list(value, depth)
  local out = {}
  for i = 1, #value do
    out[i] = left > 0 and render(value[i], depth + 1) or CUT
    left = left - 1
    if left < 0 then
      break
    end
  end
  return '[' .. concat(out, ',') .. ']'
end

-- Whether the keys are exactly 1 to n.
local function is_list(value)
  local count = 0
  for _ in next, value do
    count = count + 1
    if rawget(value, count) == nil then
      return false
    end
  end
  return count > 0
end

local function render_table(value, depth)
  if depth == LEVELS then
    return CUT
  end
  left = left - 2
  if is_list(value) then
    return render_list(value, depth)
  end
  return '{' .. render_members(value, depth) .. '}'
end

-- The JSON of any value.
render = function(value, depth)
  local kind = type(value)
  if kind == 'table' and not describes_itself(value) then
    return render_table(value, depth)
  end
  local text
  if kind == 'number' and value == value and value ~= huge and value ~= -huge then
    text = number_text(value)
  elseif kind == 'boolean' then
    text = value and 'true' or 'false'
  elseif kind == 'string' then
    text = quote_cut(value, TEXT_BYTES)
  else
    text = text_of(value)
    text = text == 'userdata: NULL' and 'null' or quote_cut(text, TEXT_BYTES) -- json.null
  end
  if #text > left then
    text = CUT
  end
  left = left - #text
  return text
end

local function write(level, text, fields)
  local rendered = ''
  if fields then
    left = BYTES
    rendered = render_members(fields, 0)
  end
  if type(text) ~= 'string' then
    text = text_of(text)
  end
  api.log_write(api, level, rendered, #rendered, text, #text)
end

-- Any arguments: tables are fields, everything else is text, separated by spaces.
local function write_all(level, ...)
  local words, fields = {}, nil
  for i = 1, select('#', ...) do
    local value = (select(i, ...))
    if type(value) ~= 'table' or describes_itself(value) then
      words[#words + 1] = text_of(value)
    else
      fields = fields or {}
      for name, member in next, value do
        fields[name] = member
      end
    end
  end
  write(level, concat(words, ' '), fields)
end

local function writer(level)
  return function(text, fields, ...)
    if api.log_enabled(api.log, level) == 0 then
      return
    end
    if type(text) == 'string' and select('#', ...) == 0 and (fields == nil or type(fields) == 'table') then
      return write(level, text, fields)
    end
    if fields == nil and select('#', ...) == 0 then
      return write_all(level, text)
    end
    return write_all(level, text, fields, ...)
  end
end

_M.debug = writer(DEBUG)
_M.info = writer(INFO)
_M.warn = writer(WARN)
_M.error = writer(ERROR)

return members.strict(_M, 'moonring.log')
