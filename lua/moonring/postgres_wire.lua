-- The messages of PostgreSQL's protocol, version 3.0: pure functions over strings. Data from the server is
-- parsed from pieces of any size; a message that is too long or malformed ends the connection.
local bit = require 'bit'

local byte, char, find, sub = string.byte, string.char, string.find, string.sub
local band, rshift = bit.band, bit.rshift
local concat = table.concat
local setmetatable, tonumber = setmetatable, tonumber

local _M = {}

-- Kinds of messages from the server.
_M.AUTHENTICATION, _M.BACKEND_KEY, _M.BIND_COMPLETE = byte 'R', byte 'K', byte '2'
_M.CLOSE_COMPLETE, _M.COMMAND_COMPLETE, _M.COPY_BOTH = byte '3', byte 'C', byte 'W'
_M.COPY_DATA, _M.COPY_DONE, _M.COPY_IN, _M.COPY_OUT = byte 'd', byte 'c', byte 'G', byte 'H'
_M.DATA_ROW, _M.EMPTY_QUERY, _M.ERROR = byte 'D', byte 'I', byte 'E'
_M.NEGOTIATE, _M.NO_DATA, _M.NOTICE = byte 'v', byte 'n', byte 'N'
_M.NOTIFICATION, _M.PARAMETERS, _M.PARAMETER_STATUS = byte 'A', byte 't', byte 'S'
_M.PARSE_COMPLETE, _M.SUSPENDED, _M.READY = byte '1', byte 's', byte 'Z'
_M.ROW_DESCRIPTION = byte 'T'

-- ---- Numbers. ----

local function int16(value)
  return char(rshift(band(value, 0xff00), 8), band(value, 0xff))
end

local function int32(value)
  return char(band(rshift(value, 24), 0xff), band(rshift(value, 16), 0xff),
    band(rshift(value, 8), 0xff), band(value, 0xff))
end
_M.int16, _M.int32 = int16, int32

local function read_int16(data, at)
  local high, low = byte(data, at, at + 1)
  return high * 256 + low
end

-- Unsigned.
local function read_int32(data, at)
  local a, b, c, d = byte(data, at, at + 3)
  return ((a * 256 + b) * 256 + c) * 256 + d
end
_M.read_int16, _M.read_int32 = read_int16, read_int32

-- NULL, in place of a value's length.
local NULL_LENGTH = 2 ^ 32 - 1
_M.NULL_LENGTH = NULL_LENGTH

-- ---- Reading. ----

local Reader = {}
Reader.__index = Reader

-- Messages have up to `max` bytes.
function _M.reader(max)
  return setmetatable({ data = '', at = 1, max = max }, Reader)
end

function Reader.feed(reader, piece)
  local data, at = reader.data, reader.at
  if at > #data then
    reader.data = piece
  else
    reader.data = (at == 1 and data or sub(data, at)) .. piece
  end
  reader.at = 1
end

-- The next message: its kind, and where its content begins and ends in reader.data, until the next
-- feed. nil and how many bytes are missing at least; nil, nil and what is wrong.
function Reader.next(reader)
  local data, at = reader.data, reader.at
  local have = #data - at + 1
  if have < 5 then
    return nil, 5 - have
  end
  local kind, a, b, c, d = byte(data, at, at + 4)
  local length = ((a * 256 + b) * 256 + c) * 256 + d
  if length < 4 then
    return nil, nil, 'a message is shorter than its head'
  elseif length > reader.max then
    return nil, nil, 'too long'
  elseif have <= length then
    return nil, length + 1 - have
  end
  reader.at = at + length + 1
  return kind, at + 5, at + length
end

-- Bytes after the last message that was read.
function Reader.unread(reader)
  return #reader.data - reader.at + 1
end

-- ---- What messages say. Each function takes the content, from `at` to `last`; nil: malformed. ----

-- The text up to a NUL, and where the next part begins.
local function text_at(data, at, last)
  local ends = find(data, '\0', at, true)
  if not ends or ends > last then
    return nil
  end
  return sub(data, at, ends - 1), ends + 1
