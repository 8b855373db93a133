-- Tasks of one Lua state: coroutines that wait for time, for each other or for something in C, and
-- go on when it has come. Every request has a task once it waits or begins others; those end with
-- it. exec/hs_lua.c starts the coroutine of a request, calls `suspended` with it when it waits, and
-- `run` in each turn in which something can go on.
--
-- A wait is a yield with the value WAITING, which passes through coroutines of the handler's own
-- (coroutines.lua).
local ffi = require 'ffi'
local api = require 'moonring.abi'
local deadlines = require 'moonring.deadlines'
local failure = require 'moonring.failure'
local log = require 'moonring.log'
local queue = require 'moonring.queue'

local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local status, isyieldable = coroutine.status, coroutine.isyieldable
local error, type, tostring, select, pairs, pcall = error, type, tostring, select, pairs, pcall
local setmetatable, unpack = setmetatable, unpack
local arm, disarm = deadlines.arm, deadlines.disarm
local raise, failure_of, is_failure = failure.raise, failure.new, failure.is
local min = math.min
local cast, lshift, rshift = ffi.cast, bit.lshift, bit.rshift

local _M = {}

local WAITING = {}
-- For `due`: before every time.
local LATE = -1

-- Tasks resumed in one run, so that requests get their turn.
local BUDGET = 512
-- Tasks that have yielded resumed in one run, and how many there may be: nobody would resume more
-- in time.
local YIELDED_BUDGET = 16
local YIELDED_MAX = 4096
-- What was cancelled has so long to end.
local GRACE_S = 5
-- Ids of a request, see exec/hs_lua_wakes.h.
local WAKE_ABORT, WAKE_CONTENT, WAKE_DRAINED, WAKES = 0, 1, 2, 3
-- Numbers of httpserver.h.
local ABORT_LOST, ABORT_TIMEOUT = 2, 3
local LOG_ERROR = 3
-- How `retire` is called by C.
local RETIRE_REPLACED, RETIRE_LAST = 1, 2

local handle_t, view_t = ffi.typeof 'uint64_t', ffi.typeof 'hs_view_t *'

-- The task that runs; nil: none, or a request that has none yet.
local current

-- ---- Tasks that can go on, the oldest first. ----

local ready = queue.new()

local function put_ready(task)
  ready:put(task)
  api.ready_count = ready.count
end

-- ---- Ids: what C wakes. ----

local ID_MAX = 2 ^ 32 - 16
local next_id = 1
local waiting = {}  -- the task that waits for an id
local woken = {}    -- ids that C has woken before anything waited for them
local used = {}     -- ids that _M.id has given
local requests = {} -- the task of a request, by its first id

-- The first of `count` ids that are not in use.
local function take_ids(count)
  local id = next_id
  while true do
    if id > ID_MAX then
      id = 1
    end
    local is_free = true
    for i = id - WAKES + 1, id + count - 1 do
      is_free = is_free and not used[i] and requests[i] == nil
    end
    if is_free then
      next_id = id + count
      return id
    end
    id = id + 1
  end
end

-- An id for _M.wait, until _M.forget.
function _M.id()
  local id = take_ids(1)
  used[id] = true
  return id
end

function _M.forget(id)
  used[id] = nil
  waiting[id] = nil
  woken[id] = nil
end

-- ---- A task. ----
--
--   co        its coroutine
--   request   the task of the request that it belongs to, itself for that one; nil: none
--   view      of the request's task: what C has of the request, with `handle` as it was
--   state     'new' | 'ready' | 'waiting' | 'running' | 'ended'
--   waits_for an id, while it waits for one
--   failure   what its wait is to raise
--   due       when its wait ends; LATE: it has ended so
local Task = {}
Task.__index = Task

-- The task of the request that runs without one.
local function begin_request(what)
  local request = api.request
  if request == nil then
    raise(what .. ': nothing can wait while the file is loaded')
  end
  local handle = cast(handle_t, request)
  local view = cast(view_t,
    lshift(rshift(handle, api.generation_bits), api.alignment_bits))
  local base = take_ids(WAKES)
  -- Eight fields, with those that a sleep sets: a ninth would double what a request costs.
  local task = setmetatable({ state = 'running', view = view, handle = handle, base = base,
    request = false, co = false, due = 0, at = false }, Task)
  task.request = task
  view.wake = base
  requests[base] = task
  api.has_task = 1
  current = task
  return task
