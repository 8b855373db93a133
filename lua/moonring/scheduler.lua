-- Tasks of one Lua state: coroutines that wait for time, for each other or for an event in C, and are resumed
-- when it occurs. A request gets a task once it waits or spawns others; those end with it. exec/hs_lua.c
-- starts the coroutine of a request, calls `suspended` with it when it waits, and `run` in each turn in which
-- a task can be resumed.
-- A wait is a yield with the value WAITING, which propagates through the handler's own coroutines
-- (coroutines.lua).
local ffi = require 'ffi'
local api = require 'moonring.abi'
local deadlines = require 'moonring.deadlines'
local failure = require 'moonring.failure'
local log = require 'moonring.log'
local members = require 'moonring.members'
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
local STRAY_YIELD = 'coroutine.yield outside of a coroutine of its own: use moonring.sleep'
-- For `due`: earlier than any time.
local LATE = -1

-- Tasks resumed per run, so that requests get their turn.
local BUDGET = 512
-- Yielded tasks resumed per run, and their maximum: more would not be resumed in time.
local YIELDED_BUDGET = 16
local YIELDED_MAX = 4096
-- How long a cancelled task may take to end.
local GRACE_S = 5
-- Ids of a request, see exec/hs_lua_wakes.h.
local WAKE_ABORT, WAKE_CONTENT, WAKE_DRAINED, WAKES = 0, 1, 2, 3
-- Numbers of httpserver.h.
local ABORT_LOST, ABORT_TIMEOUT = 2, 3
local LOG_ERROR = 3
-- C's arguments to `retire`.
local RETIRE_REPLACED, RETIRE_LAST = 1, 2

local handle_t, view_t = ffi.typeof 'uint64_t', ffi.typeof 'hs_view_t *'
-- A reference to a request: it is over when the view carries another handle. `uses` counts the requests of
-- a task.
local ref_t = ffi.typeof 'struct { uint64_t handle; hs_view_t *view; double uses; }'
local wakes = api.wakes

-- The running task; nil: none, or a request that has none yet.
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
local listeners = {} -- functions that are called when C wakes an id

local function is_free(id)
  return not used[id] and requests[id] == nil
end

-- The first of `count` unused ids from `id` on, that are not those of a request before it.
local function search_ids(id, count)
  while true do
    if id > ID_MAX then
      id = 1
    end
    local are_free = true
    for i = id - WAKES + 1, id + count - 1 do
      are_free = are_free and is_free(i)
    end
    if are_free then
      next_id = id + count
      return id
    end
    id = id + 1
  end
end

-- The first of `count` unused ids: 1, or those of a request. No loop, which would keep LuaJIT from compiling
-- the start of a task.
local function take_ids(count)
  local id = next_id
  if id <= ID_MAX and is_free(id - 2) and is_free(id - 1) and is_free(id)
    and (count == 1 or is_free(id + 1) and is_free(id + 2)) then
    next_id = id + count
    return id
  end
  return search_ids(id, count)
end

-- An id for _M.wait, until _M.forget.
function _M.id()
  local id = take_ids(1)
  used[id] = true
  return id
end

-- Calls fn(object) when C wakes `id`, before tasks are resumed; fn nil: stops this. fn cannot wait.
function _M.listen(id, fn, object)
  listeners[id] = fn and { fn = fn, object = object }
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
--   ref       of the request's task: a ref_t
--   is_referenced   of the request's task: others may still refer to it after its end. If not, it is reused.
--   state     'new' | 'ready' | 'waiting' | 'running' | 'ended'
--   waits_for an id, while it waits for one
--   failure   what its wait is to raise
--   due       when its wait ends; LATE: it has ended so
local Task = {}
local task_type = { __index = Task }

-- Tasks of ended requests, and their ids, are reused: a new table would cost more than a wait. Not before
-- the wakes of the last request have been taken.
local reusable, reusable_count = {}, 0
local ended, ended_count = {}, 0
local REUSABLE_MAX = 1024

-- Assigning nil to a key that is not there would add it.
local function forget_id(id)
  if waiting[id] then
    waiting[id] = nil
  end
  if woken[id] then
    woken[id] = nil
  end
end

-- Clears wakes and waiters under the ids of a request. No loop, as in take_ids.
local function forget_request(base)
  forget_id(base)
  forget_id(base + 1)
  forget_id(base + 2)
end

local function new_request_task()
  local base = take_ids(WAKES)
  -- Eight fields, including those set by a sleep: a ninth would double the cost of a request.
  local task = setmetatable({ state = 'running', ref = ref_t(), base = base, request = false, co = false, due = 0,
    at = false, is_referenced = false }, task_type)
  task.request = task
  requests[base] = task
  return task
