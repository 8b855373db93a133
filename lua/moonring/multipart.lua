-- multipart/form-data (RFC 7578) of a complete body: multipart.parse(body, boundary, limits).
-- Parsing only moves forward through the body, so the time is linear in its length.
local find, lower, sub = string.find, string.lower, string.sub
local gsub, match = string.gsub, string.match
local byte, char = string.byte, string.char
local pairs = pairs

local decode = require('moonring.percent').decode
local members = require 'moonring.members'
local utf8_repair = require('moonring.native').utf8_repair

local _M = {}

-- Characters of a boundary; the last is not a space. RFC 2046 §5.1.1 allows fewer, but upload clients use
-- others too.
local BOUNDARY = '^[ -~]+$'
local BOUNDARY_LENGTH = 70

-- RFC 9110 §5.6.2.
local TOKEN = "[%w!#$%%&'*+.^_`|~-]+"
local PARAMETER_NAME = '^[ \t]*;[ \t]*(' .. TOKEN .. ')='
local TOKEN_VALUE = '^(' .. TOKEN .. ')'
-- Of a Content-Type: boundaries with `=`, `/` and others are sent without quotes.
local LENIENT_VALUE = '^([^%c ",;\128-\255]+)'
local FIELD_NAME = '^(' .. TOKEN .. '):[ \t]*'

-- How browsers escape the characters that would end a name or its line (HTML, "multipart form data"); they do
-- not escape a `%` in the name.
local BROWSER_ESCAPES = { ['%22'] = '"', ['%0D'] = '\r', ['%0A'] = '\n' }

-- Parses a parameter `; name=value` at `at` in a field's value, where `\"` is an escaped quote if `escapes`
-- is true; `unquoted` is the pattern of a value without quotes. Its name, its value and the start of the next
-- one; nil if there is none of this form.
local function parameter_at(text, at, escapes, unquoted)
  local _, stop, name = find(text, PARAMETER_NAME, at)
  if not stop then
    return nil
  end
  at = stop + 1
  if sub(text, at, at) ~= '"' then
    local _, last, value = find(text, unquoted, at)
    return lower(name), value, last and last + 1
  end
  local from = at + 1
  while true do
    local quote = find(text, '["\\]', from)
    if not quote then
      return nil
    end
    if sub(text, quote, quote) == '"' then
      local value = sub(text, at + 1, quote - 1)
      return lower(name), escapes and gsub(value, '\\"', '"') or value, quote + 1
    end
    from = quote + (escapes and sub(text, quote + 1, quote + 1) == '"' and 2 or 1)
  end
end

-- The parameters after the first word of a field's value, nil if they are malformed.
local function parameters(text, at, escapes, unquoted)
  local result = {}
  while not find(text, '^[ \t]*$', at) and not find(text, '^[ \t]*;[ \t]*$', at) do
    local name, value, next_at = parameter_at(text, at, escapes, unquoted)
    if not value or result[name] then
      return nil
    end
    result[name] = value
    at = next_at
  end
  return result
end

-- The boundary in a Content-Type, nil if there is no valid one.
function _M.boundary(content_type)
  local _, stop = find(content_type, '^[%w!#$&.+^_-]+/[%w!#$&.+^_-]+')
  local found = stop and parameters(content_type, stop + 1, true, LENIENT_VALUE)
  local boundary = found and found.boundary
  if not boundary or #boundary > BOUNDARY_LENGTH or not find(boundary, BOUNDARY)
    or sub(boundary, -1) == ' ' then
    return nil
  end
  return boundary
end

local function utf8_of_latin1(character)
  local code = byte(character)
  return char(code < 192 and 194 or 195, code < 192 and code or code - 64)
end

-- The value of an extended parameter (RFC 8187), `UTF-8''na%C3%AFve`, as UTF-8; nil if it is
-- malformed or in another character set.
local function extended(text)
  local charset, encoded = match(text, "^([%w-]+)'[%w-]*'(.*)$")
  local value = encoded and decode(encoded)
  if not value then
    return nil
  end
  charset = lower(charset)
  if charset == 'utf-8' then
    return utf8_repair(value) == value and value or nil
  end
  return charset == 'iso-8859-1' and gsub(value, '[\128-\255]', utf8_of_latin1) or nil
end

