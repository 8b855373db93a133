-- ngx.timer, ngx.thread, ngx.sleep and ngx.semaphore on moonring's tasks.
--
-- Of a request's state (ngx_state.lua):
--   live     threads that have not ended: the response waits for them
--   ender    the task that waits for that
local failure = require 'moonring.failure'
local log = require 'moonring.log'
local scheduler = require 'moonring.scheduler'
local semaphore = require 'moonring.semaphore'
local states = require 'moonring.ngx_state'
local timers = require 'moonring.timers'

local error, format, pcall, select = error, string.format, pcall, select
local setmetatable, tonumber, tostring, type, unpack = setmetatable, tonumber, tostring, type, unpack
local traceback, isyieldable = debug.traceback, coroutine.isyieldable
local next, xpcall = next, xpcall

local _M = {}

function _M.sleep(seconds)
  local number = tonumber(seconds)
  if not number then
    error(format("bad argument #1 to 'sleep' (number expected, got %s)", type(seconds)), 2)
  elseif number < 0 then
    error(format('invalid sleep duration "%s"', tostring(number)), 2)
  end
  scheduler.sleep(number)
end

-- ---- Timers. ----

local timer = {}
_M.timer = timer

local pending, pending_count, running_count = {}, 0, 0
local is_exiting = false

function _M.exiting()
  return is_exiting
end

local function has_ended()
  running_count = running_count - 1
end

local function run_timer(fn, premature, arguments)
  running_count = running_count + 1
  scheduler.on_end(has_ended) -- also behind ngx.exit
  fn(premature, unpack(arguments, 1, arguments.n))
end

-- The reactor drains, or another version of the file replaces this one: pending timers run now, with
-- `premature`.
local function retire()
  is_exiting = true
  local entries = pending
  pending, pending_count = {}, 0
  for entry in next, entries do
    entry.timer:cancel()
    scheduler.spawn({ detached = true }, function()
      scheduler.drain_waits_for()
      run_timer(entry.fn, true, entry.arguments)
    end)
  end
end

local is_watched = false

local function watch_end()
  if not is_watched then
    is_watched = true
    timers.on_retire(retire)
  end
end

local function check_timer(what, delay, fn)
  delay = tonumber(delay)
  if not delay then
    error(format("bad argument #1 to '%s' (number expected)", what), 3)
  elseif delay < 0 then
    error(format("bad argument #1 to '%s' (delay cannot be negative)", what), 3)
  elseif type(fn) ~= 'function' then
    error(format("bad argument #2 to '%s' (function expected, got %s)", what, type(fn)), 3)
  end
  return delay
end

-- Calls fn(premature, ...) once: 1, or nil and an error.
function timer.at(delay, fn, ...)
  delay = check_timer('at', delay, fn)
  if is_exiting then
    return nil, 'process exiting'
  end
  watch_end()
  local entry = { fn = fn, arguments = { n = select('#', ...), ... } }
  local ok, started = pcall(timers.after, delay, function()
    pending[entry] = nil
    pending_count = pending_count - 1
    run_timer(fn, false, entry.arguments)
  end)
  if not ok then
    return nil, tostring(started)
  end
  entry.timer = started
  pending[entry] = true
  pending_count = pending_count + 1
  return 1
end

-- Calls fn(premature, ...) repeatedly; runs do not overlap.
function timer.every(interval, fn, ...)
  interval = check_timer('every', interval, fn)
  if interval == 0 then
    error("bad argument #1 to 'every' (delay cannot be zero)", 2)
  elseif is_exiting then
    return nil, 'process exiting'
  end
  local arguments = { n = select('#', ...), ... }
  local ok, problem = pcall(timers.every, interval, function(premature)
    fn(premature, unpack(arguments, 1, arguments.n))
  end)
  if not ok then
    return nil, tostring(problem)
  end
  return 1
end

function timer.pending_count()
  return pending_count
end

function timer.running_count()
  return running_count
end

-- ---- Threads: tasks, named by their coroutines. ----

local thread = {}
_M.thread = thread

-- coroutine -> { task, parent, is_done, ok, results, waiter, is_over }
local threads = setmetatable({}, { __mode = 'k' })

local function describe(reason)
  if failure.is(reason) then
    return reason
  end
  return { reason = reason, trace = traceback(tostring(reason), 2) }
end

local function thread_ended(thread_state, ok, ...)
  thread_state.is_done, thread_state.ok = true, ok
  if ok then
    thread_state.results = { n = select('#', ...), ... }
  else
    local reason = (...)
    if failure.is(reason) then
      thread_state.results = { n = 1, reason.message }
    else
      log.error('lua user thread aborted: runtime error: ' .. reason.trace)
      thread_state.results = { n = 1, reason.reason }
    end
  end