end

-- The task that runs. `what` names the call.
local function running(what)
  return current or begin_request(what)
end
_M.running = running

-- The table req.ctx of the request of `view`, which is not over: made when it is first asked for. It
-- belongs to the request's task, which ends with the request, on whatever task it is asked for.
function _M.context_of(view)
  local task = requests[view.wake] or begin_request('req.ctx')
  local context = task.context
  if not context then
    context = {}
    task.context = context
  end
  return context
end

-- A number that names the request of the running task, nil where it belongs to none.
function _M.current()
  local task = current
  if not task then
    if api.request == nil then
      return nil
    end
    task = begin_request('moonring')
  end
  return task.request and task.request.base
end

local function forget_wait(task)
  disarm(task)
  local id = task.waits_for
  if id then
    waiting[id] = nil
    task.waits_for = nil
  end
end

local function wake(task)
  if task.state ~= 'waiting' then
    return
  end
  forget_wait(task)
  task.state = 'ready'
  put_ready(task)
end

-- As a timer: the wait of the task has taken too long, or as long as it should.
function Task.fire(task)
  task.due = LATE
  wake(task)
end

-- Raises where the running task cannot wait.
local function check_can_wait(what)
  if not isyieldable() then
    raise(what .. ': cannot wait inside a function of C that calls back, as table.sort, '
      .. 'string.gsub and tostring() do, nor while a file is loaded')
  end
end

local function raise_failure(task)
  local reason = task.failure
  if reason then
    forget_wait(task)
    task.failure = nil
    error(reason, type(reason) == 'string' and 4 or 0)
  end
end

-- Suspends the running task until it is woken.
local function suspend(task)
  if not task.failure then
    task.state = 'waiting'
    yield(WAITING)
  end
  raise_failure(task)
end

local function check_seconds(seconds, what)
  if type(seconds) ~= 'number' or not (seconds >= 0 and seconds < 1e9) then
    raise(('%s takes seconds, 0 or more, not %s'):format(what, tostring(seconds)))
  end
end

-- Lets others go on, until the next turn.
local function take_turn(task)
  if not task.failure then
    task.state = 'ready'
    put_ready(task)
    yield(WAITING)
  end
  raise_failure(task)
end

function _M.now()
  return api.now()
end

function _M.sleep(seconds)
  check_seconds(seconds, 'moonring.sleep')
  local task = running('moonring.sleep')
  check_can_wait('moonring.sleep')
  if seconds == 0 then
    return take_turn(task)
  end
  arm(task, seconds)
  suspend(task)
end

-- Until wake(task): true. nil, 'timeout' after `seconds` (nil: no limit).
local function wait_for_wake(task, seconds)
  task.due = 0
  if seconds then
    arm(task, seconds)
  end
  suspend(task)
  if task.due == LATE then
    return nil, 'timeout'
  end
  return true
end

-- Until C has woken `id`: true. nil, 'timeout' after `seconds` (nil: no limit).
function _M.wait(id, seconds, what)
  if woken[id] then
    woken[id] = nil
    return true
  end
  local task = running(what)
  if waiting[id] then
    raise(what .. ': another task waits for the same already')
  end
  check_can_wait(what)
  waiting[id] = task
  task.waits_for = id
  return wait_for_wake(task, seconds)
end

-- ---- The end of a task. ----

-- What C has of the task's request; nil: it belongs to none, or to one that is over.
local function live_view(task)
  local root = task.request
  local view = root and root.view
  return view and view.handle == root.handle and view or nil
end

local describe -- set by runtime.lua

