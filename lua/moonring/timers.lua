-- moonring.after and moonring.every: functions that run later, each in a separate task without a request. On
-- a reactor's thread only: on a worker nothing runs between two requests.
local api = require 'moonring.abi'
local deadlines = require 'moonring.deadlines'
local failure = require 'moonring.failure'
local members = require 'moonring.members'
local scheduler = require 'moonring.scheduler'

local pcall, error, pairs, setmetatable = pcall, error, pairs, setmetatable
local arm, disarm, raise, spawn = deadlines.arm, deadlines.disarm, failure.raise, scheduler.spawn
local check_seconds, check_function = scheduler.check_seconds, scheduler.check_function

local _M = {}

local DETACHED = { detached = true }

local periodic = {} -- timers of `every`
local at_retire = {} -- functions
local Timer = {}
local timer_type = { __index = Timer }

function Timer.cancel(timer)
  timer.is_over = true
  periodic[timer] = nil
  disarm(timer)
  if timer.is_held then
    timer.is_held = nil
    api.held_count = api.held_count - 1
  end
end

local function run_periodic(timer)
  timer.is_running = true
  local ok, reason = pcall(timer.fn, false)
  timer.is_running = nil
  if timer.ends then
    scheduler.drain_waits_for()
    timer.fn(true)
  elseif not timer.is_over then
    arm(timer, timer.interval)
  end
  if not ok then
    error(reason, 0)
  end
end

function Timer.fire(timer)
  if api.is_attached == 0 then
    return -- loaded on a worker
  end
  if timer.interval then
    spawn(DETACHED, run_periodic, timer)
  else
    Timer.cancel(timer)
    spawn(DETACHED, timer.fn, false)
  end
end

members.class(Timer, 'a timer', { 'cancel' }, { 'interval', 'is_held', 'is_over', 'is_running', 'ends',
  'due', 'at' })

-- On a worker nothing runs between two requests.
local function refuse_on_worker(what)
  if api.is_attached == 0 and api.request ~= nil then
    raise(what .. ': not on a worker thread, where nothing goes on between two requests')
  end
end

-- Calls fn(false) once, `seconds` from now, in a separate task.
function _M.after(seconds, fn)
  check_seconds(seconds, 'moonring.after')
  check_function(fn, 'moonring.after')
  refuse_on_worker('moonring.after')
  local timer = setmetatable({ fn = fn, is_held = true }, timer_type)
  api.held_count = api.held_count + 1
  arm(timer, seconds)
  return timer
end

-- Calls fn(premature) every `seconds`, each time in a separate task, the first time after `seconds`. The next
-- interval begins when it returns.
function _M.every(seconds, fn)
  check_seconds(seconds, 'moonring.every')
  if seconds < 0.001 then
    raise('moonring.every: an interval is 1 millisecond or longer')
  end
  check_function(fn, 'moonring.every')
  refuse_on_worker('moonring.every')
  local timer = setmetatable({ fn = fn, interval = seconds }, timer_type)
  periodic[timer] = true
  arm(timer, seconds)
  return timer
end

-- fn() is called once when the reactor drains, or the state has a successor.
function _M.on_retire(fn)
  at_retire[#at_retire + 1] = fn
end

-- Called by C when the reactor drains, or the state has a successor: periodic timers run once more, and end.
-- `how`: see scheduler.retire.
function _M.retire(how)
  local functions = at_retire
  at_retire = {}
  for i = 1, how ~= scheduler.RETIRE_LAST and #functions or 0 do
    functions[i]()
  end
  for timer in pairs(periodic) do
    Timer.cancel(timer)
    timer.ends = true
    if not timer.is_running and how ~= scheduler.RETIRE_LAST then
      spawn(DETACHED, function()
        scheduler.drain_waits_for()
        timer.fn(true)
      end)
    end
  end
  scheduler.retire(how)
end

return _M
