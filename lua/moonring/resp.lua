-- The Redis protocol, RESP2 and RESP3, without a connection: commands to bytes, and bytes, in pieces of any
-- size, to replies. Bounded: see resp.decoder.
local ffi = require 'ffi'
local failure = require 'moonring.failure'
local members = require 'moonring.members'

local ffi_string, cast, istype = ffi.string, ffi.cast, ffi.istype
local pcall, require, select = pcall, require, select
local tonumber, tostring, type = tonumber, tostring, type
local setmetatable, getmetatable = setmetatable, getmetatable
local find, format, match, sub, upper = string.find, string.format, string.match, string.sub, string.upper
local min, raise = math.min, failure.raise

ffi.cdef 'void *memchr(const void *bytes, int byte, size_t len);'
local memchr = ffi.C.memchr

local _M = {}

-- A null inside a reply, where nil would be a hole: the same as moonring.json's, so that replies can be sent as
-- JSON.
local has_json, json = pcall(require, 'moonring.json')
local null = has_json and json.null or cast('void *', 0)
_M.null = null

-- ---- Errors. ----

local Error = {}
Error.__index = Error
function Error.__tostring(failure)
  return failure.message
end

-- An error: `code` is for programs, `message` for logs.
function _M.error(code, message)
  return setmetatable({ code = code, message = message }, Error)
end

function _M.is_error(value)
  return type(value) == 'table' and getmetatable(value) == Error
end

-- The server's error message: its first word is the code. MOVED and ASK say where to.
local function error_of(text)
  local code = match(text, '^(%u[%u%d_]*)') or 'ERR'
  local failure = _M.error(code, text)
  failure.is_reply = true
  if code == 'MOVED' or code == 'ASK' then
    local slot, host, port = match(text, '^%u+ (%d+) (.*):(%d+)$')
    failure.slot, failure.host, failure.port = tonumber(slot), host, tonumber(port)
  end
  return failure
end

-- ---- Commands. ----

-- Limits on the arguments of a command, and their bytes.
local ARGUMENTS_MAX = 1024 * 1024
local COMMAND_MAX = 64 * 1024 * 1024
-- Numbers that tostring formats exactly.
local EXACT = 1e14
local PREFIXES_MAX = 4096

-- By number of arguments and name: the bytes up to the length of the first argument.
local prefixes, prefix_count = {}, 0

