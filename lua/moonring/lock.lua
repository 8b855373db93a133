-- Locks of a node: one holder at a time, in whichever reactor. A lock expires after its time to live,
-- whatever happened to its holder. See docs/lua-limits.md.
local failure = require 'moonring.failure'
local members = require 'moonring.members'
local queue = require 'moonring.queue'
local scheduler = require 'moonring.scheduler'
local shared = require 'moonring.shared'
local topics = require 'moonring.topics'
local api = require 'moonring.abi'

local error, pairs, pcall, setmetatable, tostring, type = error, pairs, pcall, setmetatable, tostring,
  type
local floor, huge, max, min, random = math.floor, math.huge, math.max, math.min, math.random
local format = string.format
local raise, now = failure.raise, scheduler.now

local _M = {}

local DICTIONARY = 'locks'
local TTL_S, WAIT_S = 30, 30
-- How often a waiter checks, in case the message that wakes it is lost or the holder is dead.
local LOOK_S = 0.5
local TOPIC = 'moonring lock '

local OPTIONS = { ttl = true, wait = true, shared = true }

local Lock = members.strict({}, 'a lock')
local Meta = { __index = Lock }

local origin = format('%x%x', random(2 ^ 31), floor(now() * 1e6) % 2 ^ 31)
local count = 0

local function new_owner()
  count = count + 1
  return format('%s-%d-%x', origin, api.reactor_index, count)
end

local function seconds_of(what, options, name, least, default)
  local value = options[name]
  if value == nil then
    return default
  end
  if type(value) ~= 'number' or not (value >= least and value < huge) then
    raise(('%s: %s is a number of seconds from %s on, not %s'):format(what, name, tostring(least),
      tostring(value)))
  end
  return value
end

local function check(what, name, options)
  if type(name) ~= 'string' or name == '' or #name > 200 then
    raise(what .. ': a name is a string of 1 to 200 bytes')
  end
  if options ~= nil and type(options) ~= 'table' then
    raise(('%s: options are a table, not a %s'):format(what, type(options)))
  end
  for option in pairs(options or {}) do
    if not OPTIONS[option] then
      raise(what .. ': ' .. members.unknown('the table of options', option, { OPTIONS }))
    end
  end
end

-- ---- Tasks of this state that wait for one lock: the first of them tries, in their order. ----

local lines = {} -- by dictionary and name

local function join(place)
  local line = lines[place]
  if not line then
    line = queue.new()
    lines[place] = line
  end
  local entry = { task = scheduler.running('moonring.lock'), is_gone = false }
  line:put(entry)
  return line, entry
end

-- The first entry that has not given up.
local function front(line)
  local entry = line.items[line.first]
  while entry and entry.is_gone do
    line:take()
    entry = line.items[line.first]
  end
  return entry
end

local function leave(place, line, entry)
  entry.is_gone = true
  local first = front(line)
  if not first then
    lines[place] = nil
  elseif first.waits then
    first.waits = false
    scheduler.wake(first.task)
  end
end

-- Waits until the entry is at the front: true; false on timeout.
local function wait_in_line(line, entry, ends)
  while front(line) ~= entry do
    entry.waits = true
    local woke = scheduler.wait_for_wake(entry.task, max(0, ends - now()))
    entry.waits = false
    if not woke then
      return front(line) == entry
    end
  end
  return true
end

-- Waits until the dictionary grants it: true; false on timeout; nil and an error.
local function wait_for_release(lock, ends)
  local subscription = topics.subscribe(lock.topic)
  local done, problem
  repeat
    done, problem = lock.dictionary:add(lock.name, lock.token, lock.ttl)
    local left = ends - now()
    if done or problem ~= 'exists' or left <= 0 then
      break
    end
    -- At most its time to live: a dead holder sends no message.
    local lives = lock.dictionary:ttl(lock.name)
    subscription:receive(max(0.001, min(left, LOOK_S, (lives and lives > 0) and lives or 0.001)))
  until false
  subscription:close()
  return done, problem
end

local function acquire_in_line(lock, place, wait)
  local ends = now() + wait
  local line, entry = join(place)
  local ok, done, problem = pcall(function()
    if not wait_in_line(line, entry, ends) then
      return false, 'exists'
    end
    return wait_for_release(lock, ends)
  end)
  leave(place, line, entry)
  if not ok then
    error(done, 0)
  end
  return done, problem
end

-- moonring.lock.acquire(name [, { ttl = 30, wait = 30, shared = 'locks' }]): the lock; nil,
-- 'timeout' if it was not available within `wait` seconds. It is released at the end of the request, if not
-- earlier.
function _M.acquire(name, options)
  local what = 'moonring.lock.acquire'
  check(what, name, options)
  options = options or {}
  local used = options.shared or DICTIONARY
  local wait = seconds_of(what, options, 'wait', 0, WAIT_S)
  local lock = setmetatable({ name = 'lock ' .. name, token = new_owner(),
    ttl = seconds_of(what, options, 'ttl', 0.001, TTL_S), topic = TOPIC .. name,
    dictionary = shared(used), is_released = false }, Meta)
  local place = used .. '\0' .. name
  local done, problem = false, 'exists'
  if not lines[place] then -- not before those that wait
    done, problem = lock.dictionary:add(lock.name, lock.token, lock.ttl)
  end
  if not done and problem == 'exists' and wait > 0 then
    done, problem = acquire_in_line(lock, place, wait)
  end
  if not done then
    return nil, problem == 'exists' and 'timeout' or problem
  end
  if scheduler.current() then
    scheduler.on_end(function()
      Lock.release(lock)
    end)
  end
  return lock
end

-- Releases it. true; nil, 'expired' if another holder had it meanwhile, or might have.
function Lock.release(lock)
  if lock.is_released then
    return nil, 'released'
  end
  lock.is_released = true
  local done = lock.dictionary:cas(lock.name, lock.token, nil)
  if not done then
    return nil, 'expired'
  end
  topics.publish(lock.topic, '')
  return true
end

-- Extends it to `ttl` seconds from now (nil: as initially): true; nil, 'expired' if it has expired.
function Lock.extend(lock, ttl)
  ttl = seconds_of('lock:extend', { ttl = ttl }, 'ttl', 0.001, lock.ttl)
  if lock.is_released then
    return nil, 'released'
  end
  if lock.dictionary:cas(lock.name, lock.token, lock.token, ttl) then
    return true
  end
  return nil, 'expired'
end

-- Whether it is still held.
function Lock.is_held(lock)
  return not lock.is_released and lock.dictionary:get(lock.name) == lock.token
end

local function release_after(lock, ok, ...)
  Lock.release(lock)
  if not ok then
    error((...), 0)
  end
  return ...
end

-- moonring.lock.with(name, options, fn, ...): the results of fn(...), which runs while the lock is held; nil,
-- 'timeout'.
function _M.with(name, options, fn, ...)
  if type(fn) ~= 'function' then
    raise('moonring.lock.with(name, options, fn, …) takes a function, not a ' .. type(fn))
  end
  local lock, problem = _M.acquire(name, options)
  if not lock then
    return nil, problem
  end
  return release_after(lock, pcall(fn, ...))
end

return members.strict(_M, 'moonring.lock')
