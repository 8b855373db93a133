-- Errors of the runtime: tables with a `code`, and messages at the line of the handler.
local error, type, setmetatable, getmetatable = error, type, setmetatable, getmetatable
local getinfo, find = debug.getinfo, string.find

local _M = {}

local Failure = {}
Failure.__index = Failure
function Failure.__tostring(failure)
  return failure.message
end

-- What a wait raises: `code` is for programs, tostring() gives the message.
function _M.new(code, message)
  return setmetatable({ code = code, message = message }, Failure)
end

-- Whether `value` is one, with this code if one is given.
function _M.is(value, code)
  return type(value) == 'table' and getmetatable(value) == Failure and
    (code == nil or value.code == code)
end

-- The status of the response to a request whose handler has raised `value`.
function _M.status_of(value)
  return _M.is(value) and value.status or 500
end

-- Where the modules of the runtime lie: a directory, or the beginning of their names.
local OWN = getinfo(1, 'S').source:gsub('failure[.lua]*$', '')

-- Raises at the line of the handler that called into the runtime.
function _M.raise(message)
  local level = 2
  local info = getinfo(level, 'S')
  while info and (info.what == 'C' or find(info.source, OWN, 1, true) == 1) do
    level = level + 1
    info = getinfo(level, 'S')
  end
  error(message, info and level or 1)
end

return _M
