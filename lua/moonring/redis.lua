-- A Redis client: redis.connect(url). Commands of all requests share one connection per Lua state; uses that
-- need their own connection take one from a pool. See docs/lua-redis.md.
local buffer = require 'string.buffer'
local connection = require 'moonring.redis_connection'
local crypto = require 'moonring.crypto'
local deadlines = require 'moonring.deadlines'
local failure = require 'moonring.failure'
local members = require 'moonring.members'
local percent = require 'moonring.percent'
local queue = require 'moonring.queue'
local resp = require 'moonring.resp'
local scheduler = require 'moonring.scheduler'
local spans = require 'moonring.spans'

local error, pairs, pcall, rawget, select = error, pairs, pcall, rawget, select
local setmetatable, tostring, tonumber, type, unpack = setmetatable, tostring, tonumber, type, unpack
local format, match, upper = string.format, string.match, string.upper
local max, min = math.max, math.min
local await, now, running, wake = scheduler.await, scheduler.now, scheduler.running, scheduler.wake
local running_now = scheduler.running_now
local check_can_wait, raise_failure = scheduler.check_can_wait, scheduler.raise_failure
local encode, name_of, null, raise = resp.encode, resp.name_of, resp.null, failure.raise
local begin_span = spans.begin

local _M = {}

_M.null = null
_M.is_error = resp.is_error

local TIMEOUT_S, CONNECT_TIMEOUT_S = 5, 2
local MAX_IN_FLIGHT = 10000
local MAX_REPLY = 64 * 1024 * 1024
local POOL_MAX, POOL_QUEUE, POOL_IDLE_S = 16, 1000, 60
local BATCH_MAX_BYTES = 64 * 1024 * 1024
local SECONDS_MAX = 1e6
-- Unread messages of a subscription; beyond, the connection is not read.
local MESSAGES_MAX = 1000
-- A subscription pings the server after this long without a byte.
local PING_S = 15

-- ---- Options. ----

local function is_seconds(value)
  return type(value) == 'number' and value > 0 and value <= SECONDS_MAX
end

local function is_count(value)
  return type(value) == 'number' and value >= 1 and value % 1 == 0 and value < 2 ^ 31
end

local function is_text(value)
  return type(value) == 'string' and value ~= ''
end

-- The checks of each option.
local CHECKS = {
  host = { is_text, 'a name or an address' },
  port = { function(value) return is_count(value) and value < 65536 end, 'a number from 1 to 65535' },
  path = { is_text, 'the path of a Unix socket' },
  user = { is_text, 'a name' },
  password = { is_text, 'a string' },
  db = { function(value) return value == 0 or is_count(value) end, 'a number, 0 or more' },
  protocol = { function(value) return value == 2 or value == 3 end, '2 or 3' },
  name = { function(value) return is_text(value) and not value:find '[^!-~]' end, 'a name without spaces' },
  tls = { function(value) return type(value) == 'boolean' or type(value) == 'table' end, 'a boolean or a table' },
  timeout = { is_seconds, 'seconds, more than 0' },
  connect_timeout = { is_seconds, 'seconds, more than 0' },
  max_in_flight = { is_count, 'a whole number, 1 or more' },
  max_reply = { function(value) return is_count(value) and value <= 256 * 1024 * 1024 end,
    'a number of bytes, at most 268435456' },
  pipelining = { function(value) return type(value) == 'boolean' end, 'a boolean' },
  pool = { function(value) return type(value) == 'table' end, 'a table' },
}
local POOL_CHECKS = {
  max = { is_count, 'a whole number, 1 or more' },
  queue = { function(value) return value == 0 or is_count(value) end, 'a whole number, 0 or more' },
  idle = { is_seconds, 'seconds, more than 0' },
}
local VIEW_CHECKS = {
  timeout = CHECKS.timeout,
  idempotent = CHECKS.pipelining,
}

local function check(options, checks, what)
  for name, value in pairs(options) do
    local rule = checks[name]
    if not rule then
      raise(what .. ': ' .. members.unknown('the table of options', name, { checks }))
    elseif not rule[1](value) then
      raise(format('%s: %s is %s, not %s', what, name, rule[2], tostring(value)))
    end
  end
end

local function decoded(text)
  return text ~= '' and (percent.decode(text) or raise 'redis.connect: the URL has a % that begins no byte') or nil
end

