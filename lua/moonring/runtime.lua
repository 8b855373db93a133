-- Loads a handler file and runs its handle(req, res) for each request, in a coroutine that
-- exec/hs_lua.c starts. An error becomes one log record with a traceback, and 500.
local api = require 'moonring.abi'
require 'moonring.request'
require 'moonring.response'
local log = require 'moonring.log'
local failure = require 'moonring.failure'
local coroutines = require 'moonring.coroutines'
local members = require 'moonring.members'
local scheduler = require 'moonring.scheduler'
local semaphore = require 'moonring.semaphore'
local timers = require 'moonring.timers'
local worker = require 'moonring.worker'

local pcall, xpcall, error = pcall, xpcall, error
local type, tostring, select, next, getmetatable = type, tostring, select, next, getmetatable
local traceback = debug.traceback

local _M = {}

-- Fields of an error table that are logged.
local FIELDS_SHOWN = 16

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

-- The text of an error with a traceback: of `co`, a coroutine that it has ended, or of the running
-- one; and the status of the response. The message is joined here because traceback would cut it at a NUL, which a client can put
-- in.
local function describe(reason, co)
  local trace = co and traceback(co, '') or traceback('', 2)
  return text_of(reason) .. trace, failure.status_of(reason)
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

-- Modules that `moonring` loads when they are first asked for.
local modules = { cookies = true, crypto = true, env = true, forms = true, json = true, log = true,
  metrics = true, percent = true, query = true, router = true, test = true, trace = true,
  validation = true }

-- What handlers find as `moonring`: the runtime, and the modules by their names.
local function public()
  local moonring = { after = timers.after, every = timers.every, semaphore = semaphore.new }
  for _, name in ipairs { 'sleep', 'spawn', 'timeout', 'now' } do
    moonring[name] = scheduler[name]
  end
  moonring.worker = worker.call
  -- The number of the reactor, from 0; nil on a worker, and while the file is loaded.
  function moonring.reactor()
    return api.is_attached ~= 0 and api.reactor_index >= 0 and api.reactor_index or nil
  end
  return setmetatable(moonring, { __index = function(_, name)
    if not modules[name] then
      error(members.unknown('moonring', name, { moonring, modules }), 2)
    end
    return require('moonring.' .. name)
  end })
end

-- `chunk` is the compiled file at `path`. Returns what exec/hs_lua.c calls, in its order.
function _M.load(path, chunk)
  _G.print = print_to_log
  _G.hs_queue_push = coroutines.push
  _G.moonring = public()
  package.loaded.moonring = _G.moonring
  scheduler.install(describe)
  coroutines.install()
  local ok, failure = xpcall(chunk, describe)
  if not ok then
    error(failure, 0)
  end
  local handle = rawget(_G, 'handle')
  if type(handle) ~= 'function' then
    error(path .. ': the file defines no global function handle(req, res)', 0)
  end
  api.streams_content = rawget(_G, 'stream_content') and 1 or 0
  return runner(handle), scheduler.run, describe, scheduler.suspended, scheduler.ended,
    timers.retire, worker.run
end

return _M
