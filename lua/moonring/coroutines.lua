-- coroutine.resume, coroutine.wrap and hs_queue_push for handlers: a wait inside a handler's own coroutine
-- propagates to its resumer, up to the task.
local failure = require 'moonring.failure'
local scheduler = require 'moonring.scheduler'
local has_c_stack = require('moonring.native').has_c_stack

local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local isyieldable, status = coroutine.isyieldable, coroutine.status
local type, error = type, error
local getupvalue = debug.getupvalue
local raise, WAITING = failure.raise, scheduler.WAITING

local _M = {}

local function passed(co, ok, what, ...)
  while ok and what == WAITING do
    if isyieldable() then
      yield(WAITING)
    else
      scheduler.fail_wait('cannot wait: this coroutine was resumed by a function of C that calls '
        .. 'back, as table.sort and string.gsub do, or while a file is loaded')
    end
    return passed(co, resume(co))
  end
  return ok, what, ...
end

-- Nested coroutines use C stack: exec/hs_lua_guard.h.
local function pass_on(co, ...)
  if not has_c_stack() then
    raise('C stack overflow: coroutines are nested too deeply')
  end
  return passed(co, resume(co, ...))
end

-- Bytes of a message that get another position in front.
local POSITIONS_MAX = 1024

local function unwrapped(ok, ...)
  if ok then
    return ...
  end
  local reason = (...)
  -- Each level adds its position, up to a length: thousands would copy all of it.
  error(reason, type(reason) == 'string' and #reason < POSITIONS_MAX and 2 or 0)
end

local function wrap(fn)
  local wrapped_coroutine = create(fn)
  return function(...)
    return unwrapped(pass_on(wrapped_coroutine, ...))
  end
end

-- The coroutine of a function returned by coroutine.wrap; nil: `fn` is another function.
local function coroutine_in(fn)
  local index = 1
  local name, value = getupvalue(fn, index)
  while name and name ~= 'wrapped_coroutine' do
    index = index + 1
    name, value = getupvalue(fn, index)
  end
  return value
end

-- hs_queue_push(task): a function or a coroutine that is resumed after it yields.
function _M.push(work)
  local co = work
  if type(work) == 'function' then
    co = coroutine_in(work) or create(work)
  elseif type(work) ~= 'thread' then
    raise('hs_queue_push(task) takes a coroutine or a function, not a ' .. type(work))
  end
  if status(co) ~= 'suspended' then
    raise('hs_queue_push(task): the coroutine is ' .. status(co))
  end
  scheduler.push(co)
end

function _M.install()
  coroutine.resume = pass_on
  coroutine.wrap = wrap
end

return _M