-- redis://[[user]:password@]host[:port][/db], rediss:// with TLS, unix://[[user]:password@]/path[?db=n]
local function options_of(url)
  local scheme, rest = match(url, '^(%a[%a+]*)://(.*)$')
  local options = {}
  if scheme ~= 'redis' and scheme ~= 'rediss' and scheme ~= 'unix' then
    raise(format('redis.connect: the URL begins with redis://, rediss:// or unix://, not %q', url:sub(1, 12)))
  end
  local login, place = match(rest, '^([^@/]*)@(.*)$')
  if login then
    local user, password = match(login, '^([^:]*):(.*)$')
    options.user, options.password = decoded(user or ''), decoded(password or login)
    rest = place
  end
  local query = match(rest, '%?(.*)$')
  rest = match(rest, '^[^?]*')
  local db
  if query then
    db = match(query, '^db=(%d+)$') or raise(format('redis.connect: the URL takes ?db=<number>, not ?%s', query))
  end
  if scheme == 'unix' then
    options.path = decoded(rest) or raise 'redis.connect: the URL has no path of a socket'
  else
    local host, behind = match(rest, '^%[([^%]]+)%](.*)$')
    if not host then
      host, behind = match(rest, '^([^:/]*)(.*)$')
    end
    local port, path = match(behind, '^:(%d+)(.*)$')
    path = path or behind
    db = db or match(path, '^/(%d+)$')
    if path ~= '' and path ~= '/' and not match(path, '^/%d+$') then
      raise(format('redis.connect: the path of the URL is the number of a database, not %q', path))
    end
    options.host, options.port = host ~= '' and host or nil, tonumber(port)
    options.tls = scheme == 'rediss' or nil
  end
  options.db = tonumber(db)
  return options
end

-- The configuration of connections; see redis_connection.lua.
local function config_of(options)
  local path = options.path
  if path and (options.host or options.port) then
    raise 'redis.connect: either host and port or path'
  elseif options.user and not options.password then
    raise 'redis.connect: a user needs a password'
  end
  local host = not path and (options.host or '127.0.0.1') or nil
  local port = not path and (options.port or 6379) or nil
  return {
    host = host, port = port, path = path, tls = options.tls or nil,
    address = path or format(host:find(':', 1, true) and '[%s]:%d' or '%s:%d', host, port),
    user = options.user, password = options.password, db = options.db or 0, name = options.name,
    protocol = options.protocol or 3,
    connect_timeout = options.connect_timeout or CONNECT_TIMEOUT_S,
    max_in_flight = options.max_in_flight or MAX_IN_FLIGHT,
    max_reply = options.max_reply or MAX_REPLY,
    retry_at = 0,
  }
end

-- ---- Commands that cannot share a connection. ----

local function set_of(text)
  local names = {}
  for name in text:gmatch '%S+' do
    names[name] = true
  end
  return names
end

-- Blocking commands: on a shared connection all others would wait with them.
local BLOCKING = set_of 'BLPOP BRPOP BLMOVE BLMPOP BRPOPLPUSH BZPOPMIN BZPOPMAX BZMPOP WAIT WAITAOF'
local BLOCKING_IF = set_of 'XREAD XREADGROUP' -- with BLOCK
-- They change the connection's state for later commands.
local STATEFUL = set_of 'SELECT AUTH HELLO READONLY READWRITE ASKING'
local OF_MULTI = set_of 'MULTI EXEC DISCARD WATCH UNWATCH'
-- After these, replies no longer match commands.
local REFUSED = set_of 'SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE MONITOR SYNC PSYNC QUIT RESET'
-- Subcommands of CLIENT that do not change the connection's state.
local CLIENT_SAFE = set_of 'LIST INFO ID GETNAME KILL UNBLOCK PAUSE UNPAUSE HELP GETREDIR TRACKINGINFO'

local special = {}
for _, names in pairs { BLOCKING, BLOCKING_IF, STATEFUL, OF_MULTI, REFUSED, { CLIENT = true } } do
  for name in pairs(names) do
    special[name] = true
  end
end

local function has_block(...)
  for i = 1, select('#', ...) do
    local value = select(i, ...)
    if type(value) == 'string' and upper(value) == 'BLOCK' then
      return true
    end
  end
  return false
end

-- 'blocking', 'stateful', 'multi', 'refused' or nil.
local function kind_of(name, ...)
  if BLOCKING[name] or BLOCKING_IF[name] and has_block(...) then
    return 'blocking'
  elseif STATEFUL[name] or name == 'CLIENT' and not CLIENT_SAFE[upper(tostring((...)))] then
    return 'stateful'
  elseif OF_MULTI[name] then
    return 'multi'
  elseif REFUSED[name] then
    return 'refused'
  end
end

local REASONS = {
  blocking = 'it waits, and all commands on the shared connection would wait behind it',
  stateful = 'it changes the shared connection for all others',
  multi = 'on the shared connection it would take in the commands of others',
}

local function refuse(name, kind)
  if kind == 'refused' then
    raise(format('%s cannot be sent as a command%s', name,
      name:find('SUBSCRIBE', 1, true) and ': client:subscribe and client:psubscribe' or ''))
  end
  raise(format('%s: %s; use client:session(function(session) ... end)%s', name, REASONS[kind],
    kind == 'multi' and ' or client:multi(function(multi) ... end)' or ''))