local function log_failure(task, reason)
  if is_failure(reason, 'cancelled') or is_failure(reason, 'aborted') or
    (is_failure(reason, 'timeout') and task.request ~= task) then -- its request's says it
    return
  end
  local text = describe(reason, task.co)
  api.task_failed(api.lua, live_view(task), LOG_ERROR, text, #text)
end

-- One that C has made waits for its next request; its end has emptied it.
local idle, idle_count = {}, 0
local IDLE_MAX = 256

local function keep_coroutine(co)
  if idle_count < IDLE_MAX then
    idle_count = idle_count + 1
    idle[idle_count] = co
  end
end

local function run_at_end(task)
  local functions = task.at_end
  task.at_end = nil
  for i = #functions, 1, -1 do
    local ok, reason = pcall(functions[i], task)
    if not ok then
      log.error('lua error at the end of a request: ' .. tostring(reason))
    end
  end
end

-- What was cancelled and does not end in time.
local Killer = {}
Killer.__index = Killer

-- The wait in which the task is, or its next one, raises `reason`.
local function cancel(task, reason)
  if task.state == 'ended' or task.failure then
    return
  end
  task.failure = reason
  if task.state == 'new' then
    return
  end
  if not task.killer then
    task.killer = setmetatable({ task = task }, Killer)
    arm(task.killer, GRACE_S)
  end
  if task.state == 'waiting' then
    wake(task)
  end
end

local function end_children(task)
  local children = task.children
  if not children then
    return
  end
  task.children = nil
  for child in pairs(children) do
    cancel(child, failure_of('cancelled', 'cancelled: the request of this task has ended'))
  end
end

-- What a task leaves behind, whatever ended it.
local function leave(task)
  task.state = 'ended'
  if task.is_held or (task.request == task and task.co) then -- a suspended request is held
    task.is_held = nil
    api.held_count = api.held_count - 1
  end
  if task.is_last then
    api.last_count = api.last_count - 1
  end
  if task.killer then
    disarm(task.killer)
    task.killer = nil
  end
  local root = task.request
  if root and root ~= task and root.children then
    root.children[task] = nil
  end
  if root == task then
    requests[task.base] = nil
    for event = 0, WAKES - 1 do
      _M.forget(task.base + event)
    end
    end_children(task)
  end
  if task.at_end then
    run_at_end(task)
  end
  local joiner = task.joiner
  if joiner then
    task.joiner = nil
    wake(joiner)
  end
end

-- The request of this task has its response, unless it had it before. `failed`: nil, or the status
-- of a response whose head was not sent.
local function end_request(task, failed)
  local view = task.view
  if view.handle == task.handle then
    if api.wants_worker ~= 0 then
      api.wants_worker = 0
      local text = "return 'worker' must come before anything is waited for"
      api.task_failed(api.lua, view, LOG_ERROR, text, #text)
      failed = 500
    end
    api.request_end(view, failed or 0)
  end
end

local function finish(task, ok, ...)
  task.ok = ok
  if ok then
    task.results = task.request ~= task and { n = select('#', ...), ... } or nil
  else
    task.failed_with = (...)
    if not task.joiner then
      log_failure(task, task.failed_with)
    end
  end
  if task.request == task then
    end_request(task, not ok and failure.status_of(task.failed_with) or nil)
    if ok then
      keep_coroutine(task.co)
    end
  end
  leave(task)
end

-- It is never resumed again.
function Killer.fire(killer)
  local task = killer.task
  forget_wait(task)
  log.warn(('a cancelled task has not ended within %d seconds: it is dropped')
    :format(GRACE_S) .. debug.traceback(task.co, ''))
  finish(task, false, failure_of('cancelled', 'cancelled, and did not end in time'))
end

-- ---- Tasks that have yielded without waiting: hs_queue_push of the original. ----

local yielded = queue.new()

local function put_yielded(task)
  yielded:put(task)
  api.yielded_count = yielded.count
end

-- The state has a successor: what only yields ends.
local is_replaced = false

-- ---- Resuming. ----

-- What a resume of the task's coroutine has returned.
local function resumed(task, ok, what, ...)
  current = nil
  api.task_pause(api.lua)
  if ok and status(task.co) == 'suspended' then
    if what == WAITING then
      return
    end
    if task.may_yield then
      task.state = 'ready'
      return is_replaced and leave(task) or put_yielded(task)
    end
    return finish(task, false, 'coroutine.yield outside of a coroutine of its own: use moonring.sleep')
  end
  return finish(task, ok, what, ...)
end

local function go_on(task)
  if task.state ~= 'ready' and task.state ~= 'new' then
    return -- it has gone on meanwhile, or ended
  end
  local is_new = task.state == 'new'
  task.state = 'running'
  current = task
  api.task_begin(api.lua, live_view(task))
  if is_new then
    local arguments = task.arguments
    task.arguments = nil
    if task.failure then
      return finish(task, false, task.failure)
    end
    return resumed(task, resume(task.co, unpack(arguments, 1, arguments.n)))
  end
  return resumed(task, resume(task.co))
end

local function new_task(root, co, ...)
  local task = setmetatable({ state = 'new', co = co, request = root,
    arguments = { n = select('#', ...), ... } }, Task)
  if root then
    local children = root.children
    if not children then
      children = {}
      root.children = children
    end
    children[task] = true
  else
    task.is_held = true
    api.held_count = api.held_count + 1
  end
  put_ready(task)
  return task
end

local function abort(task)
  local view = task.view
  if view.handle ~= task.handle or task.is_aborted then
    return
  end
  local reason = api.request_aborted(view)
  task.is_aborted = true
  if task.on_abort and reason == ABORT_LOST then
    local handler = task.on_abort
    task.on_abort = nil
    new_task(task, create(handler))
    return
  end
  local raised = reason == ABORT_TIMEOUT
      and failure_of('timeout', 'the handler ran into its deadline')
    or failure_of('aborted', 'aborted: the client has gone')
  cancel(task, raised)
  if task.children then
    for child in pairs(task.children) do
      cancel(child, raised)
    end
  end
end

local function take_wakes()
  local wakes = api.wakes
  local count = wakes.count
  for i = 0, count - 1 do
    local id = wakes.ids[i]
    local task = waiting[id]
    if task then
      wake(task)
    elseif requests[id] then
      abort(requests[id])
    else
      woken[id] = true
    end
  end
  wakes.count = 0
end

-- Called by C: what can go on does, once each.
function _M.run()
  if api.wakes.count > 0 then
    take_wakes()
  end
  deadlines.fire()
  -- Not what is put there meanwhile: that has its turn.
  for _ = 1, min(ready.count, BUDGET) do
    go_on(ready:take())
  end
  api.ready_count = ready.count
  for _ = 1, min(yielded.count, YIELDED_BUDGET) do
    go_on(yielded:take())
  end
  api.yielded_count = yielded.count
end

-- Called by C when the coroutine of a request has yielded. Returns one for the next request, nil if
-- there is none.
function _M.suspended(co)
  local task = current
  current = nil
  if not task or task.state == 'running' then
    if task then
      leave(task)
    end
    error('coroutine.yield outside of a coroutine of its own: use moonring.sleep'
      .. debug.traceback(co, ''), 0)
  end
  task.co = co
  api.held_count = api.held_count + 1
  if idle_count > 0 then
    local other = idle[idle_count]
    idle[idle_count] = nil
    idle_count = idle_count - 1
    return other
  end
end

-- Called by C when a request that has a task has ended without waiting.
function _M.ended()
  local task = current
  current = nil
  leave(task)
end

-- ---- What handlers call. ----

local function check_function(fn, what)
  if type(fn) ~= 'function' then
    raise(('%s takes a function, not a %s'):format(what, type(fn)))
  end
end

-- moonring.spawn([{ detached = true },] fn, ...)
function _M.spawn(options, ...)
  if type(options) == 'table' then
    local fn = (...)
    check_function(fn, 'moonring.spawn(options, fn, ...)')
    if options.detached then
      return new_task(nil, create(fn), select(2, ...))
    end
    return new_task(running('moonring.spawn').request, create(fn), select(2, ...))
  end
  check_function(options, 'moonring.spawn')
  return new_task(running('moonring.spawn').request, create(options), ...)
end

local function results_of(task)
  if task.ok then
    return unpack(task.results, 1, task.results.n)
  end
  error(task.failed_with, 0)
end

-- Until the task has ended, at most `seconds` (nil: no limit). Returns whether it has.
local function join(task, seconds, what)
  local waiter = running(what)
  check_can_wait(what)
  task.joiner = waiter
  local ok, reason = pcall(wait_for_wake, waiter, seconds)
  task.joiner = nil
  if not ok then
    error(reason, 0)
  end
  return task.state == 'ended'
end

-- What the task's function returned; raises what it raised. After `seconds` nil, 'timeout'.
function Task.wait(task, seconds)
  if seconds ~= nil then
    check_seconds(seconds, 'task:wait')
  end
  if task == current then
    error('task:wait: a task cannot wait for itself', 2)
  end
  if task.joiner then
    error('task:wait: another task waits for this one already', 2)
  end
  if task.state ~= 'ended' and not join(task, seconds, 'task:wait') then
    return nil, 'timeout'
  end
  return results_of(task)
end

-- Its wait raises. A task that has not begun never does.
function Task.cancel(task)
  cancel(task, failure_of('cancelled', 'cancelled'))
end

-- 'running', 'waiting' or 'ended'.
function Task.status(task)
  local state = task.state
  return (state == 'new' or state == 'ready') and 'waiting' or state
end

-- Runs fn(...) for at most `seconds`: its results, or nil, 'timeout', and then it is cancelled.
function _M.timeout(seconds, fn, ...)
  check_seconds(seconds, 'moonring.timeout')
  check_function(fn, 'moonring.timeout')
  local task = new_task(running('moonring.timeout').request, create(fn), ...)
  local ok, has_ended = pcall(join, task, seconds, 'moonring.timeout')
  if ok and has_ended then
    return results_of(task)
  end
  cancel(task, failure_of('cancelled', 'cancelled: moonring.timeout is over'))
  if not ok then
    error(has_ended, 0)
  end
  return nil, 'timeout'
end

-- The reactor drains (`how`: 0), the state has a successor (RETIRE_REPLACED), or nothing goes on at
-- all (RETIRE_LAST).
function _M.retire(how)
  if how >= RETIRE_REPLACED then
    is_replaced = true
    for task in yielded.take, yielded do
      leave(task)
    end
    api.yielded_count = 0
  end
  if how == RETIRE_LAST then
    for _, task in pairs(requests) do
      end_request(task, 500)
    end
    deadlines.forget_all()
    ready = queue.new()
    requests, waiting, woken = {}, {}, {}
    api.ready_count, api.held_count, api.last_count = 0, 0, 0
  end
end

-- ---- For the modules of the runtime. ----

-- Calls fn(task) when the request of the running task has ended, or the task, if it belongs to none;
-- `task` is that one.
function _M.on_end(fn)
  local task = running('moonring')
  task = task.request or task
  local functions = task.at_end
  if not functions then
    functions = {}
    task.at_end = functions
  end
  functions[#functions + 1] = fn
end

-- fn() is called when the client has gone, instead of an error that the waiting task raises.
function _M.on_abort(fn)
  local task = running('req:on_abort').request
  if task then
    task.on_abort = fn
  end
end

_M.WAKE_CONTENT, _M.WAKE_DRAINED = WAKE_CONTENT, WAKE_DRAINED

-- Until an event of the request that the running task belongs to: as `wait`.
function _M.wait_for_request(event, what)
  local root = running(what).request
  if not root then
    raise(what .. ': this task belongs to no request')
  end
  return _M.wait(root.base + event, nil, what)
end

-- The running task; raises where it cannot wait.
function _M.check(what)
  local task = running(what)
  check_can_wait(what)
  return task
end

-- The wait of the running task cannot be: it raises `reason`.
function _M.fail_wait(reason)
  forget_wait(current)
  current.state = 'running'
  current.failure = reason
end

-- A drain waits for the running task.
function _M.drain_waits_for()
  current.is_last = true
  api.last_count = api.last_count + 1
end

_M.WAITING, _M.RETIRE_LAST = WAITING, RETIRE_LAST
_M.wait_for_wake, _M.wake = wait_for_wake, wake
_M.check_seconds, _M.check_function = check_seconds, check_function

-- hs_queue_push with a suspended coroutine, which goes on after it has yielded.
function _M.push(co)
  if yielded.count >= YIELDED_MAX then
    raise(('hs_queue_push(task): %d tasks wait already'):format(YIELDED_MAX))
  end
  put_yielded(setmetatable({ state = 'new', co = co, may_yield = true,
    arguments = { n = 0 } }, Task))
end

-- Called by runtime.lua before the handler is loaded.
function _M.install(describe_failure)
  describe = describe_failure
end

return _M
