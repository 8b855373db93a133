-- One connection to Redis of one Lua state: commands in, replies out, matched by their order. It belongs to
-- no request and no task: C wakes it, and it wakes the task that waits for a reply. See
-- lua/moonring/redis.lua for shared and dedicated use.
--
--   closed ──ready()──► opening ──HELLO, AUTH, SELECT──► open ──failure──► closed
-- A command whose task is gone (deadline, cancel) keeps its place: its reply is dropped on arrival.
local api = require 'moonring.abi'
local buffer = require 'string.buffer'
local crypto = require 'moonring.crypto'
local deadlines = require 'moonring.deadlines'
local ffi = require 'ffi'
local resp = require 'moonring.resp'
local scheduler = require 'moonring.scheduler'
local socket = require 'moonring.socket'

local cast = ffi.cast
local arm, disarm = deadlines.arm, deadlines.disarm
local pcall, setmetatable, tostring, type = pcall, setmetatable, tostring, type
local max, min = math.max, math.min
local await, wake, now = scheduler.await, scheduler.wake, scheduler.now
local uses_of = scheduler.uses_of
local listen, raise_failure = scheduler.listen, scheduler.raise_failure
local encode, failure_of, null = resp.encode, resp.error, resp.null
local net = socket._api

local _M = {}

local READ, WRITE = 0, 1
local MORE = 4
local FAILED, PUSH, BROKEN = resp.FAILED, resp.PUSH, resp.BROKEN
local DETACHED = { detached = true }

local MAX_DEPTH = 64
-- Unsent bytes beyond which commands are refused.
local UNSENT_MAX = 16 * 1024 * 1024
-- The delay between two attempts to connect, the first and the longest.
local BACKOFF_S, BACKOFF_MAX_S = 0.05, 0.5
-- A connection that lasted less than this counts as a failed attempt.
local SHORT_LIFE_S = 1
-- If a command timed out and nothing arrived for this long, the connection is closed.
local STALL_S = 2

local Connection = {}
Connection.__index = Connection

-- ---- Places in the order of replies: one for each command or batch, used again. ----
--   task     the waiting task; false: it is gone
--   uses     of that task: if they differ, it serves another request
--   behind   the place of the next command
--   left     replies that are to come
--   values   of a batch; false: a single command, whose reply is `value`
--   from     position of its first byte in all that was put
--   due      its deadline; one of the connection stands for those of all, so that a command costs
--            none of the scheduler's
--   is_late  it has passed
--   done     the replies are there, or none will come:
--   outcome  false, 'unsent' or 'lost'

local free_places, free_count = {}, 0
local FREE_MAX = 1024

local function take_place()
  if free_count > 0 then
    local place = free_places[free_count]
    free_places[free_count] = nil
    free_count = free_count - 1
    return place
  end
  return { task = false, uses = 0, behind = false, left = 0, values = false, value = false, from = 0,
    done = false, outcome = false, is_error = false, due = 0, is_late = false }
end

local function give_place(place)
  place.task, place.value, place.values, place.behind = false, false, false, false
  if free_count < FREE_MAX then
    free_count = free_count + 1
    free_places[free_count] = place
  end
end

local function wake_for(place, task)
  if uses_of(task) == place.uses then
    wake(task)
  end
end

-- ---- A connection. ----

-- `config`: see redis.lua. `owner`: has functions `pushed` and `replied` for out-of-band messages, and
-- `closed`; nil: pushes are dropped.
function _M.new(config, owner)
  return setmetatable({
    config = config, owner = owner or false, state = 'closed',
    sock = false, handle = false, decoder = false,
    first = false, last = false,      -- places in the order of replies
    in_flight = 0,                    -- commands without a reply
    put = 0,                          -- bytes, ever
    read_at = 0, opened_at = 0,
    waiting = {}, waiting_count = 0,  -- for `open`, in their order
    due = 0, at = false,              -- of the first deadline
    is_paused = false, is_given_up = false, cause = nil,
    opened = nil, -- is called when `open` has ended, one way or the other
  }, Connection)
end

local function message(conn, text)
  return ('redis at %s: %s'):format(conn.config.address, text)
end

-- ---- The end. ----

