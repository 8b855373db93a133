-- Background tasks of one Lua state: hs_queue_push(task) takes a coroutine or a function. Tasks are
-- resumed between requests, and by a timer when there are none; one that yields is resumed again
-- later. An error is logged and ends its task alone.
local api = require 'moonring.abi'
local log = require 'moonring.log'

local create, resume = coroutine.create, coroutine.resume
local status, yield = coroutine.status, coroutine.yield
local type, error, tostring, pcall = type, error, tostring, pcall
local traceback, getinfo = debug.traceback, debug.getinfo
local find, min = string.find, math.min

-- More waiting tasks than this are a mistake: nobody would resume them in time.
local LIMIT = 4096
-- Tasks resumed before requests get their turn.
local BATCH = 16

local _M = {}

-- waiting[first] to waiting[last] are coroutines, the oldest first.
local waiting = {}
local first, last = 1, 0

local function put(task)
  last = last + 1
  waiting[last] = task
  api.task_count = last - first + 1
end

local function take()
  local task = waiting[first]
  waiting[first] = nil
  first = first + 1
  if first > last then
    first, last = 1, 0
  end
  api.task_count = last - first + 1
  return task
end

-- What coroutine.wrap returns is resumed until it is dead; it looks like any function of C.
local function resume_wrapped(wrapped)
  return create(function()
    while true do
      local ok, failure = pcall(wrapped)
      if not ok then
        if find(tostring(failure), 'cannot resume dead coroutine', 1, true) then
          return
        end
        error(failure, 0)
      end
      yield()
    end
  end)
end

function _M.push(task)
  if type(task) == 'function' then
    task = getinfo(task, 'S').what == 'C' and resume_wrapped(task) or create(task)
  elseif type(task) ~= 'thread' then
    error('hs_queue_push(task) takes a coroutine or a function, not a ' .. type(task), 2)
  elseif status(task) ~= 'suspended' then
    error('hs_queue_push(task): the coroutine is ' .. status(task), 2)
  end
  if last - first + 1 >= LIMIT then
    error(('hs_queue_push(task): %d tasks wait already'):format(LIMIT), 2)
  end
  put(task)
end

-- Resumes the tasks that wait now, at most BATCH, each once.
function _M.run()
  for _ = 1, min(BATCH, last - first + 1) do
    local task = take()
    local ok, failure = resume(task)
    if not ok then
      log.error('lua error in a background task: ' .. traceback(task, tostring(failure)))
    elseif status(task) == 'suspended' then
      put(task)
    end
  end
end

return _M
