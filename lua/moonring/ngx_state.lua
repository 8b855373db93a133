-- The ngx modules' state of a request, or of a timer's task: a table attached to the task, created at first
-- use and dropped with it.
local ffi = require 'ffi'
local api = require 'moonring.abi'
local scheduler = require 'moonring.scheduler'

local error, format, rawget = error, string.format, rawget
local cast, lshift, rshift = ffi.cast, bit.lshift, bit.rshift
local task_of = scheduler.task

local _M = {}

local now -- ngx.now, set by ngx.lua
local is_wrapped = false

-- The current state: the request's or the timer's. nil while a file is loaded.
--
--   is_request  false: a timer's
--   root        the task that it belongs to
--   began       when the request was first seen, seconds
--   ctx         ngx.ctx
--   and what ngx_request.lua, ngx_response.lua and ngx_tasks.lua say
function _M.find()
  local task = task_of()
  if not task then
    return nil
  end
  local root = task.request or task
  local state = rawget(root, 'ngx') -- tasks are strict
  if not state then
    state = { is_request = root.request == root, root = root, began = now() }
    root.ngx = state
  end
  return state
end

local find = _M.find

-- The state of a request; raises in timers and while a file is loaded, at the line that called our caller.
function _M.request(what)
  local state = find()
  if not state then
    error(format('%s: API disabled while the file is loaded', what), 3)
  elseif not is_wrapped then
    error(what .. ": require 'moonring.ngx' while the handler's file is loaded, not in a request", 3)
  elseif not state.is_request then
    error(format('%s: API disabled in the context of ngx.timer', what), 3)
  end
  return state
end

-- The task belongs to no request: it gets the state of the timer that started it.
function _M.share(task, state)
  if not task.request then
    task.ngx = state
  end
end

local handle_t, view_t = ffi.typeof 'uint64_t', ffi.typeof 'hs_view_t *'

-- What C has of the request that runs.
function _M.view()
  return cast(view_t,
    lshift(rshift(cast(handle_t, api.request), api.generation_bits), api.alignment_bits))
end

-- The handler also finishes what ngx has started: runtime.lua found the module loaded.
function _M.wrap()
  is_wrapped = true
end

function _M.install(clock)
  now = clock
end

return _M
