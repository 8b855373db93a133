-- moonring.semaphore(n): at most n tasks at a time, the others in order of arrival.
local failure = require 'moonring.failure'
local members = require 'moonring.members'
local queue = require 'moonring.queue'
local scheduler = require 'moonring.scheduler'

local type, tostring, pcall, error, setmetatable = type, tostring, pcall, error, setmetatable
local floor = math.floor
local raise, check_seconds = failure.raise, scheduler.check_seconds

local _M = {}

local Semaphore = {}
local semaphore_type = { __index = Semaphore }

function _M.new(count)
  if type(count) ~= 'number' or count < 0 or count ~= floor(count) then
    raise('moonring.semaphore takes a whole number, 0 or more, not ' .. tostring(count))
  end
  return setmetatable({ count = count, waiting = queue.new() }, semaphore_type)
end

-- Acquires one, waiting if none is free: true. nil, 'timeout' after `seconds`.
function Semaphore.acquire(semaphore, seconds)
  if seconds ~= nil then
    check_seconds(seconds, 'semaphore:acquire')
  end
  if semaphore.count > 0 then
    semaphore.count = semaphore.count - 1
    return true
  end
  if seconds == 0 then
    return nil, 'timeout'
  end
  local task = scheduler.check('semaphore:acquire')
  local place = { task = task }
  semaphore.waiting:put(place)
  local ok, woke, why = pcall(scheduler.wait_for_wake, task, seconds)
  place.task = nil
  if ok and woke then
    return true
  end
  if place.is_given then
    semaphore:release() -- it came in the same moment
  end
  if not ok then
    error(woke, 0)
  end
  return nil, why
end

function Semaphore.release(semaphore)
  for place in semaphore.waiting.take, semaphore.waiting do
    local task = place.task
    if task and task.state == 'waiting' then
      place.is_given = true
      scheduler.wake(task)
      return
    end
  end
  semaphore.count = semaphore.count + 1
end

-- How many can be acquired without waiting.
function Semaphore.available(semaphore)
  return semaphore.count
end

members.strict(Semaphore, 'a semaphore')

return _M
