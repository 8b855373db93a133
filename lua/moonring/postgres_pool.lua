-- The connections of one postgres.connect in one Lua state: at most `size`, opened when needed. Waiting tasks
-- are served in order. A connection that cannot be reused is closed, and its place is free once the server
-- was asked to cancel its query.
local api = require 'moonring.abi'
local connection = require 'moonring.postgres_connection'
local deadlines = require 'moonring.deadlines'
local errors = require 'moonring.postgres_error'
local queue = require 'moonring.queue'
local scheduler = require 'moonring.scheduler'
local timers = require 'moonring.timers'

local error, format, pairs, pcall = error, string.format, pairs, pcall
local setmetatable = setmetatable
local max, min = math.max, math.min
local now, spawn = scheduler.now, scheduler.spawn

local _M = {}

local DETACHED = { detached = true }
-- A timer's last run signals the end of the state.
local NEVER = 1e8
local CLOSED = 'db:close has been called'
-- Seconds for which a connection keeps its place in the pool while its query is being cancelled. The
-- request itself lasts longer, until the server closes it: pgbouncer before 1.19.1 ends with "bad
-- client state" if the client closes it first.
local CANCEL_KEEPS_PLACE, CANCEL_REQUEST = 1, 15
-- The longest time in seconds that a connection stays idle when its state ends.
local RETIRED_IDLE = 1

local Pool = {}
Pool.__index = Pool

-- The live pools of this state.
local pools = setmetatable({}, { __mode = 'k' })
local timer

local function retire_all(premature)
  for pool in pairs(premature and pools or {}) do
    pool.is_retired = true
    pool:reap()
  end
end

function _M.new(options)
  if not timer and (api.request == nil or api.is_attached ~= 0) then
    timer = timers.every(NEVER, retire_all)
  end
  local pool = setmetatable({ options = options, known = {}, idle = {}, idle_count = 0, count = 0,
    waiting = queue.new(), waiting_count = 0 }, Pool)
  pool.reaper = { pool = pool, fire = function(reaper)
    reaper.is_armed = false
    spawn(DETACHED, pool.reap, pool)
  end }
  pools[pool] = true
  return pool
end

-- The first waiter that has not given up.
local function take_place(pool)
  for place in pool.waiting.take, pool.waiting do
    local task = place.task
    if task and task.state == 'waiting' then
      place.task = nil
      place.is_given = true
      pool.waiting_count = pool.waiting_count - 1
      return place, task
    end
  end
end

-- A place for a connection has become free.
local function give_room(pool)
  local place, task = take_place(pool)
  if place then
    scheduler.wake(task) -- the place goes to it, and stays counted
  else
    pool.count = pool.count - 1
  end
end

-- Opens a connection in a reserved place.
local function open(pool)
  local ok, conn, problem = pcall(connection.open, pool.options, pool.known)
  if ok and conn then
    return conn
  end
  give_room(pool)
  if not ok then
    error(conn, 0)
  end
  return nil, problem
end

local function is_too_old(pool, conn)
  local max_age = pool.options.pool.max_age
  return max_age > 0 and now() - conn.made_at > max_age
end

-- Seconds for which one may be idle; 0: no limit.
local function idle_limit(pool)
  local idle = pool.options.pool.idle
  if pool.is_retired then
    return idle > 0 and min(idle, RETIRED_IDLE) or RETIRED_IDLE
  end
  return idle
end

local function is_fit(pool, conn)
  local idle = idle_limit(pool)
  return conn:is_alive() and not is_too_old(pool, conn)
    and (idle == 0 or now() - conn.idle_since <= idle)
end