end

-- A list of { name, oid, format }; format 0: text, 1: binary.
function _M.row_description(data, at, last)
  if last - at < 1 then
    return nil
  end
  local columns = {}
  local count = read_int16(data, at)
  at = at + 2
  for i = 1, count do
    local name, after = text_at(data, at, last)
    if not name or last - after < 17 then
      return nil
    end
    columns[i] = { name = name, oid = read_int32(data, after + 6),
      format = read_int16(data, after + 16) }
    at = after + 18
  end
  return at == last + 1 and columns or nil
end

-- A list of the types' numbers.
function _M.parameters(data, at, last)
  local count = last - at >= 1 and read_int16(data, at) or -1
  if last - at + 1 ~= 2 + 4 * count then
    return nil
  end
  local oids = {}
  for i = 1, count do
    oids[i] = read_int32(data, at + 4 * i - 2)
  end
  return oids
end

local FIELDS = { S = 'severity_shown', V = 'severity', C = 'sqlstate', M = 'message', D = 'detail',
  H = 'hint', P = 'position', p = 'internal_position', q = 'internal_query', W = 'where',
  s = 'schema', t = 'table', c = 'column', d = 'datatype', n = 'constraint', F = 'file',
  L = 'line', R = 'routine' }

-- The fields of an error or a notice by name.
function _M.error_fields(data, at, last)
  local fields = {}
  while at <= last do
    local kind = char(byte(data, at))
    if kind == '\0' then
      return at == last and fields or nil
    end
    local value, after = text_at(data, at + 1, last)
    if not value then
      return nil
    end
    local name = FIELDS[kind]
    if name then
      fields[name] = value
    end
    at = after
  end
end

-- The command, and the number of rows (nil: not given).
function _M.command_complete(data, at, last)
  local tag, after = text_at(data, at, last)
  if after ~= last + 1 then
    return nil
  end
  local command, rest = tag:match '^(%u+)(.*)$'
  return command or tag, tonumber(rest and rest:match ' (%d+)$')
end

-- The number of the kind, and the rest.
function _M.authentication(data, at, last)
  if last - at < 3 then
    return nil
  end
  return read_int32(data, at), sub(data, at + 4, last)
end

