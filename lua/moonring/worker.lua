-- moonring.worker(fn, ...): runs a function on a worker thread while the task that called it waits.
-- Another thread has another Lua state: the function is sent there as bytecode, its arguments and results as
-- copies.
local ffi = require 'ffi'
local api = require 'moonring.abi'
local buffer = require 'string.buffer'
local failure = require 'moonring.failure'
local scheduler = require 'moonring.scheduler'

local encode, decode = buffer.encode, buffer.decode
local type, tostring, pcall, error, select, unpack = type, tostring, pcall, error, select, unpack
local getinfo, getupvalue = debug.getinfo, debug.getupvalue
local ffi_string = ffi.string

local _M = {}

-- Compiled functions that a state keeps.
local LOADED_MAX = 256

-- Values that `encode` rejects are named in our own words.
local function encoded(values, what)
  local ok, text = pcall(encode, values)
  if not ok then
    failure.raise(('moonring.worker: %s cannot be copied to another thread (%s): numbers, strings, '
      .. 'booleans and tables of these can'):format(what, tostring(text)))
  end
  return text
end

local function check(work)
  if type(work) == 'string' then
    if not work:find('^[%w_./-]+%.[%w_]+$') then
      failure.raise(("moonring.worker('module.function', ...): %q is not of this form"):format(work))
    end
  elseif type(work) ~= 'function' then
    failure.raise("moonring.worker takes a function or 'module.function', not a " .. type(work))
  else
    local info = getinfo(work, 'uS')
    if info.what == 'C' then
      failure.raise('moonring.worker: a function of C cannot go to another thread')
    elseif info.nups > 0 then
      failure.raise(("moonring.worker: the function uses the local '%s' from outside: pass it as an "
        .. "argument, or name a module's function"):format((getupvalue(work, 1))))
    end
  end
end

-- The function named by 'module.function'.
local function function_named(name)
  local module, member = name:match('^(.*)%.([%w_]+)$')
  local fn = require(module)[member]
  if type(fn) ~= 'function' then
    error(("moonring.worker: the module '%s' has no function '%s'"):format(module, member), 0)
  end
  return fn
end

-- Runs `work`, a function without upvalues or 'module.function', with copies of the arguments, and
-- returns copies of its results; raises its error as text.
function _M.call(work, ...)
  check(work)
  if api.is_attached == 0 then
    -- This is a worker already.
    if type(work) == 'string' then
      work = function_named(work)
    end
    return work(...)
  end
  scheduler.check('moonring.worker')
  local is_name = type(work) == 'string'
  local text = encoded({ is_name, is_name and work or string.dump(work), select('#', ...), ... },
    'an argument')
  local id = scheduler.id()
  local call = api.call_begin(api.calls, text, #text, id)
  if call == nil then
    scheduler.forget(id)
    local refused = failure.new('busy', 'moonring.worker: no worker can take it: all are '
      .. 'busy and the queue is full, or there are none (--threads)')
    refused.status = 503
    error(refused, 0)
  end
  local result = ffi.new 'hs_lua_call_t'
  local ok, reason = pcall(scheduler.wait, id, nil, 'moonring.worker')
  scheduler.forget(id)
  if not ok then
    api.call_end(api.calls, call)
    error(reason, 0)
  end
  api.call_result(call, result)
  local answer, failed = result.data ~= nil and ffi_string(result.data, result.len) or '', result.failed
  api.call_end(api.calls, call)
  if failed ~= 0 then
    error(answer ~= '' and answer or 'moonring.worker: the worker could not run it', 0)
  end
  local values = decode(answer)
  return unpack(values, 2, values[1] + 1)
end

-- ---- On the worker. ----

local loaded, loaded_count = {}, 0

local function function_of(is_name, text)
  local fn = loaded[text]
  if fn then
    return fn
  end
  if is_name then
    fn = function_named(text)
  else
    fn = assert(loadstring(text, '=(moonring.worker)'))
  end
  if loaded_count >= LOADED_MAX then
    loaded, loaded_count = {}, 0
  end
  loaded[text] = fn
  loaded_count = loaded_count + 1
  return fn
end

local function respond(ok, ...)
  local text = ok and encoded({ select('#', ...), ... }, 'a result') or failure.text_of((...))
  api.call_respond(api.lua, ok and 0 or 1, text, #text)
end

local function run(text)
  local values = decode(text)
  respond(pcall(function()
    return function_of(values[1], values[2])(unpack(values, 4, values[3] + 3))
  end))
end

-- Called by C: starts a call, which ends with call_respond.
function _M.run()
  local text = ffi_string(api.call_data, api.call_len)
  scheduler.spawn({ detached = true }, function()
    local ok, reason = pcall(run, text)
    if not ok then
      reason = failure.text_of(reason)
      api.call_respond(api.lua, 1, reason, #reason)
    end
  end)
end

return _M
