-- Loads a handler file and runs its handle(req, res) for each request. The only pcall boundary is
-- here: an error in a handler becomes one log record with a traceback, and 500.
local api = require 'moonring.abi'
require 'moonring.request'
require 'moonring.response'
local log = require 'moonring.log'
local tasks = require 'moonring.tasks'

local xpcall, type, tostring, error, select = xpcall, type, tostring, error, select
local traceback = debug.traceback

-- What LuaJIT says when the stack overflows inside compiled code, where `describe` cannot run.
local NO_STACK = 'error in error handling'

local _M = {}

-- The error that exec/hs_lua.c raises between two instructions of a handler that takes too long.
local DEADLINE = 'the handler ran into its deadline'

local function describe(failure)
  -- Level 2 leaves this function out of the traceback; a deadline has no `error` in between. The
  -- message is joined here because traceback would cut it at a NUL, which a client can put in.
  return tostring(failure) .. traceback('', failure == DEADLINE and 1 or 2)
end

-- Standard output belongs to the master's log: print goes to the log as well.
local function print_to_log(...)
  local words = {}
  for i = 1, select('#', ...) do
    words[i] = tostring((select(i, ...)))
  end
  log.info(table.concat(words, '\t'))
end

-- What C is told about a request: see exec/hs_lua.c.
local RAISED, RETURNED, WANTS_WORKER = 0, 1, 2

-- The function that C calls for each request.
local function runner(handle)
  return function()
    local request = api.request
    local ok, failure = xpcall(handle, describe, request, api.response)
    if ok then
      -- The second result is then what the handler returned.
      return failure == 'worker' and WANTS_WORKER or RETURNED
    end
    if failure == NO_STACK then
      failure = failure .. ': no stack was left to describe one, as after endless recursion'
    end
    log.error(('lua error in %s %s: %s'):format(request.method, request.url, failure))
    return RAISED
  end
end

-- Returns two functions: one handles the current request, one resumes background tasks.
function _M.load(path)
  local chunk, failure = loadfile(path)
  if not chunk then
    error(failure, 0)
  end
  _G.print = print_to_log
  _G.hs_queue_push = tasks.push
  local ok
  ok, failure = xpcall(chunk, describe)
  if not ok then
    error(failure, 0)
  end
  local handle = rawget(_G, 'handle')
  if type(handle) ~= 'function' then
    error(path .. ': the file defines no function handle(req, res)', 0)
  end
  return runner(handle), tasks.run
end

return _M