end

local function name_or_raise(name)
  return name_of(name) or raise(format('redis: %s is no name of a command', tostring(name)))
end

-- Functions for commands by name, created at first use. `run` is run(object, NAME, ...).
local METHODS_MAX = 1000

local function with_commands(class, run)
  local commands, count = {}, 0
  -- Not in __index, which LuaJIT would not compile with a closure in it.
  local function new_method(key)
    local name = type(key) == 'string' and match(key, '^%a[%w_]*$') and name_of(key)
    if not name then
      return nil
    end
    local function method(object, ...)
      if type(object) ~= 'table' then
        raise(format('redis: commands are called with a colon, client:%s(…)', key))
      end
      return run(object, name, ...)
    end
    if count >= METHODS_MAX then
      commands, count = {}, 0
    end
    commands[key] = method
    count = count + 1
    return method
  end
  class.__index = function(_, key)
    return rawget(class, key) or commands[key] or new_method(key)
  end
end

-- ---- The pool of connections that belong to one task for a time. ----

-- owner: the client's core
local Pool = {}
Pool.__index = Pool

local function new_pool(config, options)
  return setmetatable({
    config = config, max = options.max or POOL_MAX, queue_max = options.queue or POOL_QUEUE,
    idle_s = options.idle or POOL_IDLE_S,
    idle = {}, idle_count = 0, count = 0, waiting = queue.new(), waiting_count = 0,
    at = false, due = 0, -- as a deadline: when idle ones are looked at
  }, Pool)
end

-- Room for another connection: the next waiter opens it, or takes `conn`.
local function pass_on(pool, conn)
  for place in pool.waiting.take, pool.waiting do
    local task = place.task
    if task and task.state == 'waiting' then
      place.conn, place.is_called = conn, true
      wake(task)
      return true
    end
  end
  return false
end

local function discard(pool, conn)
  conn:close()
  pool.count = pool.count - 1
  pass_on(pool, nil)
end

function Pool.fire(pool)
  local oldest = now() - pool.idle_s
  local kept = 0
  for i = 1, pool.idle_count do
    local conn = pool.idle[i]
    pool.idle[i] = nil
    if conn.state == 'open' and max(conn.read_at, conn.opened_at) > oldest then
      kept = kept + 1
      pool.idle[kept] = conn
    else
      conn:close()
      pool.count = pool.count - 1
    end
  end
  pool.idle_count = kept
  if kept > 0 then
    deadlines.arm(pool, pool.idle_s / 2)
  end
end

local function put_back(pool, conn)
  if conn.state ~= 'open' or conn.in_flight > 0 or pool.is_closed then
    return discard(pool, conn)
  elseif pool.waiting.count > 0 and pass_on(pool, conn) then
    return
  end
  pool.idle_count = pool.idle_count + 1
  pool.idle[pool.idle_count] = conn
  if not pool.at then
    deadlines.arm(pool, pool.idle_s / 2)
  end
end

-- The most recently used one, which may be closed by now; nil: there is none.
local function take_idle(pool)
  local count = pool.idle_count
  if count == 0 then
    return nil
  end
  local conn = pool.idle[count]
  pool.idle[count] = nil
  pool.idle_count = count - 1
  return conn
end

-- Waits for another user's connection. The connection, false (there is room for a new one), or nil and an
-- error.
local function wait_for_conn(pool, task, deadline)
  if pool.waiting_count >= pool.queue_max then
    return nil, resp.error('busy', format('redis at %s: all %d connections are in use, and %d tasks wait for one',
      pool.config.address, pool.max, pool.waiting_count))
  end
  local place = { task = task }
  pool.waiting:put(place)
  pool.waiting_count = pool.waiting_count + 1
  local why = await(task, deadline and max(deadline - now(), 0))
  pool.waiting_count = pool.waiting_count - 1
  place.task = nil
  if place.is_called and why then -- in the same moment
    if place.conn then
      put_back(pool, place.conn)
    else
      pass_on(pool, nil)
    end
  end
  if why == 'failed' then
    raise_failure(task)
  elseif why then
    return nil, resp.error('timeout', format('redis at %s: all %d connections are in use', pool.config.address,
      pool.max))
  end
  return place.conn or false
end