-- The name and filename of a Content-Disposition, nil if it is malformed. Other programs write `\"` for a
-- quote, but in browsers a name may end in a backslash: if one reading fails, the other is tried.
-- `filename*=` takes precedence over `filename=` (RFC 6266 §4.3).
local function disposition(text, at)
  local found = parameters(text, at, true, TOKEN_VALUE) or parameters(text, at, false, TOKEN_VALUE)
  if not found then
    return nil
  end
  local result = {}
  for name, value in pairs(found) do
    if name == 'name' or name == 'filename' then
      result[name] = result[name] or gsub(value, '%%[02][2DA]', BROWSER_ESCAPES)
    elseif name == 'name*' or name == 'filename*' then
      local plain, decoded = sub(name, 1, -2), extended(value)
      if not decoded and not found[plain] then
        return nil
      end
      result[plain] = decoded or result[plain]
    elseif find(name, '^filename%*') then -- in pieces (RFC 2231): it would pass for a text field
      return nil
    end
  end
  return result
end

-- Reads the fields of a part, `text`, into a part without its content. nil and what is wrong.
local function read_head(text)
  local part = {}
  local at = 1
  while at <= #text do
    local stop = find(text, '\r\n', at, true) or #text + 1
    local line = sub(text, at, stop - 1)
    local _, colon, name = find(line, FIELD_NAME)
    if not name then
      return nil, 'a malformed field'
    end
    name = lower(name)
    if name == 'content-disposition' then
      local _, word = find(lower(line), '^form%-data', colon + 1)
      local found = word and disposition(line, word + 1)
      if not found or not found.name or part.name then
        return nil, 'a malformed Content-Disposition'
      end
      part.name, part.filename = found.name, found.filename
    elseif name == 'content-type' then
      part.content_type = sub(line, colon + 1)
    end
    at = stop + 2
  end
  if not part.name then
    return nil, 'no Content-Disposition with a name'
  end
  return part
end

-- What follows a delimiter: the position after its line, 'last' for the closing one, nil if neither.
local function after_delimiter(body, at)
  if sub(body, at, at + 1) == '--' then
    return 'last'
  end
  local _, stop = find(body, '^[ \t]*\r\n', at)
  return stop and stop + 1
end

-- The part whose fields begin at `at`, and the position of the next delimiter.
local function part_at(body, at, delimiter, head_limit)
  -- An empty head ends at once.
  local head_end = sub(body, at, at + 1) == '\r\n' and at - 2 or find(body, '\r\n\r\n', at, true)
  if not head_end then
    return nil, 'fields without an end'
  end
  if head_end - at > head_limit then
    return nil, 'fields of more than ' .. head_limit .. ' bytes', 413
  end
  local part, problem = read_head(sub(body, at, head_end - 1))
  if not part then
    return nil, problem
  end
  -- The content may be empty: then the line break before the delimiter belongs to the head.
  local stop = find(body, delimiter, head_end + 2, true)
  if not stop then
    return nil, 'content without an end'
  end
  part.value = sub(body, head_end + 4, stop - 1)
  -- Browsers send this for a file input in which no file was chosen.
  part.no_file = part.filename == '' and part.value == '' or nil
  return part, stop
end

-- All parts in order: { name =, value =, filename =, content_type =, no_file = }. filename and
-- content_type are nil where they were not sent, no_file is true for an empty file input. nil, what
-- is wrong, and 400 or (over a limit) 413. Limits: `parts` and `head_bytes`, the fields of one part.
function _M.parse(body, boundary, limits)
  local delimiter = '\r\n--' .. boundary
  local parts = {}
  -- The first delimiter may stand at the beginning, without a line break before it.
  local at
  if sub(body, 1, #delimiter - 2) == sub(delimiter, 3) then
    at = #delimiter - 1
  else
    local _, stop = find(body, delimiter, 1, true)
    if not stop then
      return nil, 'the body has no part', 400
    end
    at = stop + 1
  end
  while true do
    at = after_delimiter(body, at)
    if at == 'last' then
      return parts
    end
    local number = #parts + 1
    if not at then
      return nil, 'part ' .. number .. ' begins with a malformed delimiter', 400
    end
    if number > limits.parts then
      return nil, 'more than ' .. limits.parts .. ' parts', 413
    end
    local part, stop, status = part_at(body, at, delimiter, limits.head_bytes)
    if not part then
      return nil, 'part ' .. number .. ' has ' .. stop, status or 400
    end
    parts[number] = part
    at = stop + #delimiter
  end
end

return members.strict(_M, 'moonring.multipart')