local function back_off(config, cause)
  local delay = min(config.delay and config.delay * 2 or BACKOFF_S, BACKOFF_MAX_S)
  config.delay = delay
  config.cause = cause
  config.retry_at = now() + delay * (0.5 + crypto.random(1):byte() / 512)
end

local function end_place(place, outcome)
  place.done, place.outcome = true, outcome
  if place.task then
    wake_for(place, place.task)
  else
    give_place(place)
  end
end

-- Closes. Waiting commands learn whether they may have been sent.
local function close(conn, cause)
  local sock, handle = conn.sock, conn.handle
  local was_open = conn.state == 'open'
  conn.state, conn.sock, conn.handle, conn.cause = 'closed', false, false, cause
  if not sock then
    return
  end
  local sent = conn.put - tonumber(net.unsent(handle))
  disarm(conn)
  listen(handle.ids[READ], nil)
  listen(handle.ids[WRITE], nil)
  socket._release(sock)
  local place = conn.first
  conn.first, conn.last, conn.in_flight, conn.is_paused = false, false, 0, false
  while place do
    local behind = place.behind
    end_place(place, place.from >= sent and 'unsent' or 'lost')
    place = behind
  end
  if was_open and cause and now() - conn.opened_at < SHORT_LIFE_S then
    back_off(conn.config, failure_of('unavailable', message(conn, cause)))
  end
  if conn.owner then
    conn.owner:closed(cause)
  end
end

-- No task waits for it any more.
function Connection.close(conn)
  conn.is_given_up = true
  close(conn, nil)
end

-- ---- Replies. ----