local function prefix_of(count, name)
  if prefix_count >= PREFIXES_MAX then
    prefixes, prefix_count = {}, 0
  end
  local of_count = prefixes[count]
  if not of_count then
    of_count = {}
    prefixes[count] = of_count
  end
  local text = format('*%d\r\n$%d\r\n%s\r\n', count + 1, #name, name) .. (count > 0 and '$' or '')
  of_count[name] = text
  prefix_count = prefix_count + 1
  return text
end

local int64, uint64 = ffi.typeof 'int64_t', ffi.typeof 'uint64_t'

-- The text of an argument that is not a string.
local function text_of(value, name, index)
  local kind = type(value)
  if kind == 'number' then
    if value % 1 == 0 and value > -EXACT and value < EXACT then
      return format('%d', value)
    elseif value == value then
      return format('%.17g', value)
    end
  elseif kind == 'cdata' and (istype(int64, value) or istype(uint64, value)) then
    return match(tostring(value), '^-?%d+')
  end
  raise(format('%s: argument %d is %s; strings and numbers can be sent', name, index,
    kind == 'number' and 'not a number (NaN)' or kind == 'nil' and 'nil' or 'a ' .. kind))
end

local function check_length(buffer, name, before)
  if #buffer - before > COMMAND_MAX then
    raise(format('%s: a command has at most %d bytes', name, COMMAND_MAX))
  end
end

local function encode_many(buffer, name, ...)
  local count = select('#', ...)
  if count > ARGUMENTS_MAX then
    raise(format('%s: a command has at most %d arguments', name, ARGUMENTS_MAX))
  end
  local of_count = prefixes[count]
  buffer:put(of_count and of_count[name] or prefix_of(count, name))
  local arguments = { ... }
  for i = 1, count do
    local value = arguments[i]
    if type(value) ~= 'string' then
      value = text_of(value, name, i)
    end
    if i > 1 then
      buffer:put('$')
    end
    buffer:put(#value, '\r\n', value, '\r\n')
  end
end

-- Appends a command to `buffer`, a string.buffer; `name` is in capitals. An argument that cannot be sent
-- raises an error and leaves part of the command in the buffer.
function _M.encode(buffer, name, ...)
  local count = select('#', ...)
  local before = #buffer
  if count == 1 then
    local value = ...
    if type(value) ~= 'string' then
      value = text_of(value, name, 1)
    end
    local of_count = prefixes[1]
    buffer:put(of_count and of_count[name] or prefix_of(1, name), #value, '\r\n', value, '\r\n')
  else
    encode_many(buffer, name, ...)
  end
  check_length(buffer, name, before)
end

local upper_names, upper_count = {}, 0

-- The name of a command as sent; nil: invalid.
function _M.name_of(name)
  local known = upper_names[name]
  if known then
    return known
  end
  if type(name) ~= 'string' or #name > 64 or not find(name, '^[%w_.-]+$') then
    return nil
  end
  if upper_count >= PREFIXES_MAX then
    upper_names, upper_count = {}, 0
  end
  known = upper(name)
  upper_names[name] = known
  upper_count = upper_count + 1
  return known
end

-- ---- Replies. ----

-- Results of `next` besides the position.
local VALUE, FAILED, PUSH, BROKEN = 1, 2, 3, 4
_M.VALUE, _M.FAILED, _M.PUSH, _M.BROKEN = VALUE, FAILED, PUSH, BROKEN

local LINE_MAX = 64 * 1024
local NUMBER_MAX = 32
-- The cost of an element besides its bytes.
local ELEMENT_BYTES = 16
local EXACT_DIGITS = 15

local Decoder = {}
Decoder.__index = Decoder

-- Bytes.
local PLUS, MINUS, COLON, DOLLAR, STAR = 43, 45, 58, 36, 42
local UNDERSCORE, COMMA, PAREN, HASH, BANG, EQUALS = 95, 44, 40, 35, 33, 61
local PERCENT, TILDE, GREATER, BAR = 37, 126, 62, 124
local CR, LF = 13, 10
local LENGTH_NAMES = { [DOLLAR] = true, [BANG] = true, [EQUALS] = true }
-- How many elements follow per counted one.
local AGGREGATES = { [STAR] = 1, [TILDE] = 1, [GREATER] = 1, [PERCENT] = 2, [BAR] = 2 }

-- Limits: `max_reply` bytes of one reply, each element counting 16 more; `max_depth` of nesting. A larger
-- reply is read to its end and dropped, replaced by an error with the code 'too large'. A deeper one breaks
-- the connection.
function _M.decoder(max_reply, max_depth)
  return setmetatable({
    max_reply = max_reply, max_depth = max_depth,
    depth = 0, -- of what is being read; the fields below are by depth
    kinds = {}, values = {}, left = {}, counts = {}, keys = {},
    cost = 0, is_too_large = false,
    skip = 0,    -- bytes of a string that is dropped
    scanned = 0, -- bytes of a line that have no end
    need = 1,    -- so many bytes have to be there before `next` can go on
  }, Decoder)
end

local function broken(at, text)
  return at, BROKEN, text
end

-- The number in a line from `from` to before `to`; nil: not a number. An integer that is not exact as a
-- number is returned as its digits.
local function integer_in(p, from, to)
  local at = from
  local first = p[at]
  if first == MINUS or first == PLUS then
    at = at + 1
  end
  local digits = to - at
  if digits < 1 or digits > 20 then
    return nil
  end
  local value = 0
  for i = at, to - 1 do
    local digit = p[i] - 48
    if digit < 0 or digit > 9 then
      return nil
    end
    value = value * 10 + digit
  end
  if digits > EXACT_DIGITS and value >= 2 ^ 53 then
    return ffi_string(p + from, to - from)
  end
  return first == MINUS and -value or value
end

local function double_in(text)
  if text == 'inf' or text == '+inf' then
    return 1 / 0
  elseif text == '-inf' then
    return -1 / 0
  elseif text == 'nan' or text == '-nan' then
    return 0 / 0
  elseif find(text, '^[+-]?%d+%.?%d*[eE]?[+-]?%d*$') then
    return tonumber(text)
  end
end

-- Where the line that begins at `from` ends: at its LF. nil: not yet, false: it is too long.
local function line_end(d, p, from, len, max)
  local begin = from + d.scanned
  local found = begin < len and memchr(p + begin, LF, len - begin) or nil
  if found == nil then
    d.scanned = len - from
    d.need = len - from + 2
    if len - from > max then
      return false
    end
    return nil
  end
  d.scanned = 0
  local to = cast('const uint8_t *', found) - p
  if to - from > max + 2 then
    return false
  end
  return to
end

local function begin_reply(d)
  d.cost, d.is_too_large = 0, false
end

local function too_large(d)
  d.is_too_large = true
  for depth = 1, d.depth do -- what it has so far
    d.values[depth], d.keys[depth] = false, nil
  end
end

local function count_cost(d, bytes)
  local cost = d.cost + bytes + ELEMENT_BYTES
  d.cost = cost
  if cost > d.max_reply and not d.is_too_large then
    too_large(d)
  end
end

-- A value is complete: it is added to its aggregate. True: the reply is complete, and in d.value.
local function add(d, value)
  local depth = d.depth
  while depth > 0 do
    local kind, container = d.kinds[depth], d.values[depth]
    local count = d.counts[depth] + 1
    d.counts[depth] = count
    if container then
      if kind == PERCENT then
        if count % 2 == 1 then
          d.keys[depth] = value
        else
          container[d.keys[depth]] = value
          d.keys[depth] = nil
        end
      elseif kind ~= BAR then
        container[count] = value
      end
    end
    local left = d.left[depth] - 1
    d.left[depth] = left
    if left > 0 then
      return false
    end
    d.values[depth] = nil
    depth = depth - 1
    d.depth = depth
    if kind == BAR then
      return false -- what it is about follows
    end
    value = container
    if kind == GREATER then
      d.is_push = true
    end
  end
  d.value = value
  return true
end

local function is_bad_key(d, value)
  local depth = d.depth
  return depth > 0 and d.kinds[depth] == PERCENT and d.counts[depth] % 2 == 0
    and (value == null or value ~= value)
end

local TOO_LARGE = 'the reply is larger than max_reply'

-- The reply in d.value is complete, and ends before `at`.
local function finish(d, at)
  local value = d.value
  d.value = nil
  d.need = 1
  local is_push = d.is_push
  d.is_push = false
  if d.is_too_large then
    begin_reply(d)
    return at, is_push and PUSH or FAILED, _M.error('too large', TOO_LARGE)
  end
  d.cost = 0
  if is_push then
    return at, PUSH, value
  elseif type(value) == 'table' and getmetatable(value) == Error then
    return at, FAILED, value
  end
  return at, VALUE, value
end

-- An aggregate of `count` elements begins. An error's text, or nil; true: it is empty, and d.opened
-- is its value.
local function open(d, kind, count)
  if kind == GREATER and d.depth > 0 then
    return 'a push inside of a reply'
  elseif count > 2 ^ 31 then
    return 'a length that cannot be'
  end
  count_cost(d, 0)
  if count * ELEMENT_BYTES > d.max_reply and not d.is_too_large then
    too_large(d)
  end
  if count == 0 then
    return nil, true
  end
  local depth = d.depth + 1
  if depth > d.max_depth then
    return format('a reply that is nested more than %d deep', d.max_depth)
  end
  d.depth = depth
  d.kinds[depth], d.left[depth], d.counts[depth] = kind, count, 0
  d.values[depth] = not d.is_too_large and {}
  return nil, false
end

-- One token at `at`: where it ends, and its value; nil for either: see `next`.
--   at, nil           more bytes are needed
--   at, false, text   the protocol is broken
--   at, true, value   a value
--   at, 'open'        an aggregate has begun
local function token(d, p, at, len)
  local kind = p[at]
  local is_text = kind == PLUS or kind == MINUS or kind == PAREN
  local lf = line_end(d, p, at + 1, len, is_text and LINE_MAX or NUMBER_MAX)
  if lf == nil then
    return at, nil
  elseif lf == false then
    return at, false, 'a line that is too long'
  end
  local from, to = at + 1, lf - 1
  if to < from or p[to] ~= CR then
    return at, false, 'a line that does not end in CR LF'
  end
  local after = lf + 1
  if LENGTH_NAMES[kind] then
    local size = integer_in(p, from, to)
    if size == -1 and kind == DOLLAR then
      count_cost(d, 0)
      return after, true, null
    elseif type(size) ~= 'number' or size < 0 or size > 2 ^ 32 then
      return at, false, p[from] == 63 and 'a streamed string' or 'a length that cannot be'
    end
    if not d.is_too_large and d.cost + size + ELEMENT_BYTES > d.max_reply then
      too_large(d)
    end
    if d.is_too_large then
      d.skip = size + 2
      return after, 'skip'
    end
    if len - after < size + 2 then
      d.need = after - at + size + 2
      return at, nil
    end
    if p[after + size] ~= CR or p[after + size + 1] ~= LF then
      return at, false, 'a string that does not end in CR LF'
    end
    count_cost(d, size)
    local text = ffi_string(p + after, size)
    after = after + size + 2
    if kind == BANG then
      return after, true, error_of(text)
    elseif kind == EQUALS then
      if size < 4 or sub(text, 4, 4) ~= ':' then
        return at, false, 'a verbatim string without its format'
      end
      return after, true, sub(text, 5)
    end
    return after, true, text
  end
  local each = AGGREGATES[kind]
  if each then
    local count = integer_in(p, from, to)
    if count == -1 and kind == STAR then
      count_cost(d, 0)
      return after, true, null
    elseif type(count) ~= 'number' or count < 0 then
      return at, false, p[from] == 63 and 'a streamed reply' or 'a length that cannot be'
    end
    local problem, is_empty = open(d, kind, count * each)
    if problem then
      return at, false, problem
    elseif not is_empty then
      return after, 'open'
    elseif kind == BAR then
      return after, 'open' -- about what follows, and says nothing
    end
    d.is_push = kind == GREATER
    return after, true, {}
  end
  count_cost(d, to - from)
  if kind == COLON then
    local value = integer_in(p, from, to)
    if not value then
      return at, false, 'an integer that is none'
    end
    return after, true, value
  elseif kind == PLUS then
    return after, true, ffi_string(p + from, to - from)
  elseif kind == MINUS then
    return after, true, error_of(ffi_string(p + from, to - from))
  elseif kind == UNDERSCORE then
    if to ~= from then
      return at, false, 'a null that is none'
    end
    return after, true, null
  elseif kind == HASH then
    local letter = p[from]
    if to - from ~= 1 or letter ~= 116 and letter ~= 102 then
      return at, false, 'a boolean that is none'
    end
    return after, true, letter == 116
  elseif kind == COMMA then
    local value = double_in(ffi_string(p + from, to - from))
    if not value then
      return at, false, 'a double that is none'
    end
    return after, true, value
  elseif kind == PAREN then
    local text = ffi_string(p + from, to - from)
    if not find(text, '^[+-]?%d+$') then
      return at, false, 'a big number that is none'
    end
    return after, true, text
  end
  return at, false, format('an unknown type (byte %d)', kind)
end

local function next_in(d, p, at, len)
  while true do
    local value, done
    if d.skip > 0 then
      local skipped = min(d.skip, len - at)
      at = at + skipped
      d.skip = d.skip - skipped
      if d.skip > 0 then
        d.need = 1
        return at
      end
      done, value = true, null
    elseif at >= len then
      d.need = 1
      return at
    else
      at, done, value = token(d, p, at, len)
      if done == nil then
        return at
      elseif done == false then
        return broken(at, value)
      elseif done == true and is_bad_key(d, value) then
        return broken(at, 'a map with a key that cannot be')
      end
    end
    if done == true and add(d, value) then
      return finish(d, at)
    end
  end
end

-- Reads one reply from p[at] on, of `len` available bytes (const uint8_t *). Returns the position, before
-- which bytes are no longer needed, and
--   nil             the reply goes on: call again when more bytes are there (d.need at least)
--   VALUE, value    a reply; a null is resp.null
--   FAILED, error   an error reply
--   PUSH, array     what is no reply
--   BROKEN, text    this is not RESP, or too deep; the decoder cannot be used on
function Decoder.next(d, p, at, len)
  local after, kind, value = d:next_short(p, at, len)
  if kind then
    return after, kind, value
  end
  return next_in(d, p, at, len)
end

-- The same for the most common reply, a short string that has arrived completely; nothing for others.
function Decoder.next_short(d, p, at, len)
  if d.depth == 0 and d.skip == 0 and len - at >= 6 then
    if p[at] == DOLLAR then
      local size, from = p[at + 1] - 48, at + 4
      if p[at + 2] ~= CR then
        size, from = size * 10 + p[at + 2] - 48, at + 5
        if p[at + 3] ~= CR then
          size, from = size * 10 + p[at + 3] - 48, at + 6
        end
      end
      if p[from - 2] == CR and p[from - 1] == LF and size >= 0 and size <= 999 and p[at + 1] >= 48
        and p[at + 1] < 58 and size <= len - from - 2 and size <= d.max_reply - ELEMENT_BYTES
        and (from < at + 5 or p[at + 2] >= 48 and p[at + 2] < 58)
        and (from < at + 6 or p[at + 3] >= 48 and p[at + 3] < 58)
        and p[from + size] == CR and p[from + size + 1] == LF then
        d.need, d.scanned = 1, 0
        return from + size + 2, VALUE, ffi_string(p + from, size)
      end
    end
  end
end

return members.strict(_M, 'moonring.resp')