-- The names of the mechanisms offered by the server.
function _M.mechanisms(text)
  local names, at = {}, 1
  while at <= #text and byte(text, at) ~= 0 do
    local name, after = text_at(text, at, #text)
    if not name then
      return nil
    end
    names[name] = true
    at = after
  end
  return at == #text and names or nil
end

-- The process of the server, and the key that cancels: both as they go into a cancel request.
function _M.backend_key(data, at, last)
  if last - at < 7 then
    return nil
  end
  return read_int32(data, at), sub(data, at, last)
end

-- Name and value.
function _M.parameter_status(data, at, last)
  local name, after = text_at(data, at, last)
  if not name then
    return nil
  end
  local value, ends = text_at(data, after, last)
  return ends == last + 1 and name or nil, value
end

-- The sending process, the channel and the payload.
function _M.notification(data, at, last)
  if last - at < 3 then
    return nil
  end
  local channel, after = text_at(data, at + 4, last)
  if not channel then
    return nil
  end
  local payload, ends = text_at(data, after, last)
  if ends ~= last + 1 then
    return nil
  end
  return read_int32(data, at), channel, payload
end

-- 'I' (idle), 'T' (in a transaction) or 'E' (in a failed one).
function _M.ready(data, at, last)
  local status = at == last and char(byte(data, at))
  return (status == 'I' or status == 'T' or status == 'E') and status or nil
end

-- ---- Sending. ----

local function message(kind, content)
  return kind .. int32(#content + 4) .. content
end

-- `settings` is a list of names and values in turn.
function _M.startup(settings)
  local content = int32(196608) .. concat(settings, '\0') .. '\0\0'
  return int32(#content + 4) .. content
end

_M.SSL_REQUEST = int32(8) .. int32(80877103)

-- `key` is that of backend_key.
function _M.cancel(key)
  return int32(#key + 8) .. int32(80877102) .. key
end

function _M.password(text)
  return message('p', text .. '\0')
end

function _M.sasl_first(mechanism, data)
  return message('p', mechanism .. '\0' .. int32(#data) .. data)
end

function _M.sasl_next(data)
  return message('p', data)
end

-- The server infers the types of the parameters, unless `oids` lists them.
function _M.parse(name, sql, oids)
  local types = '\0\0'
  if oids then
    local parts = { int16(#oids) }
    for i = 1, #oids do
      parts[i + 1] = int32(oids[i])
    end
    types = concat(parts)
  end
  return message('P', name .. '\0' .. sql .. '\0' .. types)
end

local function formats(list)
  local parts = { int16(#list) }
  for i = 1, #list do
    parts[i + 1] = int16(list[i])
  end
  return concat(parts)
end

-- The start and end of a statement's bind messages: formats of the parameters and of the columns, lists of 0
-- (text) and 1 (binary); an empty list means text.
function _M.bind_frame(name, parameter_formats, parameter_count, column_formats)
  return '\0' .. name .. '\0' .. formats(parameter_formats) .. int16(parameter_count),
    formats(column_formats)
end

-- `values` are strings, false for NULL.
function _M.bind(head, tail, values, count)
  if count == 0 then
    return 'B' .. int32(#head + #tail + 4) .. head .. tail
  elseif count == 1 and values[1] then
    local value = values[1]
    return 'B' .. int32(#head + #tail + #value + 8) .. head .. int32(#value) .. value .. tail
  end
  local parts, length = {}, #head + #tail + 4 + 4 * count
  for i = 1, count do
    local value = values[i]
    if value then
      parts[2 * i - 1], parts[2 * i] = int32(#value), value
      length = length + #value
    else
      parts[2 * i - 1], parts[2 * i] = '\255\255\255\255', ''
    end
  end
  return 'B' .. int32(length) .. head .. concat(parts) .. tail
end

-- 'S': a statement; 'P': a portal.
function _M.describe(what, name)
  return message('D', what .. name .. '\0')
end

function _M.close(what, name)
  return message('C', what .. name .. '\0')
end

_M.DESCRIBE_PORTAL = _M.describe('P', '')
_M.EXECUTE = message('E', '\0' .. int32(0))
_M.SYNC = message('S', '')
_M.FLUSH = message('H', '')
_M.TERMINATE = message('X', '')
_M.END_OF_COPY = message('c', '')

function _M.query(sql)
  return message('Q', sql .. '\0')
end

function _M.copy_data(data)
  return message('d', data)
end

function _M.copy_fail(reason)
  return message('f', reason .. '\0')
end

-- ---- Rows. ----

-- Reads the row from `at` to `last` into a table: `decoders` is a list of functions
-- (data, from, to) for the columns, `names` those of the columns, `null` what NULL becomes. nil:
-- malformed, or a different number of columns; false and a decoder's message: a value that it does not
-- accept.
function _M.row(data, at, last, decoders, names, null, row)
  local count = #decoders
  if last - at < 1 or read_int16(data, at) ~= count then
    return nil
  end
  at = at + 2
  for i = 1, count do
    if last - at < 3 then
      return nil
    end
    local a, b, c, d = byte(data, at, at + 3)
    at = at + 4
    if a == 255 then -- no value is so long: NULL
      if b ~= 255 or c ~= 255 or d ~= 255 then
        return nil
      end
      row[names[i]] = null
    else
      local ends = at + ((a * 256 + b) * 256 + c) * 256 + d
      if ends - 1 > last then
        return nil
      end
      local value, problem = decoders[i](data, at, ends - 1)
      if value == nil then
        return false, names[i] .. ': ' .. (problem or 'malformed')
      end
      row[names[i]] = value
      at = ends
    end
  end
  return at == last + 1 and row or nil
end

return _M