end

local function take_reusable()
  local task = reusable[reusable_count]
  reusable[reusable_count] = nil
  reusable_count = reusable_count - 1
  task.state = 'running'
  task.ref.uses = task.ref.uses + 1
  forget_request(task.base)
  return task
end

-- The task of a request has ended, and nothing refers to it.
local function keep_task(task)
  if reusable_count + ended_count < REUSABLE_MAX then
    ended_count = ended_count + 1
    ended[ended_count] = task
    task.co = false
  else
    requests[task.base] = nil
    forget_request(task.base)
  end
end

local function reuse_ended()
  for i = 1, ended_count do
    reusable_count = reusable_count + 1
    reusable[reusable_count] = ended[i]
    ended[i] = nil
  end
  ended_count = 0
end

-- Creates the task of a running request that has none.
local function begin_request(what)
  local request = api.request
  if request == nil then
    raise(what .. ': nothing can wait while the file is loaded, or in on_handover')
  end
  local handle = cast(handle_t, request)
  local view = cast(view_t,
    lshift(rshift(handle, api.generation_bits), api.alignment_bits))
  local task = reusable_count > 0 and take_reusable() or new_request_task()
  local ref = task.ref
  ref.handle, ref.view = handle, view
  view.wake = task.base
  api.has_task = 1
  current = task
  return task
end

-- The coroutine in which callbacks of the runtime are running (_M.call); nil: none.
local callback_co

-- Creates the task of a running callback that has none.
local function begin_callback()
  local task = setmetatable({ state = 'running', co = callback_co, is_held = true }, task_type)
  api.held_count = api.held_count + 1
  current = task
  return task
end

-- The running task. `what` names the call.
local function running(what)
  return current or (callback_co and begin_callback()) or begin_request(what)
end

-- The same for a caller that does not refer to it after its wait, unless it compares uses_of.
_M.running_now = running

-- Differs when a task serves another request.
function _M.uses_of(task)
  local ref = task.ref
  return ref and ref.uses or 0
end

function _M.running(what)
  local task = running(what)
  local root = task.request
  if root then
    root.is_referenced = true
  end
  return task
end

-- The running task; nil while a file is loaded.
function _M.task()
  if not current and not callback_co and api.request == nil then
    return nil
  end
  return _M.running('moonring')
end

-- The table req.ctx of the live request of `view`, created at first use. It belongs to the request's task,
-- which ends with the request, whichever task asks for it.
function _M.context_of(view)
  local task = requests[view.wake] or begin_request('req.ctx')
  local context = task.context
  if not context then
    context = {}
    task.context, task.is_referenced = context, true
  end
  return context
end

-- A number that identifies the request of the running task, nil if there is none.
function _M.current()
  local task = current
  if not task then
    if api.request == nil then
      return nil
    end
    task = begin_request('moonring')
  end
  return task.request and task.request.base or nil
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

-- Called as a timer: the task's wait timed out, or its time is over.
function Task.fire(task)
  task.due = LATE
  wake(task)
end

-- Raises if the running task cannot wait here.
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

-- Lets others run, until the next turn.
local function take_turn(task)
  if not task.failure then
    task.state = 'ready'
    put_ready(task)
    yield(WAITING)
  end
  raise_failure(task)
end

function _M.now()
  return (api.now()) -- LuaJIT does not compile it as a tail call
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

-- Waits until wake(task): true. nil, 'timeout' after `seconds` (nil: no limit).
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

-- For a caller that yields itself, in place of another frame: before and after yield(WAITING). False: it must
-- not yield.
local function begin_wait(task, seconds)
  task.due = 0
  if seconds then
    arm(task, seconds)
  end
  if task.failure then
    return false
  end
  task.state = 'waiting'
  return true
end

local function has_timed_out(task)
  return task.due == LATE
end

-- Waits until wake(task): nil. 'timeout' after `seconds` (nil: no limit); 'failed': the caller must clean up
-- and then raise with raise_failure(task).
function _M.await(task, seconds)
  if begin_wait(task, seconds) then
    yield(WAITING)
  end
  if task.failure then
    return 'failed'
  elseif has_timed_out(task) then
    return 'timeout'
  end
end

-- Waits until C has woken `id`: true. nil, 'timeout' after `seconds` (nil: no limit).
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

-- C's view of the task's request; nil: it has none, or the request is over.
local function live_view(task)
  local root = task.request
  local ref = root and root.ref
  return ref and ref.view.handle == ref.handle and ref.view or nil
end

local describe, show -- set by runtime.lua; show: nil without --dev