-- An open connection for this task; nil and an error. It is returned with put_back or discard.
local function take_conn(pool, task, deadline)
  while true do
    local conn, problem = take_idle(pool), nil
    while conn do
      if conn:is_ready() or conn.state == 'open' and conn:is_alive() then
        return conn
      end
      conn:close()
      pool.count = pool.count - 1
      conn = take_idle(pool)
    end
    if pool.count < pool.max then
      pool.count = pool.count + 1
      conn = connection.new(pool.config)
      local ok, ready, why = pcall(conn.ready, conn, task, deadline)
      if ok and ready then
        return conn
      end
      if conn.state == 'opening' then -- others can use it
        conn.opened = function()
          conn.opened = nil
          put_back(pool, conn)
        end
      else
        discard(pool, conn)
      end
      if not ok then
        error(ready, 0)
      end
      return nil, why
    end
    conn, problem = wait_for_conn(pool, task, deadline)
    if conn == nil or conn and conn.state == 'open' then
      return conn, problem
    elseif conn then -- closed since it was passed on
      pool.count = pool.count - 1
    end
  end
end

-- ---- The client. ----

local Client = {}

-- For commands that are sent at once, not buffered.
local scratch = buffer.new()

local function task_of()
  local task = running 'redis'
  check_can_wait 'redis'
  return task
end

local function encoded(name, ...)
  local out = buffer.new()
  encode(out, name, ...)
  return out
end

local function check_open(core)
  if core.is_closed then
    raise 'redis: the client was closed'
  end
end

-- Only the value, for use as the last argument of another call.
local function result(value, problem)
  if problem then
    return nil, problem
  end
  return value
end

-- On a connection from the pool.
local function run_pooled(client, task, out, count, is_batch, deadline)
  local core = client.core
  deadline = deadline or now() + client.timeout
  for attempt = 1, 3 do
    local conn, problem = take_conn(core.pool, task, deadline)
    if not conn then
      return nil, problem
    end
    local value, failed, why = conn:exchange(task, out, count, is_batch, max(deadline - now(), 0))
    put_back(core.pool, conn)
    if why == 'failed' then
      raise_failure(task)
    elseif not why or why == 'timeout' or attempt == 3 or why == 'lost' and not client.idempotent then
      return result(value, failed)
    end
  end
end

local function run_shared(client, task, out, count, is_batch, deadline)
  return result(client.core.shared:perform(task, out, count, is_batch, deadline or now() + client.timeout,
    client.idempotent, true))
end

-- fn(...), a command or a batch of `count`, as a span.
local function run_in_span(span, config, name, count, fn, ...)
  local attributes = { ['db.system.name'] = 'redis', ['db.namespace'] = tostring(config.db),
    ['db.operation.name'] = name, ['db.operation.batch.size'] = count }
  spans.set_server(attributes, config.host, config.port, config.path)
  return spans.run(span, name, attributes, fn, ...)
end

-- Arguments that are handed on one by one; the first of more is a table of all.
local FEW = 3

local function put_command(out, name, count, a, b, c)
  if count == 1 then
    encode(out, name, a)
  elseif count == 2 then
    encode(out, name, a, b)
  elseif count == FEW then
    encode(out, name, a, b, c)
  elseif count == 0 then
    encode(out, name)
  else
    encode(out, name, unpack(a, 1, count))
  end
  return out
end

-- Apart from run_command: LuaJIT does not compile the rest of a function with `...` behind a wait.
local function run_few(client, name, count, a, b, c)
  local core = client.core
  local task = running_now 'redis'
  check_can_wait 'redis'
  local pool, conn = core.is_pooled and core.pool, core.shared
  local perform, due = pool and run_pooled or run_shared, nil
  local out = put_command(scratch:reset(), name, count, a, b, c) -- raises before a connection is taken
  if pool then
    conn = take_idle(pool)
  end
  if conn and conn:is_ready() then
    local value, problem, why
    value, problem, why, due = conn:exchange(task, out, 1, false, client.timeout)
    if pool then
      put_back(pool, conn)
    end
    if not why then
      return result(value, problem)
    elseif why == 'failed' then
      raise_failure(task)
    elseif not (why == 'unsent' or why == 'lost' and client.idempotent) then
      return nil, problem
    end
  else
    check_open(core)
    if conn and pool then
      put_back(pool, conn)
    end
  end
  return perform(client, task, put_command(buffer.new(), name, count, a, b, c), 1, false, due)
end

local function run_command(client, name, ...)
  if special[name] then
    local kind = kind_of(name, ...)
    if kind then
      refuse(name, kind)
    end
  end
  local count = select('#', ...)
  if count > FEW then
    return run_few(client, name, count, { ... })
  end
  local a, b, c = ...
  return run_few(client, name, count, a, b, c)
end

local function run(client, name, ...)
  local span = begin_span()
  if span then
    return run_in_span(span, client.core.config, name, nil, run_command, client, name, ...)
  end
  return run_command(client, name, ...)
end

with_commands(Client, run)

-- Any command: client:command('JSON.GET', key, path).
function Client.command(client, name, ...)
  return run(client, name_or_raise(name), ...)
end