end

-- Runs however the thread ended.
local function thread_left(thread_state, state)
  thread_state.is_done = true
  if state.is_request then
    state.live = state.live - 1
    local ender = state.ender
    if ender and state.live == 0 then
      state.ender = nil
      scheduler.wake(ender)
    end
  end
  local waiter = thread_state.waiter
  if waiter then
    thread_state.waiter = nil
    scheduler.wake(waiter)
  end
end

-- Runs fn(...) beside the caller, immediately until it waits. Returns its coroutine.
function thread.spawn(fn, ...)
  if type(fn) ~= 'function' then
    error(format("bad argument #1 to 'spawn' (function expected, got %s)", type(fn)), 2)
  end
  local state = states.find()
  if not state then
    error('ngx.thread.spawn: API disabled while the file is loaded', 2)
  end
  local parent = scheduler.running 'ngx.thread.spawn'
  local thread_state = { parent = parent.co }
  local function body(...)
    thread_ended(thread_state, xpcall(fn, describe, ...))
    thread_left(thread_state, state)
  end
  local task
  if state.is_request then
    state.live = (state.live or 0) + 1
    task = scheduler.spawn(body, ...)
  else
    task = scheduler.spawn({ detached = true }, body, ...)
    states.share(task, state)
  end
  thread_state.task = task
  threads[task.co] = thread_state
  if isyieldable() then
    scheduler.sleep(0)
  end
  return task.co
end

local function check_thread(co, argument, what)
  local thread_state = type(co) == 'thread' and threads[co]
  if not thread_state then
    error(format("bad argument #%d to '%s' (user thread expected, got %s)", argument, what,
      type(co)), 3)
  end
  return thread_state
end

-- The first of the threads that has ended.
local function first_done(...)
  for i = 1, select('#', ...) do
    local thread_state = check_thread((select(i, ...)), i, 'wait')
    if thread_state.is_over then
      return thread_state, 'already waited or killed'
    elseif thread_state.is_done then
      return thread_state
    end
  end
end

local function set_waiter(waiter, ...)
  for i = 1, select('#', ...) do
    threads[(select(i, ...))].waiter = waiter
  end
end

-- Waits until one of them has ended: true and its results, or false and its error.
function thread.wait(...)
  local done, problem = first_done(...)
  if not done then
    if select('#', ...) == 0 then
      error("bad argument #1 to 'wait' (user thread expected, got no value)", 2)
    end
    local task = scheduler.check 'ngx.thread.wait'
    set_waiter(task, ...)
    local ok, reason = pcall(scheduler.wait_for_wake, task)
    set_waiter(nil, ...)
    if not ok then
      error(reason, 0)
    end
    done = first_done(...)
  end
  if problem then
    return nil, problem
  end
  done.is_over = true
  local results = done.results or { n = 0 }
  return done.ok or false, unpack(results, 1, results.n)
end

-- Ends a thread: 1, or nil and an error.
function thread.kill(co)
  local thread_state = check_thread(co, 1, 'kill')
  if thread_state.is_over then
    return nil, 'already waited or killed'
  elseif thread_state.is_done then
    return nil, 'already terminated'
  end
  thread_state.is_over = true
  thread_state.task:cancel()
  return 1
end

-- The handler of a request has returned: its threads run to their end.
function _M.wait_for_threads(state)
  while (state.live or 0) > 0 do
    local task = scheduler.check 'ngx.thread'
    state.ender = task
    scheduler.wait_for_wake(task)
  end
end

-- ---- ngx.semaphore. ----

local Semaphore = {}
Semaphore.__index = Semaphore

local semaphores = {}
_M.semaphores = semaphores

function semaphores.new(count)
  count = count or 0
  if type(count) ~= 'number' or count < 0 or count % 1 ~= 0 then
    error('no negative number', 2)
  end
  return setmetatable({ inner = semaphore.new(count), waiting = 0 }, Semaphore)
end

-- true, or nil and 'timeout'.
function Semaphore.wait(sem, seconds)
  if type(seconds) ~= 'number' or seconds < 0 then
    error('no negative number', 2)
  end
  sem.waiting = sem.waiting + 1
  local ok, acquired, problem = pcall(sem.inner.acquire, sem.inner, seconds)
  sem.waiting = sem.waiting - 1
  if not ok then
    error(acquired, 0)
  end
  return acquired, problem
end

function Semaphore.post(sem, count)
  count = count or 1
  if type(count) ~= 'number' or count < 1 then
    error('positive number expected', 2)
  end
  for _ = 1, count do
    sem.inner:release()
  end
  return true
end

-- How many can be taken without waiting; negative: how many are waiting.
function Semaphore.count(sem)
  local free = sem.inner:available()
  return free - sem.waiting
end

return _M