local function wait(pool)
  local limits = pool.options.pool
  if pool.waiting_count >= limits.queue then
    return nil, errors.new('pool queue full', format(
      '%d connections are used, and %d tasks wait for one', pool.count, pool.waiting_count))
  end
  local task = scheduler.check('db:query')
  local place = { task = task }
  pool.waiting:put(place)
  pool.waiting_count = pool.waiting_count + 1
  local ok, woke = pcall(scheduler.wait_for_wake, task,
    limits.timeout > 0 and limits.timeout or nil)
  if not place.is_given then
    place.task = nil
    pool.waiting_count = pool.waiting_count - 1
  end
  if ok and woke then
    if place.conn then
      return place.conn
    elseif not pool.is_closed then
      return open(pool)
    end
    give_room(pool)
    return nil, errors.new('closed', CLOSED)
  end
  if place.is_given then -- it came in the same moment
    if place.conn then
      pool:release(place.conn)
    else
      give_room(pool)
    end
  end
  if not ok then
    error(woke, 0)
  end
  return nil, errors.new('pool timeout', format(
    'none of %d connections was free within %g seconds', limits.size, limits.timeout))
end

-- A ready connection, until Pool.release; nil and an error.
function Pool.acquire(pool)
  if pool.is_closed then
    return nil, errors.new('closed', CLOSED)
  end
  while pool.idle_count > 0 do
    local at = pool.idle_count
    local conn = pool.idle[at]
    pool.idle[at] = nil
    pool.idle_count = at - 1
    if is_fit(pool, conn) then
      return conn
    end
    conn:close()
    give_room(pool)
  end
  if pool.count < pool.options.pool.size then
    pool.count = pool.count + 1
    return open(pool)
  end
  return wait(pool)
end

local function close_and_give_room(pool, conn)
  conn:close()
  give_room(pool)
end

local function close_later(pool, conn)
  local request = spawn(DETACHED, connection.cancel, pool.options, conn.key, CANCEL_REQUEST)
  pcall(request.wait, request, CANCEL_KEEPS_PLACE)
  close_and_give_room(pool, conn)
end

local function discard(pool, conn)
  if conn.pending > 0 and not conn.broken and conn.key and pool.options.cancel then
    -- It stays open meanwhile: otherwise a pooler in between would forget the key.
    if api.is_attached ~= 0 then
      spawn(DETACHED, close_later, pool, conn)
      return
    end
    -- On a worker nothing runs between two requests.
    pcall(connection.cancel, pool.options, conn.key, CANCEL_KEEPS_PLACE)
  end
  close_and_give_room(pool, conn)
end

-- Releases a connection, whatever its state.
function Pool.release(pool, conn)
  if not conn:is_clean() or pool.is_closed or is_too_old(pool, conn) or not conn:is_alive() then
    return discard(pool, conn)
  end
  local place, task = take_place(pool)
  if place then
    place.conn = conn
    return scheduler.wake(task)
  end
  local count = pool.idle_count + 1
  pool.idle[count], pool.idle_count = conn, count
  conn.idle_since = now()
  local reaper, idle = pool.reaper, idle_limit(pool)
  if not reaper.is_armed and idle > 0 then
    reaper.is_armed = true
    deadlines.arm(reaper, idle)
  end
end

-- Releases a connection because its request ended, with no task to notify the server. On a worker there is
-- none before the next request.
function Pool.abandon(pool, conn)
  if api.is_attached ~= 0 then
    spawn(DETACHED, pool.release, pool, conn)
    return
  end
  conn:drop()
  give_room(pool)
end

-- Closes those that were idle for too long: they are at the front.
function Pool.reap(pool)
  local idle = idle_limit(pool)
  local before = now() - idle
  local kept, count = {}, 0
  for i = 1, pool.idle_count do
    local conn = pool.idle[i]
    if pool.is_closed or (idle > 0 and conn.idle_since <= before) or not conn:is_alive() then
      conn:close()
      pool.count = pool.count - 1
    else
      count = count + 1
      kept[count] = conn
    end
  end
  pool.idle, pool.idle_count = kept, count
  local reaper = pool.reaper
  if count > 0 and not reaper.is_armed and idle > 0 then
    reaper.is_armed = true
    deadlines.arm(reaper, max(kept[1].idle_since - before, 0.01))
  end
end

-- Idle connections are closed at once, the others when they are released.
function Pool.close(pool)
  pool.is_closed = true
  deadlines.disarm(pool.reaper)
  pool.reaper.is_armed = false
  spawn(DETACHED, pool.reap, pool)
end

return _M
