-- Errors of the runtime: tables with a `code`, and messages at the line of the handler.
local error, type, setmetatable, getmetatable = error, type, setmetatable, getmetatable
local next, pcall, tostring = next, pcall, tostring
local concat, traceback = table.concat, debug.traceback
local getinfo, rawget = debug.getinfo, rawget
local find, format, gmatch = string.find, string.format, string.gmatch

local _M = {}

local Failure = {}
Failure.__index = Failure
function Failure.__tostring(failure)
  return failure.message
end

-- The error raised by a wait: `code` is for programs, tostring() returns the message.
function _M.new(code, message)
  return setmetatable({ code = code, message = message }, Failure)
end

-- The error raised in a handler that ran for too long without waiting: catching it does not stop it.
function _M.interrupted(place)
  local value = _M.new('timeout', place .. 'the handler ran into its deadline and was interrupted')
  value.status, value.is_interrupted = 503, true
  return value
end

-- Whether `value` is such an error, with this code if given.
function _M.is(value, code)
  return type(value) == 'table' and getmetatable(value) == Failure and
    (code == nil or value.code == code)
end

-- The status of the response to a request whose handler raised `value`.
function _M.status_of(value)
  return _M.is(value) and value.status or 500
end

-- How many fields of an error table are shown, and how deeply nested.
local FIELDS_SHOWN, LEVELS = 16, 3

local text_of

local function fields_of(value, level)
  local fields = {}
  for name, member in next, value do
    if #fields == FIELDS_SHOWN then
      fields[#fields + 1] = '…'
      break
    end
    fields[#fields + 1] = format('%s = %s', text_of(name, level + 1), text_of(member, level + 1))
  end
  return #fields > 0 and '{ ' .. concat(fields, ', ') .. ' }' or '{}'
end

-- An error may be any value; most that are not strings are tables with a code and a message.
text_of = function(value, level)
  if type(value) == 'string' then
    return value
  end
  local meta = getmetatable(value)
  if type(value) == 'table' and not (type(meta) == 'table' and rawget(meta, '__tostring')) then
    return level < LEVELS and fields_of(value, level) or '{…}'
  end
  local ok, text = pcall(tostring, value)
  if not ok or type(text) ~= 'string' then
    return format('an error (a %s) that cannot be described: its __tostring raises', type(value))
  end
  return text
end

function _M.text_of(value)
  return text_of(value, 0)
end

-- debug.traceback of `co`, or of the caller's caller; recursive calls are collapsed to one line.
function _M.traceback(co)
  local text = co and traceback(co, '') or traceback('', 3)
  local out, last, count = {}, nil, 0
  for line in gmatch(text .. '\n\n', '([^\n]*)\n') do
    if line == last then
      count = count + 1
    else
      if count > 1 then
        out[#out] = format('%s (%d times)', last, count)
      end
      out[#out + 1] = line
      last, count = line, 1
    end
  end
  return concat(out, '\n', 1, #out - 1)
end

-- Raises unless `req` can be a request. `call`: how the function is written.
function _M.check_request(req, call)
  if type(req) ~= 'cdata' and type(req) ~= 'table' then
    _M.raise(format('%s takes the request, got %s', call, req == nil and 'nil' or 'a ' .. type(req)))
  end
end

-- Where the runtime's modules are: a directory, or a prefix of their names.
local OWN = getinfo(1, 'S').source:gsub('failure[.lua]*$', '')

-- Whether a function (debug.getinfo's `what` and `source`) is one of the runtime.
local function is_own(info)
  return info.what == 'C' or find(info.source, OWN, 1, true) == 1
end
_M.is_own = is_own

-- Raises at the handler's line that called into the runtime; without a position if there is none.
function _M.raise(message)
  local level = 2
  local info = getinfo(level, 'S')
  while info and is_own(info) do
    level = level + 1
    info = getinfo(level, 'S')
  end
  error(message, info and level or 0)
end

-- Where a suspended coroutine called into the runtime, and which function: 'app.lua:3, in sleep'. nil if
-- there is no handler in it.
function _M.place_of(co)
  local level, call = 0, nil
  local info = getinfo(co, level, 'Sln')
  while info and is_own(info) do
    call = info.name or call
    level = level + 1
    info = getinfo(co, level, 'Sln')
  end
  return info and format('%s:%d%s', info.short_src, info.currentline, call and ', in ' .. call or '')
end

return _M