-- The same client with other options for the commands run through the result.
function Client.with(client, options)
  check(options, VIEW_CHECKS, 'client:with')
  local idempotent = options.idempotent
  if idempotent == nil then
    idempotent = client.idempotent
  end
  return setmetatable({ core = client.core, timeout = options.timeout or client.timeout,
    idempotent = idempotent }, Client)
end

-- Closes its connections; waiting commands fail.
function Client.close(client)
  local core = client.core
  core.is_closed = true
  core.shared:close()
  local pool = core.pool
  pool.is_closed = true
  for i = 1, pool.idle_count do
    discard(pool, pool.idle[i])
    pool.idle[i] = nil
  end
  pool.idle_count = 0
end

function Client.__tostring(client)
  return format('redis client of %s', client.core.config.address)
end

-- ---- Batches: commands that are sent together. ----

local Batch = {}

local function add_to_batch(batch, name, ...)
  if batch.is_over then
    raise 'redis: this batch was sent already'
  elseif special[name] then
    local kind = kind_of(name, ...)
    if kind then
      refuse(name, kind)
    end
  end
  local ok, problem = pcall(encode, batch.out, name, ...)
  if not ok then
    batch.is_over = true
    error(problem, 0)
  end
  if #batch.out > BATCH_MAX_BYTES or batch.count >= batch.max then
    batch.is_over = true
    raise(format('redis: a batch has at most %d commands (max_in_flight) of %d bytes', batch.max, BATCH_MAX_BYTES))
  end
  batch.count = batch.count + 1
  return batch
end

with_commands(Batch, add_to_batch)

function Batch.command(batch, name, ...)
  return add_to_batch(batch, name_or_raise(name), ...)
end

local function new_batch(config)
  return setmetatable({ out = buffer.new(), count = 0, max = config.max_in_flight - 2,
    is_over = false }, Batch)
end

-- Ends a batch; the commands that fn put into it.
local function filled(batch, fn, what)
  if type(fn) ~= 'function' then
    raise(format('%s takes a function, not a %s', what, type(fn)))
  end
  local ok, problem = pcall(fn, batch)
  if not ok then
    batch.is_over = true
    error(problem, 0)
  end
  batch.is_over = true
end

-- Sends a batch: `count` commands, including MULTI and EXEC.
local function send_batch(config, name, batch, count, send)
  local span = begin_span()
  if span then
    return run_in_span(span, config, name, batch.count, send, batch.out, count)
  end
  return send(batch.out, count)
end

-- Runs the commands that `fn` puts into a batch: `send(out, count)`.
local function run_pipeline(config, fn, send)
  local batch = new_batch(config)
  filled(batch, fn, 'pipeline')
  if batch.count == 0 then
    return {}
  end
  return send_batch(config, 'PIPELINE', batch, batch.count, send)
end

local function run_multi(config, fn, send)
  local batch = new_batch(config)
  encode(batch.out, 'MULTI')
  filled(batch, fn, 'multi')
  if batch.count == 0 then
    return {}
  end
  encode(batch.out, 'EXEC')
  local replies, problem = send_batch(config, 'MULTI', batch, batch.count + 2, send)
  if not replies then
    return nil, problem
  end
  local results = replies[batch.count + 2]
  if results == null then
    return nil, resp.error('conflict', format('redis at %s: a watched key has changed, nothing was done',
      config.address))
  elseif resp.is_error(results) then
    for i = 1, batch.count + 1 do -- what was wrong with a command says more than EXECABORT
      if resp.is_error(replies[i]) then
        return nil, replies[i]
      end
    end
    return nil, results
  end
  return results
end

local function sender(client)
  check_open(client.core)
  local task = task_of()
  local send = client.core.is_pooled and run_pooled or run_shared
  return function(out, count)
    return send(client, task, out, count, true)
  end
end

-- Sends the commands of fn(pipeline) together: a list of their replies, in which nulls are redis.null and
-- errors are error objects; nil and an error if there are no replies.
function Client.pipeline(client, fn)
  return run_pipeline(client.core.config, fn, sender(client))
end

-- The same in MULTI and EXEC: all commands, with none of others in between, or none.
function Client.multi(client, fn)
  return run_multi(client.core.config, fn, sender(client))
end

-- ---- Sessions: a connection for one task. ----

local Session = {}

-- Seconds that a blocking command may wait according to its arguments; nil: no limit.
local function own_timeout(name, ...)
  local count = select('#', ...)
  local value
  if name == 'XREAD' or name == 'XREADGROUP' then
    for i = 1, count - 1 do
      local word = select(i, ...)
      if type(word) == 'string' and upper(word) == 'BLOCK' then
        value = tonumber((select(i + 1, ...)))
        value = value and value / 1000
      end
    end
  elseif name == 'BLMPOP' or name == 'BZMPOP' then
    value = tonumber((...))
  else
    value = count > 0 and tonumber((select(count, ...))) or nil
    value = value and (name == 'WAIT' or name == 'WAITAOF') and value / 1000 or value
  end
  return value and value > 0 and value or nil
