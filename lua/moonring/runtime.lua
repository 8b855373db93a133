-- Loads a handler file and runs its handle(req, res) for each request. exec/hs_lua.c calls the
-- function that handles one request protected, with `describe` as message handler: an error becomes
-- one log record with a traceback, and 500.
local api = require 'moonring.abi'
require 'moonring.request'
require 'moonring.response'
local log = require 'moonring.log'
local tasks = require 'moonring.tasks'

local pcall, xpcall, error = pcall, xpcall, error
local type, tostring, select, next, getmetatable = type, tostring, select, next, getmetatable
local traceback = debug.traceback

local _M = {}

-- Fields of an error table that are logged.
local FIELDS_SHOWN = 16

-- The error that exec/hs_lua.c raises between two instructions of a handler that takes too long.
local DEADLINE = 'the handler ran into its deadline'

-- An error may be any value; most that are no strings are tables with a code and a message.
local function text_of(failure)
  if type(failure) == 'string' then
    return failure
  end
  local ok, text = pcall(tostring, failure)
  if not ok then
    return ('an error (a %s) that cannot be described: its __tostring raises'):format(type(failure))
  end
  if type(failure) ~= 'table' or (getmetatable(failure) or {}).__tostring then
    return text
  end
  local fields = {}
  for name, value in next, failure do
    if #fields == FIELDS_SHOWN then
      fields[#fields + 1] = '…'
      break
    end
    local shown, field = pcall(tostring, value)
    fields[#fields + 1] = ('%s = %s'):format(tostring(name), shown and field or type(value))
  end
  return #fields > 0 and '{ ' .. table.concat(fields, ', ') .. ' }' or text
end

local function describe(failure)
  -- Level 2 leaves this function out of the traceback; a deadline has no `error` in between. The
  -- message is joined here because traceback would cut it at a NUL, which a client can put in.
  return text_of(failure) .. traceback('', failure == DEADLINE and 1 or 2)
end

-- Standard output belongs to the master's log: print goes to the log as well.
local function print_to_log(...)
  local words = {}
  for i = 1, select('#', ...) do
    words[i] = tostring((select(i, ...)))
  end
  log.info(table.concat(words, '\t'))
end

-- The function that C calls for each request.
local function runner(handle)
  return function()
    if handle(api.request, api.response) == 'worker' then
      api.wants_worker = 1
    end
  end
end

-- `chunk` is the compiled file at `path`. Returns three functions: one handles the current request,
-- one resumes background tasks, and one is the message handler of the first.
function _M.load(path, chunk)
  _G.print = print_to_log
  _G.hs_queue_push = tasks.push
  local ok, failure = xpcall(chunk, describe)
  if not ok then
    error(failure, 0)
  end
  local handle = rawget(_G, 'handle')
  if type(handle) ~= 'function' then
    error(path .. ': the file defines no function handle(req, res)', 0)
  end
  return runner(handle), tasks.run, describe
end

return _M
