-- Loads a handler file and runs its handle(req, res) for each request, in a coroutine that
-- exec/hs_lua.c starts. An error becomes one log record with a traceback, and 500.
local api = require 'moonring.abi'
require 'moonring.request'
require 'moonring.response'
local log = require 'moonring.log'
local failure = require 'moonring.failure'
local coroutines = require 'moonring.coroutines'
local members = require 'moonring.members'
local native = require 'moonring.native'
local scheduler = require 'moonring.scheduler'
local semaphore = require 'moonring.semaphore'
local timers = require 'moonring.timers'
local topics = require 'moonring.topics'
local worker = require 'moonring.worker'

local pcall, xpcall, error = pcall, xpcall, error
local type, tostring, select = type, tostring, select

local _M = {}

-- The text of an error with a traceback of `co`, a coroutine that it ended, or of the running one; and the
-- status of the response. The message is concatenated here because traceback would cut it at a NUL, which may
-- come from a client.
local function describe(reason, co)
  return failure.text_of(reason) .. failure.traceback(co), failure.status_of(reason)
end

-- With --dev: builds the response that shows a handler's error, if a response is still possible.
local function show(reason, co, text, status)
  if failure.is(reason, 'aborted') then
    return false
  end
  local page = require 'moonring.error_page'
  return page.build(api.request, api.response, { text = text, status = status, frames = page.frames(co) })
end

-- describe() for a handler that did not wait.
local function describe_and_show(reason, co)
  local text, status = describe(reason, co)
  if show(reason, co, text, status) then
    api.response:send()
  end
  return text, status
end

-- Standard output belongs to the master's log, so print logs too.
local function print_to_log(...)
  local words = {}
  for i = 1, select('#', ...) do
    words[i] = tostring((select(i, ...)))
  end
  log.info(table.concat(words, '\t'))
end

-- The string returned by handle.
local function take_order(order)
  if order == 'worker' then
    api.wants_worker = 1
  elseif members.nearest(order, { { worker = true } }) then
    error(("handle has returned %q: did you mean 'worker'?"):format(order), 0)
  end
end

-- The function that C calls for each request.
local function runner(handle)
  return function()
    local result = handle(api.request, api.response)
    if type(result) == 'string' then
      take_order(result)
    end
  end
end

-- With --dev: after a rejected reload of the app at `path`, the response is the reason.
local function runner_in_development(handle, path)
  local rejection = require('moonring.shared').find 'moonring.rejection'
  local run = runner(handle)
  return rejection == nil and run or function()
    local reason = rejection:get 'reason'
    if reason == nil then
      return run()
    end
    require('moonring.error_page').build_rejected(api.request, api.response, reason, path)
    api.response:send()
  end
end

-- The function handle that the file at `path` defined in its `globals`. Raises if there is none.
function _M.handle_of(globals, path)
  local handle = rawget(globals, 'handle')
  if type(handle) == 'function' then
    return handle
  end
  local hint = ''
  local is_router, build = pcall(function() return handle.handler end)
  if is_router and type(build) == 'function' then
    hint = ': the router is not one yet, write handle = app:handler()'
  elseif handle ~= nil then
    hint = ': handle is a ' .. type(handle)
  elseif path:find '_test%.lua$' then
    hint = ": tests begin with require 'moonring.test'"
  else
    local name = members.nearest('handle', { globals })
    hint = name and (': did you mean handle by %q?'):format(name) or ''
  end
  error(('%s: the file defines no global function handle(req, res)%s'):format(path, hint), 0)
end

-- Modules that `moonring` loads at first use.
local modules = { cache = true, cookies = true, crypto = true, env = true, forms = true, http = true,
  json = true, limit = true, lock = true, log = true, metrics = true, ngx = true, percent = true,
  postgres = true, query = true, redis = true, router = true, shared = true, socket = true, test = true,
  trace = true, url = true, validation = true }

-- The global `moonring` of handlers: the runtime, and the modules by name.
local function public()
  local moonring = { after = timers.after, every = timers.every, semaphore = semaphore.new }
  for _, name in ipairs { 'sleep', 'spawn', 'timeout', 'now' } do
    moonring[name] = scheduler[name]
  end
  moonring.worker = worker.call
  -- A handler for the files below a directory.
  function moonring.static(root, options)
    return require('moonring.static').handler(root, options, 1, false)
  end
  moonring.publish, moonring.subscribe = topics.publish, topics.subscribe
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

-- Whether the compiled file assigns the global `handle`. A file without it may send its response
-- from the top, so it cannot be run to find out.
local function assigns_handle(chunk)
  local util = require 'jit.util'
  local function global_set(fn, opcode)
    local pc = 1
    local instruction = util.funcbc(fn, pc)
    while instruction do
      local constant = bit.rshift(instruction, 16)
      if (not opcode or bit.band(instruction, 0xff) == opcode)
        and util.funck(fn, -constant - 1) == 'handle' then
        return bit.band(instruction, 0xff)
      end
      pc = pc + 1
      instruction = util.funcbc(fn, pc)
    end
  end
  return global_set(chunk, global_set(loadstring 'handle = 1')) ~= nil
end

-- Runs the handler's file, unless it is an `ngx` file that runs for each request. Returns the function that
-- handles requests.
local function load_handler(path, chunk, has_ngx)
  if has_ngx then
    require 'moonring.ngx'
    if not assigns_handle(chunk) then
      return require('moonring.ngx_modules').wrap(chunk, path, true)
    end
  end
  local ok, failure = xpcall(chunk, describe)
  if not ok then
    error(failure, 0)
  end
  local handle = _M.handle_of(_G, path)
  if package.loaded['moonring.ngx'] then
    return require('moonring.ngx_modules').wrap(handle, path)
  end
  return handle
end

-- The error raised by exec/hs_lua_interrupt.c at `place`.
function _M.interrupted(place)
  return failure.interrupted(place)
end

-- `chunk` is the compiled file at `path`; `has_ngx`: --compat ngx. Returns the functions that exec/hs_lua.c
-- calls, in its order.
function _M.load(path, chunk, has_ngx)
  _G.print = print_to_log
  _G.hs_queue_push = coroutines.push
  _G.moonring = public()
  package.loaded.moonring = _G.moonring
  scheduler.install(describe, native.shows_errors and show or nil)
  coroutines.install()
  local handle = load_handler(path, chunk, has_ngx)
  if os.getenv 'MOONRING_ROUTES' then
    require('moonring.routes').write(handle)
  end
  api.streams_content = rawget(_G, 'stream_content') and 1 or 0
  local on_reload = rawget(_G, 'on_reload')
  if on_reload ~= nil then
    require('moonring.websocket').take_over(on_reload)
  end
  local describe_for_c, run = describe, runner(handle)
  if native.shows_errors then
    describe_for_c, run = describe_and_show, runner_in_development(handle, path)
  end
  scheduler.install_runner(run)
  return run, scheduler.run, describe_for_c, scheduler.suspended, scheduler.ended,
    timers.retire, worker.run, scheduler.where
end

return _M