end

local function check_session(session)
  if session.is_over then
    raise 'redis: this session is over: it lives as long as the function of client:session'
  end
end

local function run_session_command(session, name, ...)
  check_session(session)
  local deadline = now() + session.timeout
  if special[name] then
    local kind = kind_of(name, ...)
    if kind == 'refused' then
      refuse(name, kind)
    elseif kind == 'blocking' then
      local seconds = own_timeout(name, ...)
      deadline = seconds and deadline + seconds or nil
    elseif kind == 'stateful' then
      session.is_changed = true
    elseif kind == 'multi' then
      session.holds = name == 'WATCH' or name == 'MULTI'
    end
  end
  return result(session.conn:perform(task_of(), encoded(name, ...), 1, false, deadline, false, false))
end

local function run_in_session(session, name, ...)
  local span = begin_span()
  if span then
    return run_in_span(span, session.core.config, name, nil, run_session_command, session, name, ...)
  end
  return run_session_command(session, name, ...)
end

with_commands(Session, run_in_session)

function Session.command(session, name, ...)
  return run_in_session(session, name_or_raise(name), ...)
end

local function session_sender(session)
  check_session(session)
  local task = task_of()
  return function(out, count)
    return session.conn:perform(task, out, count, true, now() + session.timeout, false, false)
  end
end

function Session.pipeline(session, fn)
  return run_pipeline(session.core.config, fn, session_sender(session))
end

-- nil and an error with the code 'conflict' if a watched key changed.
function Session.multi(session, fn)
  local send = session_sender(session)
  return run_multi(session.core.config, fn, function(out, count)
    session.holds = false
    return send(out, count)
  end)
end

local function end_session(session)
  if session.is_over then
    return
  end
  session.is_over = true
  local pool, conn = session.core.pool, session.conn
  if session.is_changed or session.holds then
    discard(pool, conn)
  else
    put_back(pool, conn)
  end
end

local function returned(session, ok, ...)
  end_session(session)
  if not ok then
    error((...), 0)
  end
  return ...
end

-- Runs fn(session, ...) with its own connection, and returns its results; nil and an error if there is no
-- connection.
function Client.session(client, fn, ...)
  if type(fn) ~= 'function' then
    raise('client:session takes a function, not a ' .. type(fn))
  end
  local core = client.core
  check_open(core)
  local task = task_of()
  local conn, problem = take_conn(core.pool, task, now() + client.timeout)
  if not conn then
    return nil, problem
  end
  local session = setmetatable({ core = core, conn = conn, timeout = client.timeout,
    is_over = false, is_changed = false, holds = false }, Session)
  scheduler.on_end(function() -- it may be dropped in the middle
    if not session.is_over then
      session.is_changed = true
      end_session(session)
    end
  end)
  return returned(session, pcall(fn, session, ...))
end

-- ---- Scripts. ----

local Script = {}
Script.__index = Script

-- A script in Lua for client:run.
function _M.script(source)
  if type(source) ~= 'string' then
    raise('redis.script takes the text of a script, not a ' .. type(source))
  end
  return setmetatable({ source = source, sha = crypto.sha1(source, 'hex') }, Script)
end

local NONE = {}