-- Returns the logged text, nil if nothing was logged.
local function log_failure(task, reason)
  if is_failure(reason, 'cancelled') or is_failure(reason, 'aborted') or
    (is_failure(reason, 'timeout') and task.request ~= task and not reason.is_interrupted) then
    -- Its request's says it.
    return
  end
  local text = describe(reason, task.co)
  api.task_failed(api.lua, live_view(task), LOG_ERROR, text, #text)
  return text
end

-- A coroutine created by C waits for its next request; the end of the last one emptied it.
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
      log.error('lua error at the end of a request: ' .. failure.text_of(reason))
    end
  end
end

-- A cancelled task that does not end in time.
local Killer = {}
Killer.__index = Killer

-- The task's current wait, or its next one, raises `reason`.
local function cancel(task, reason)
  if task.state == 'ended' or task.failure then
    return
  end
  task.failure, task.is_referenced = reason, true
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

local end_owner -- set by _M.on_owner_end

-- Cleans up after a task, however it ended.
local function leave(task)
  task.state = 'ended'
  if task.is_held then
    task.is_held = nil
    api.held_count = api.held_count - 1
  elseif task.request == task and task.co then -- a suspended request is held
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
    forget_request(task.base)
    end_children(task)
  end
  if task.at_end then
    run_at_end(task)
  end
  local owner = task.owner
  if owner then
    task.owner = nil
    end_owner(owner, task)
  end
  local joiner = task.joiner
  if joiner then
    task.joiner = nil
    wake(joiner)
  end
end

-- Completes the response of this task's request, unless it is complete. `failed`: nil, or the status to use
-- if the head was not sent.
local function end_request(task, failed)
  local ref = task.ref
  local view = ref and ref.view
  if view and view.handle == ref.handle then
    if api.wants_worker ~= 0 then
      api.wants_worker = 0
      local text = "return 'worker' must come before anything is waited for"
      api.task_failed(api.lua, view, LOG_ERROR, text, #text)
      failed = 500
    end
    api.request_end(view, failed or 0)
  end
end

-- No task waits for a request's task, so its results are not kept: they would be a ninth field.
local function finish_request(task, ok, reason)
  if ok then
    end_request(task, nil)
    keep_coroutine(task.co)
    if not task.is_referenced then
      task.state = 'ended'
      api.held_count = api.held_count - 1
      return keep_task(task)
    end
  else
    task.failed_with = reason
    local text = log_failure(task, reason)
    local status = failure.status_of(reason)
    if show and text and live_view(task) and show(reason, task.co, text, status) then
      status = nil -- what was built is the response
    end
    end_request(task, status)
  end
  leave(task)
end

local function finish(task, ok, ...)
  if task.request == task then
    return finish_request(task, ok, (...))
  end
  task.ok = ok
  if ok then
    task.results = { n = select('#', ...), ... }
  else
    task.failed_with = (...)
    if not task.joiner then
      log_failure(task, task.failed_with)
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

-- The state has a successor: tasks of hs_queue_push end.
local is_replaced = false

-- ---- Resuming. ----

-- Handles the results of resuming the task's coroutine.
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
    return finish(task, false, STRAY_YIELD)
  end
  return finish(task, ok, what, ...)
end

-- The function at the bottom of a request's coroutine, which LuaJIT also returns from its last resume: then
-- there is no need to ask for the status, a call that is not compiled.
local runner

-- The same for a request's coroutine, whose results are not needed: LuaJIT compiles functions without `...`.
local function request_resumed(task, ok, what)
  local is_waiting = ok and what == WAITING
  if ok and not is_waiting and what ~= runner and status(task.co) == 'suspended' then
    return resumed(task, ok, what) -- it must not have yielded
  end
  current = nil
  api.task_pause(api.lua)
  if not is_waiting then
    finish_request(task, ok, what)
  end
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
  if task.request == task then
    local ok, what = resume(task.co)
    return request_resumed(task, ok, what)
  end
  return resumed(task, resume(task.co))
end

local function new_task(root, co, ...)
  local task = setmetatable({ state = 'new', co = co, request = root,
    arguments = { n = select('#', ...), ... } }, task_type)
  if root then
    root.is_referenced = true
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

local function deadline_text(task)
  local place = task.state == 'waiting' and failure.place_of(task.co)
  return 'the handler ran into its deadline' .. (place and (': it waited at ' .. place) or '')
end

local function abort(task)
  local ref = task.ref
  local view = ref and ref.view
  if not view or view.handle ~= ref.handle or task.is_aborted or task.state == 'ended' then
    return
  end
  local reason = api.request_aborted(view)
  task.is_aborted, task.is_referenced = true, true
  if task.on_abort and reason == ABORT_LOST then
    local handler = task.on_abort
    task.on_abort = nil
    new_task(task, create(handler))
    return
  end
  local raised = reason == ABORT_TIMEOUT
      and failure_of('timeout', deadline_text(task))
    or failure_of('aborted', 'aborted: the client has gone')
  cancel(task, raised)
  if task.children then
    for child in pairs(task.children) do
      cancel(child, raised)
    end
  end
end

-- ---- Callbacks: functions that the runtime calls, and that may wait. ----

local ENDED = {}
local callback_idle -- the coroutine of the last one, whose function has returned

-- Runs functions in turn; ends with one that has waited.
local function callback_body(fn)
  while not fn() do
    fn = yield(ENDED)
  end
end

-- Calls fn() from a place that cannot wait. True: it returned. False: it waits, and the rest runs as a task
-- without a request; when that resumes, fn must return true (_M.callback_ended). `fn` does not raise.
function _M.call(fn)
  local co = callback_idle or create(callback_body)
  callback_idle, callback_co = nil, co
  api.task_begin(api.lua, nil)
  local ok, what = resume(co, fn)
  local task = current
  callback_co, current = nil, nil
  api.task_pause(api.lua)
  if what == WAITING and task then
    task.was_left = true
    return false
  end
  if what == ENDED then
    callback_idle = co
    return true
  end
  if task then
    leave(task)
  end
  log.error('lua error in a callback: ' .. (ok and STRAY_YIELD or describe(what, co)))
  return true
end

-- One callback of several has returned: the tasks it started continue without it. True: it waited.
function _M.callback_ended()
  local task = current
  if not task then
    return false
  elseif task.was_left then
    return true
  end
  current = nil
  leave(task)
  return false
end

local function call_listener(listener)
  local ok, reason = pcall(listener.fn, listener.object)
  if not ok then
    local text = describe(reason)
    api.task_failed(api.lua, nil, LOG_ERROR, text, #text)
  end
end

-- Apart from the loop, as tell_counts: LuaJIT does not compile the caller of a loop.
local function wake_at(i)
  if i < wakes.count then
    return wakes.ids[i]
  end
end

local function forget_wakes()
  wakes.count = 0
end

local function tell_counts()
  api.ready_count, api.yielded_count = ready.count, yielded.count
end

local function take_wakes()
  local i = 0
  local id = wake_at(i)
  while id do
    local task = waiting[id]
    if task then
      wake(task)
    elseif listeners[id] then
      call_listener(listeners[id])
    elseif requests[id] then
      abort(requests[id])
    else
      woken[id] = true
    end
    i = i + 1
    id = wake_at(i) -- a listener may cause more
  end
  forget_wakes()
  if ended_count > 0 then
    reuse_ended()
  end
end

-- Called by C: resumes every runnable task once.
function _M.run()
  take_wakes()
  deadlines.fire()
  -- Not those added meanwhile: they get the next turn.
  for _ = 1, min(ready.count, BUDGET) do
    go_on(ready:take())
  end
  tell_counts()
  for _ = 1, min(yielded.count, YIELDED_BUDGET) do
    go_on(yielded:take())
  end
  tell_counts()
end

-- Called by C when the coroutine of a request yields. Returns one for the next request, nil if there is none.
function _M.suspended(co)
  local task = current
  current = nil
  if task and task.state == 'ended' then -- _M.exit
    return nil
  end
  if not task or task.state == 'running' then
    if task then
      leave(task)
    end
    error(STRAY_YIELD .. debug.traceback(co, ''), 0)
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

-- Called by C when a request with a task ended without waiting.
function _M.ended()
  local task = current
  current = nil
  leave(task)
end

-- Where the request with the first id `base` waits, and in which call; '' if unknown. Called by C for the
-- record of a request without a timely response.
function _M.where(base)
  local task = requests[base]
  return task and task.co and failure.place_of(task.co) or ''
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
    for name in pairs(options) do
      if name ~= 'detached' then
        raise('moonring.spawn: '
          .. members.unknown('the table of options', name, { { detached = true } }))
      end
    end
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

-- Waits until the task has ended, at most `seconds` (nil: no limit). Returns whether it has.
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

-- The results of the task's function; raises its error. After `seconds` nil, 'timeout'.
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

-- Its wait raises an error. A task that has not started never does.
function Task.cancel(task)
  cancel(task, failure_of('cancelled', 'cancelled'))
end

-- 'running', 'waiting' or 'ended'.
function Task.status(task)
  local state = task.state
  return (state == 'new' or state == 'ready') and 'waiting' or state
end

members.class(Task, 'a task', { 'wait', 'cancel', 'status' }, { 'request', 'ref', 'is_referenced', 'base', 'context',
  'sockets', 'waits_for', 'failure', 'killer', 'is_held', 'is_last', 'children', 'at_end',
  'joiner', 'on_abort', 'is_aborted', 'may_yield', 'was_left', 'owner', 'arguments', 'results', 'failed_with', 'ok', 'due',
  'at' })

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

local at_retire = {}

-- Calls fn(how) when _M.retire is.
function _M.on_retire(fn)
  at_retire[#at_retire + 1] = fn
end

-- The reactor drains (`how`: 0), the state has a successor (RETIRE_REPLACED), or everything ends
-- (RETIRE_LAST).
function _M.retire(how)
  for i = 1, #at_retire do
    at_retire[i](how)
  end
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
    reusable_count, ended_count = 0, 0
    api.ready_count, api.held_count, api.last_count = 0, 0, 0
  end
end

-- ---- For the modules of the runtime. ----

-- Ends the request of the running task, whose response is complete, or the task if it has no request: no code
-- after the call runs, in any of the request's tasks. Does not return.
function _M.exit(what)
  local task = running(what)
  check_can_wait(what)
  local root = task.request or task
  if task ~= root or task.co then
    api.task_pause(api.lua) -- gives up what was sent, as behind every resume
  end
  if task ~= root then
    leave(task)
  end
  forget_wait(root)
  root.ok, root.results, root.is_referenced = true, { n = 0 }, true
  if root.request == root then
    end_request(root)
  end
  leave(root)
  yield(WAITING)
end

-- Calls fn(task) when the request of the running task ends, or the task itself if it has no request; `task`
-- is the one that ended.
function _M.on_end(fn)
  local task = running('moonring')
  task = task.request or task
  local functions = task.at_end
  if not functions then
    functions = {}
    task.at_end, task.is_referenced = functions, true
  end
  functions[#functions + 1] = fn
end

-- The response of the running task's request is complete, and its task continues for `owner`: the state of
-- the request is dropped, to keep the task's table small.
function _M.belong_to(owner)
  local task = running('moonring')
  task = task.request or task
  task.ref, task.is_referenced = nil, true
  task.owner = owner
end

-- fn(owner, task) is called when such a task ends.
function _M.on_owner_end(fn)
  end_owner = fn
end

-- fn() is called when the client disconnects, instead of an error in the waiting task.
function _M.on_abort(fn)
  local task = running('req:on_abort').request
  if task then
    task.on_abort, task.is_referenced = fn, true
  end
end

_M.WAKE_CONTENT, _M.WAKE_DRAINED = WAKE_CONTENT, WAKE_DRAINED

-- Waits for an event of the running task's request: as `wait`.
function _M.wait_for_request(event, what, seconds)
  local root = running(what).request
  if not root then
    raise(what .. ': this task belongs to no request')
  end
  return _M.wait(root.base + event, seconds, what)
end

-- Whether the current code can wait.
function _M.may_wait()
  return isyieldable() and (current ~= nil or callback_co ~= nil or api.request ~= nil)
end

-- The running task; raises if it cannot wait.
function _M.check(what)
  local task = _M.running(what)
  check_can_wait(what)
  return task
end

-- The running task cannot wait: raises `reason`.
function _M.fail_wait(reason)
  forget_wait(current)
  current.state = 'running'
  current.failure, current.is_referenced = reason, true
end

-- A drain waits for the running task.
function _M.drain_waits_for()
  current.is_last, current.is_referenced = true, true
  api.last_count = api.last_count + 1
end

_M.WAITING, _M.RETIRE_LAST = WAITING, RETIRE_LAST
_M.wait_for_wake, _M.wake = wait_for_wake, wake
_M.begin_wait, _M.has_timed_out = begin_wait, has_timed_out
_M.raise_failure, _M.check_can_wait = raise_failure, check_can_wait
_M.check_seconds, _M.check_function = check_seconds, check_function

-- hs_queue_push with a suspended coroutine, which is resumed after it yields.
function _M.push(co)
  if yielded.count >= YIELDED_MAX then
    raise(('hs_queue_push(task): %d tasks wait already'):format(YIELDED_MAX))
  end
  put_yielded(setmetatable({ state = 'new', co = co, may_yield = true,
    arguments = { n = 0 } }, task_type))
end

-- Called by runtime.lua before the handler is loaded.
function _M.install(describe_failure, show_failure)
  describe, show = describe_failure, show_failure
end

-- Called by runtime.lua with the function that runs a request.
function _M.install_runner(fn)
  runner = fn
end

return _M