local function deliver(conn, kind, value)
  local place = conn.first
  if not place then
    return false
  end
  local left = place.left - 1
  place.left = left
  conn.in_flight = conn.in_flight - 1
  local values = place.values
  if values then
    values[#values + 1] = value
  else
    place.value, place.is_error = value, kind == FAILED
  end
  if left == 0 then
    local behind = place.behind
    conn.first = behind
    if not behind then
      conn.last = false
    end
    local task = place.task
    if task then
      place.done = true
      wake_for(place, task)
    else
      give_place(place)
    end
  end
  return true
end

-- These are apart from the loops that use them: LuaJIT does not compile the caller of a loop.
local function is_waiting(handle)
  return handle.waits[READ] ~= 0
end

local function has_failed(handle)
  return handle.failed[READ] ~= 0
end

local function arrived(handle)
  return cast('const uint8_t *', handle.data), tonumber(handle.len)
end

-- The first `at` bytes are done with. Receives at least `need` more: false if it has to wait.
local function receive_behind(handle, at, need)
  net.take(handle, at)
  net.receive(handle, MORE, need - 1, nil, 0)
  return handle.waits[READ] == 0
end

-- Parses the replies that have arrived. The position behind them; nil: the connection is closed.
local function take_replies(conn, handle, decoder)
  local owner = conn.owner
  local p, len = arrived(handle)
  local at = 0
  while true do
    local kind, value
    at, kind, value = decoder:next(p, at, len)
    if not kind then
      return at
    elseif kind == BROKEN then
      close(conn, 'the server does not speak its protocol: ' .. value)
      return nil
    elseif owner then
      owner:replied(kind, value)
      if conn.handle ~= handle then
        return nil
      elseif conn.is_paused then
        return at
      end
    elseif kind ~= PUSH and not deliver(conn, kind, value) then
      close(conn, 'a reply without a command')
      return nil
    end
    if at == len and decoder.depth == 0 then
      return at -- most often
    end
  end
end

-- Exactly one reply has arrived, as on a connection with one task: true. No loop, so LuaJIT compiles it with
-- its callers.
local function take_one(conn, handle)
  local decoder = conn.decoder
  if conn.owner or decoder.depth > 0 or handle.failed[READ] ~= 0 then
    return false
  end
  local len = tonumber(handle.len)
  local at, kind, value = decoder:next_short(cast('const uint8_t *', handle.data), 0, len)
  if not kind or at ~= len or not deliver(conn, kind, value) then
    return false
  end
  return not receive_behind(handle, at, 1)
end

local take_all

-- Called for events from C, and to start.
local function on_wake(conn)
  local handle = conn.handle
  if not handle or is_waiting(handle) or conn.is_paused then
    return
  end
  conn.read_at = now()
  if conn.in_flight ~= 1 or not take_one(conn, handle) then
    take_all(conn, handle)
  end
end

function take_all(conn, handle)
  local decoder = conn.decoder
  repeat
    if has_failed(handle) then
      close(conn, ffi.string(net.failure(handle, READ)))
      return
    end
    local at = take_replies(conn, handle, decoder)
    if not at then
      return
    elseif conn.is_paused then
      net.take(handle, at)
      return
    end
  until not receive_behind(handle, at, decoder.need)
end

-- Resumes replies, for an owner that had set is_paused.
function Connection.go_on(conn)
  conn.is_paused = false
  local handle = conn.handle
  if handle and handle.waits[READ] == 0 then
    net.receive(handle, MORE, 0, nil, 0)
    on_wake(conn)
  end
end

-- The result of sending may show only in later calls.
local function on_sent() end

-- ---- Commands. ----

-- Sends the bytes in `out`. False: it failed, and the connection is closed.
function Connection.send(conn, out)
  local handle = conn.handle
  local p, len = out:ref()
  net.put(handle, p, len)
  conn.put = conn.put + len
  if handle.waits[WRITE] == 0 then
    net.send(handle, 0)
    if handle.waits[WRITE] == 0 and handle.failed[WRITE] ~= 0 then
      close(conn, ffi.string(net.failure(handle, WRITE)))
      return false
    end
  end
  return true
end

-- The earliest deadline has passed; its command may be done already.
function Connection.fire(conn)
  local time, first_due = now(), math.huge
  local place = conn.first
  while place do
    if place.task then
      if place.due <= time then
        place.is_late = true
        wake_for(place, place.task)
      elseif place.due < first_due then
        first_due = place.due
      end
    end
    place = place.behind
  end
  if first_due < math.huge then
    arm(conn, first_due - time)
  end
end

local function set_deadline(conn, place, seconds)
  if not seconds then
    place.due = math.huge
    return
  end
  local due = now() + seconds
  place.due = due
  if not conn.at then
    arm(conn, seconds)
  elseif due < conn.due then
    disarm(conn)
    arm(conn, seconds)
  end
end

-- Sends what is in `out`, `count` commands, for `task`. Returns their place.
local function begin(conn, task, out, count, is_batch, seconds)
  local place = take_place()
  place.task, place.uses, place.left = task, uses_of(task), count
  place.done, place.outcome = false, false
  place.values, place.is_late = is_batch and {} or false, false
  set_deadline(conn, place, seconds)
  place.from = conn.put
  local last = conn.last
  conn.last = place
  if last then
    last.behind = place
  else
    conn.first = place
  end
  conn.in_flight = conn.in_flight + count
  conn:send(out) -- if it fails, the place knows
  return place
end

-- Why `count` more commands cannot be sent now; nil: they can.
local function lacks_room(conn, count)
  if conn.in_flight + count > conn.config.max_in_flight then
    return failure_of('busy', message(conn, ('%d commands wait for a reply, the server does not keep up')
      :format(conn.in_flight)))
  elseif conn.handle.waits[WRITE] ~= 0 and tonumber(net.unsent(conn.handle)) > UNSENT_MAX then
    return failure_of('busy', message(conn, 'too many bytes are unsent, the server does not keep up'))
  end
end

-- The task gives up: its reply is dropped on arrival. A connection on which nothing arrives any more is
-- closed.
local function abandon(conn, place, is_late)
  place.task = false
  if is_late and conn.handle and now() - max(conn.read_at, conn.opened_at) > STALL_S then
    close(conn, 'nothing was received for too long')
  end
end

-- Something else woke it.
local function await_again(task, place)
  local why
  repeat
    why = await(task, nil)
  until why or place.done or place.is_late
  return why
end

-- Waits for the replies: nil, or 'timeout', 'unsent', 'lost', or 'failed': the task must raise the reason of
-- its cancellation. Then the place is released.
local function outcome_of(conn, task, place)
  local why = not place.done and await(task, nil) or nil
  if not (why or place.done or place.is_late) then
    why = await_again(task, place)
  end
  if place.done then
    if not why and not place.outcome then
      return nil
    end
    why = why or place.outcome
    give_place(place)
    return why
  end
  abandon(conn, place, not why)
  return why or 'timeout'
end

-- The result of `place`, which is released: a value (nil for a null); nil and an error; all replies of a
-- batch.
local function result_of(place)
  local value, values, is_error = place.value, place.values, place.is_error
  give_place(place)
  if values then
    return values
  elseif is_error then
    return nil, value
  elseif value == null then
    return nil
  end
  return value
end

local WHY = {
  timeout = 'no reply within the deadline, the command may have run',
  lost = 'connection lost%s, the command may have run',
  unsent = 'connection lost%s, the command was not sent',
}
local CODES = { timeout = 'timeout', lost = 'connection lost', unsent = 'connection lost' }

local function failed(conn, why)
  local cause = conn.cause and ' (' .. conn.cause .. ')' or ''
  local failure = failure_of(CODES[why], message(conn, WHY[why]:format(cause)))
  failure.is_sent = why ~= 'unsent'
  return nil, failure
end

-- `count` commands, in `out`, on a connection that is open: as result_of. Third: as outcome_of, which
-- does not raise, and the deadline.
function Connection.exchange(conn, task, out, count, is_batch, seconds)
  if conn.in_flight + count > conn.config.max_in_flight or conn.handle.waits[WRITE] ~= 0 then
    local busy = lacks_room(conn, count)
    if busy then
      return nil, busy
    end
  end
  local place = begin(conn, task, out, count, is_batch, seconds)
  local due = place.due
  local why = outcome_of(conn, task, place)
  if not why then
    return result_of(place)
  elseif why == 'failed' then
    return nil, nil, why
  end
  local _, failure = failed(conn, why)
  return nil, failure, why, due
end

local function left_until(deadline)
  return deadline and max(deadline - now(), 0)
end

-- Runs `count` commands in `out`, retrying those that were not sent, or are `idempotent`, as long as there is
-- time: as result_of. `reopens`: the connection is opened if it is closed.
function Connection.perform(conn, task, out, count, is_batch, deadline, idempotent, reopens)
  for attempt = 1, 3 do
    if reopens then
      local ok, failure = conn:ready(task, deadline)
      if not ok then
        return nil, failure
      end
    elseif conn.state ~= 'open' then
      return failed(conn, 'unsent')
    end
    local value, failure, why = conn:exchange(task, out, count, is_batch, left_until(deadline))
    if why == 'failed' then
      raise_failure(task)
    end
    local again = reopens and (why == 'unsent' or why == 'lost' and idempotent) and attempt < 3
    if not again then
      return value, failure
    end
  end
end

-- ---- Opening. ----

local function greet(conn, out, protocol)
  local config = conn.config
  out:reset()
  local count = 1
  if protocol == 3 then
    if config.password then
      encode(out, 'HELLO', '3', 'AUTH', config.user or 'default', config.password)
    else
      encode(out, 'HELLO', '3')
    end
  elseif config.user then
    encode(out, 'AUTH', config.user, config.password)
  elseif config.password then
    encode(out, 'AUTH', config.password)
  else
    count = 0
  end
  if config.name then
    encode(out, 'CLIENT', 'SETNAME', config.name)
    count = count + 1
  end
  if config.db ~= 0 then
    encode(out, 'SELECT', config.db)
    count = count + 1
  end
  return count
end

-- The error of a server without HELLO.
local function is_old(failure)
  return failure.code == 'NOPROTO' or failure.code == 'ERR' and failure.message:find('unknown command', 1, true)
end

-- The first error of the greeting; nil: none.
local function greeting(conn, task, deadline, protocol)
  local out = buffer.new()
  local count = greet(conn, out, protocol)
  if count == 0 then
    return nil
  end
  local place = begin(conn, task, out, count, true, left_until(deadline))
  local why = outcome_of(conn, task, place)
  if why == 'failed' then
    raise_failure(task)
  elseif why then
    return failure_of('unavailable', message(conn, why == 'timeout' and 'no reply to the greeting'
      or 'closed during the greeting'))
  end
  for _, value in ipairs(result_of(place)) do
    if resp.is_error(value) then
      return value
    end
  end
end

-- The error, or nil: it is connected.
local function establish(conn)
  local config = conn.config
  local deadline = now() + config.connect_timeout
  local sock, problem = socket.connect {
    host = config.host, port = config.port, path = config.path, tls = config.tls, pool = false,
    timeout = config.connect_timeout,
  }
  if not sock then
    return failure_of('unavailable', message(conn, problem))
  elseif conn.state ~= 'opening' then
    sock:close()
    return failure_of('unavailable', message(conn, 'closed'))
  end
  local handle = socket.share(sock).handle
  conn.sock, conn.handle = sock, handle
  conn.decoder = resp.decoder(config.max_reply, MAX_DEPTH)
  conn.put, conn.opened_at, conn.read_at = 0, now(), now()
  listen(handle.ids[READ], on_wake, conn)
  listen(handle.ids[WRITE], on_sent, conn)
  local owner = conn.owner
  conn.owner = false -- the greeting has replies
  net.receive(handle, MORE, 0, nil, 0)
  on_wake(conn)
  local task = scheduler.check 'redis'
  local failure = conn.handle and greeting(conn, task, deadline, config.protocol)
  if failure and config.protocol == 3 and is_old(failure) and conn.handle then
    failure = greeting(conn, task, deadline, 2)
  end
  conn.owner = owner
  if not failure and not conn.handle then
    failure = failure_of('unavailable', message(conn, 'closed during the greeting'))
  end
  return failure
end

local function end_waiting(conn, failure)
  local waiting, count = conn.waiting, conn.waiting_count
  conn.waiting, conn.waiting_count = {}, 0
  for i = 1, count do
    local place = waiting[i]
    if place.task then
      place.failure = failure
      wake(place.task)
    end
  end
end

local function open(conn)
  local ok, failure = pcall(establish, conn)
  if not ok then
    failure = failure_of('unavailable', message(conn, tostring(failure)))
  end
  local config = conn.config
  if failure then
    if failure.is_reply then
      failure = failure_of(failure.code, message(conn, failure.message))
    end
    close(conn, nil)
    if not conn.is_given_up then
      back_off(config, failure)
    end
  else
    conn.state = 'open'
    conn.opened_at = now()
    config.delay, config.retry_at, config.cause = nil, 0, nil
  end
  end_waiting(conn, failure)
  if conn.opened then
    conn:opened()
  end
end

-- On a worker nothing is received between two requests: the connection may be closed.
local function look(conn)
  if api.is_attached == 0 and net.look(conn.handle) == 0 then
    close(conn, nil)
  end
end

-- Waits until it is open: true. nil and an error at the deadline, or if it cannot be opened; shortly after a
-- failed attempt, at once.
function Connection.ready(conn, task, deadline)
  if conn.state == 'open' then
    look(conn)
  end
  while conn.state ~= 'open' do
    local config = conn.config
    if conn.state == 'closed' then
      if now() < config.retry_at then
        return nil, config.cause
      end
      conn.state, conn.is_given_up = 'opening', false
      scheduler.spawn(DETACHED, open, conn)
    end
    if conn.waiting_count >= config.max_in_flight then
      return nil, failure_of('busy', message(conn, ('%d commands wait for the connection')
        :format(conn.waiting_count)))
    end
    local place = { task = task }
    conn.waiting_count = conn.waiting_count + 1
    conn.waiting[conn.waiting_count] = place
    local why = await(task, left_until(deadline))
    place.task = nil
    if why == 'failed' then
      raise_failure(task)
    elseif why == 'timeout' then
      return nil, failure_of('timeout', message(conn, 'not connected within the deadline, the command was not sent'))
    elseif place.failure then
      return nil, place.failure
    end
  end
  return true
end

-- For one that is open and idle on a worker.
function Connection.is_alive(conn)
  look(conn)
  return conn.state == 'open'
end

-- It can be used at once, without waiting.
function Connection.is_ready(conn)
  return conn.state == 'open' and api.is_attached ~= 0
end

return _M