local function arguments_of(script, keys, arguments)
  if type(keys) ~= 'table' or type(arguments) ~= 'table' then
    raise 'client:run(script, keys, arguments): keys and arguments are lists'
  end
  local list = { script, #keys }
  for i = 1, #keys do
    list[i + 2] = keys[i]
  end
  for i = 1, #arguments do
    list[#keys + 2 + i] = arguments[i]
  end
  return list
end

-- Runs a script from redis.script: by its digest, or by its text if the server does not have it yet.
local function run_script(object, script, keys, arguments)
  if type(script) ~= 'table' or getmetatable(script) ~= Script then
    raise 'client:run(script, keys, arguments): script is one of redis.script'
  end
  local list = arguments_of(script.sha, keys or NONE, arguments or NONE)
  local value, problem = object:command('EVALSHA', unpack(list, 1, #list))
  if problem and problem.code == 'NOSCRIPT' then
    list[1] = script.source
    return object:command('EVAL', unpack(list, 1, #list))
  end
  return value, problem
end

Client.run, Session.run = run_script, run_script

-- ---- Scans. ----

local SCAN_CHECKS = {
  match = { is_text, 'a pattern' },
  count = { is_count, 'a whole number, 1 or more' },
  type = { is_text, 'the name of a type' },
}

-- An iterator over the results of a SCAN command, `width` values at a time. Raises errors.
local function scan(object, options, width, name, ...)
  options = options or NONE
  check(options, SCAN_CHECKS, name)
  local arguments = { ... }
  local at = #arguments + 1
  arguments[at] = '0'
  for _, word in ipairs { 'match', 'count', 'type' } do
    if options[word] then
      arguments[#arguments + 1] = upper(word)
      arguments[#arguments + 1] = options[word]
    end
  end
  local found, index, is_over = NONE, 1, false
  return function()
    while found[index] == nil do
      if is_over then
        return nil
      end
      local reply, problem = object:command(name, unpack(arguments, 1, #arguments))
      if not reply then
        error(problem, 0)
      end
      arguments[at], found, index = reply[1], reply[2], 1
      is_over = reply[1] == '0'
    end
    local first, second = found[index], found[index + 1]
    index = index + width
    if width == 2 then
      return first, second
    end
    return first
  end
end

-- for key in client:scan_keys { match = 'user:*' } do
function Client.scan_keys(client, options)
  return scan(client, options, 1, 'SCAN')
end

-- for field, value in client:scan_hash(key, options) do
function Client.scan_hash(client, key, options)
  return scan(client, options, 2, 'HSCAN', key)
end

function Client.scan_set(client, key, options)
  return scan(client, options, 1, 'SSCAN', key)
end

-- for member, score in client:scan_sorted_set(key, options) do: the score is text.
function Client.scan_sorted_set(client, key, options)
  return scan(client, options, 2, 'ZSCAN', key)
end

-- ---- Subscriptions. ----

-- owner: the request or task that has made it, which one task reads
local Subscription = {}
Subscription.__index = Subscription

local subscriptions = setmetatable({}, { __mode = 'k' }) -- those of tasks without a request

local function wake_reader(sub)
  local task = sub.task
  if task then
    sub.task = nil
    wake(task)
  end
end

-- ... as the owner of a connection.
function Subscription.closed(sub)
  sub.is_subscribed = false
  wake_reader(sub)
end

local CONFIRMS = set_of 'subscribe psubscribe unsubscribe punsubscribe'

function Subscription.replied(sub, kind, value)
  if kind == resp.FAILED then
    sub.problem = value
  elseif type(value) ~= 'table' then
    return -- of PING
  elseif value[1] == 'message' then
    sub.messages_:put { type = 'message', channel = value[2], payload = value[3] }
  elseif value[1] == 'pmessage' then
    sub.messages_:put { type = 'message', pattern = value[2], channel = value[3], payload = value[4] }
  elseif CONFIRMS[value[1]] then
    sub.unconfirmed = sub.unconfirmed - 1
  else
    return
  end
  if sub.messages_.count >= MESSAGES_MAX then
    sub.conn.is_paused = true
  end
  wake_reader(sub)
end

local function send_subscriptions(sub, channels, patterns)
  local out = buffer.new()
  if #channels > 0 then
    encode(out, 'SUBSCRIBE', unpack(channels))
  end
  if #patterns > 0 then
    encode(out, 'PSUBSCRIBE', unpack(patterns))
  end
  sub.unconfirmed = sub.unconfirmed + #channels + #patterns
  return sub.conn:send(out)
end

-- Waits for data, at most `seconds`: nil, or 'timeout'. Raises if it is cancelled.
local function wait_for_more(sub, task, seconds)
  sub.task = task
  local why = await(task, seconds)
  sub.task = nil
  if why == 'failed' then
    raise_failure(task)
  end
  return why
end

-- Connects and subscribes: true, or nil and an error.
local function begin_subscription(sub, task, deadline)
  local ok, problem = sub.conn:ready(task, deadline)
  if not ok then
    return nil, problem
  end
  sub.problem, sub.unconfirmed = nil, 0
  send_subscriptions(sub, sub.channels, sub.patterns)
  while sub.unconfirmed > 0 do
    if sub.problem then
      return nil, sub.problem
    elseif sub.conn.state ~= 'open' then
      return nil, resp.error('connection lost', format('redis at %s: connection lost', sub.config.address))
    end
    local why = wait_for_more(sub, task, max(deadline - now(), 0))
    if why and sub.unconfirmed > 0 and not sub.problem then
      sub.conn:close()
      return nil, resp.error('timeout', format('redis at %s: not subscribed within the deadline', sub.config.address))
    end
  end
  sub.is_subscribed = true
  return true
end

local function subscribe(client, channels, patterns, what)
  local core = client.core
  check_open(core)
  for _, names in pairs { channels, patterns } do
    for i = 1, #names do
      if type(names[i]) ~= 'string' then
        raise(format('%s: name %d is a %s, not a string', what, i, type(names[i])))
      end
    end
  end
  if #channels + #patterns == 0 then
    raise(what .. ' takes names')
  end
  local task = task_of()
  local sub = setmetatable({ config = core.config, channels = channels, patterns = patterns,
    messages_ = queue.new(), unconfirmed = 0, timeout = client.timeout, request = task.request }, Subscription)
  sub.conn = connection.new(core.config, sub)
  scheduler.on_end(function()
    sub:close()
  end)
  if not task.request then
    subscriptions[sub] = true
  end
  local ok, problem = begin_subscription(sub, task, now() + client.timeout)
  if not ok then
    sub:close()
    return nil, problem
  end
  return sub
end

function Client.subscribe(client, ...)
  return subscribe(client, { ... }, {}, 'client:subscribe')
end

function Client.psubscribe(client, ...)
  return subscribe(client, {}, { ... }, 'client:psubscribe')
end

-- Reconnects, for at most `seconds`: true, or nil and 'timeout', or a permanent error.
local function resume(sub, task, limit)
  while not sub.is_closed do
    local deadline = min(limit or now() + sub.timeout, now() + sub.timeout)
    local ok, problem = begin_subscription(sub, task, deadline)
    if ok then
      return true
    elseif problem.is_reply then
      return nil, problem
    elseif limit and now() >= limit then
      return nil, 'timeout'
    end
    local pause = max(sub.config.retry_at - now(), 0.01)
    wait_for_more(sub, task, limit and min(pause, max(limit - now(), 0)) or pause)
  end
  return nil, 'closed'
end

-- The next message, or an event { type = 'reconnected' }: messages may be lost before it. nil and
-- 'timeout' after `seconds` (nil: no limit), 'closed', or an error of the server.
function Subscription.receive(sub, seconds)
  if seconds ~= nil and not (type(seconds) == 'number' and seconds >= 0) then
    raise('subscription:receive takes seconds, not ' .. tostring(seconds))
  end
  local task = task_of()
  if sub.task then
    raise 'subscription:receive: another task waits already'
  end
  local limit = seconds and now() + seconds
  while true do
    local conn, message = sub.conn, sub.messages_:take()
    if message then
      if conn.is_paused and sub.messages_.count < MESSAGES_MAX / 2 then
        conn:go_on()
      end
      return message
    elseif sub.is_closed then
      return nil, 'closed'
    elseif sub.problem then
      return nil, sub.problem
    elseif not sub.is_subscribed then
      local ok, problem = resume(sub, task, limit)
      if not ok then
        return nil, problem
      end
      return { type = 'reconnected' }
    end
    local left = limit and limit - now()
    if left and left <= 0 then
      return nil, 'timeout'
    end
    local why = wait_for_more(sub, task, left and min(left, PING_S) or PING_S)
    if why and conn.state == 'open' and not conn.is_paused and now() - conn.read_at >= PING_S then
      if sub.pinged_at and sub.pinged_at > conn.read_at then
        conn:close()
        sub:closed()
      else
        sub.pinged_at = now()
        conn:send(encoded 'PING')
      end
    end
  end
end

-- for message in subscription:messages() do: until it is closed; raises an error of the server.
function Subscription.messages(sub)
  return function()
    local message, problem = sub:receive()
    if not message and problem ~= 'closed' then
      error(problem, 0)
    end
    return message
  end
end

function Subscription.close(sub)
  if sub.is_closed then
    return
  end
  sub.is_closed = true
  subscriptions[sub] = nil
  sub.conn:close()
  wake_reader(sub)
end

-- On a reload, or when the process ends: detached subscriptions end. Otherwise their tasks would run beside
-- those of the new code, and handle each message twice.
scheduler.on_retire(function()
  for sub in pairs(subscriptions) do
    sub:close()
  end
end)

-- ---- Connecting. ----

-- A client of the server at `url` or in `options`, which may also follow a URL. It connects at its first
-- command.
function _M.connect(url, options)
  if type(url) == 'table' and options == nil then
    url, options = nil, url
  elseif type(url) ~= 'string' then
    raise('redis.connect takes a URL or a table of options, not a ' .. type(url))
  end
  if options ~= nil and type(options) ~= 'table' then
    raise('redis.connect(url, options): options is a ' .. type(options) .. ', not a table')
  end
  local all = url and options_of(url) or {}
  for name, value in pairs(options or NONE) do
    all[name] = value
  end
  check(all, CHECKS, 'redis.connect')
  local pool = all.pool or NONE
  check(pool, POOL_CHECKS, 'redis.connect: pool')
  local config = config_of(all)
  local core = { config = config, shared = connection.new(config), pool = new_pool(config, pool),
    is_pooled = all.pipelining == false }
  return setmetatable({ core = core, timeout = all.timeout or TIMEOUT_S, idempotent = false }, Client)
end

return members.strict(_M, 'moonring.redis')
