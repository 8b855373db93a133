-- A PostgreSQL client: postgres.connect(url), then db:query(sql, …). Errors of the server or the network are
-- returned, nil and an error (postgres_error.lua); programming errors are raised. See docs/lua-postgres.md.
local api = require 'moonring.abi'
local connection = require 'moonring.postgres_connection'
local errors = require 'moonring.postgres_error'
local failure = require 'moonring.failure'
local members = require 'moonring.members'
local options_of = require 'moonring.postgres_options'
local pool_of = require 'moonring.postgres_pool'
local queue = require 'moonring.queue'
local scheduler = require 'moonring.scheduler'
local spans = require 'moonring.spans'
local timers = require 'moonring.timers'
local types = require 'moonring.postgres_types'

local error, ipairs, pairs, pcall, select = error, ipairs, pairs, pcall, select
local rawget, setmetatable, tostring, type, unpack = rawget, setmetatable, tostring, type, unpack
local find, format, gsub, match, upper = string.find, string.format, string.gsub, string.match,
  string.upper
local concat, min, random = table.concat, math.min, math.random
local raise = failure.raise

local _M = {}

-- moonring.json encodes rows as an array, even if there are none.
local rows_type = types.array_type

-- ---- Spans. ----

-- A span's name (the command) and its attributes. SQL without parameters contains values, so only the command
-- is shown. `count`: parameters.
local function describe(options, sql, count)
  local command = upper(match(sql, '^%s*(%a+)') or 'SQL')
  local attributes = { ['db.system.name'] = 'postgresql', ['db.namespace'] = options.database,
    ['db.query.summary'] = command, ['db.query.text'] = count > 0 and sql or nil }
  spans.set_server(attributes, options.host, options.port, options.path)
  return command, attributes
end

-- fn(...), which runs `sql`, as a span if the request is sampled.
local function observed(options, sql, count, fn, ...)
  local span = spans.begin()
  if not span then
    return fn(...)
  end
  local name, attributes = describe(options, sql, count)
  return spans.run(span, name, attributes, fn, ...)
end

local function options_of_queries(queries)
  local pool = rawget(queries, 'pool')
  return pool and pool.options or queries.conn.options
end

-- queries:with(fn, …), which runs `sql` with `count` parameters.
local function call(queries, sql, count, fn, ...)
  return observed(options_of_queries(queries), sql, count, queries.with, queries, fn, ...)
end

-- ---- What a pool and a transaction have in common: calls that run on one connection. ----

local Queries = {}

local function check_sql(sql, what)
  if type(sql) ~= 'string' or find(sql, '\0', 1, true) then
    raise(format('%s takes SQL without NUL, not %s', what,
      type(sql) == 'string' and 'a string with one' or 'a ' .. type(sql)))
  end
end

local function run_one(conn, item)
  local results, infos = {}, {}
  local ok, problem = conn:run({ item }, results, infos)
  if not ok then
    return nil, problem
  end
  return setmetatable(results[1] or {}, rows_type), infos[1]
end

-- The rows, and nothing else, so that `assert(db:query(…))` can be an argument.
function Queries.query(queries, sql, ...)
  check_sql(sql, 'db:query')
  local count = select('#', ...)
  local rows, problem = call(queries, sql, count, run_one, { sql = sql, count = count, ... })
  if not rows then
    return nil, problem
  end
  return rows
end

-- { rows = …, command = …, count = …, columns = … }
function Queries.run(queries, sql, ...)
  check_sql(sql, 'db:run')
  local count = select('#', ...)
  local rows, info = call(queries, sql, count, run_one, { sql = sql, count = count, ... })
  if not rows then
    return nil, info
  end
  info.rows = rows
  return info
end

-- The first row; nil: there is none.
function Queries.one(queries, sql, ...)
  check_sql(sql, 'db:one')
  local count = select('#', ...)
  local rows, problem = call(queries, sql, count, run_one, { sql = sql, count = count, ... })
  if not rows then
    return nil, problem
  end
  return rows[1]
end

local function run_simple(conn, sql)
  return conn:simple(sql)
end

-- The same for the begin or end of a transaction.
local function simple(conn, sql)
  return observed(conn.options, sql, 0, run_simple, conn, sql)
end

-- The number of rows affected. Without parameters the text may hold several commands.
function Queries.exec(queries, sql, ...)
  check_sql(sql, 'db:exec')
  local count = select('#', ...)
  if count == 0 then
    local affected, problem = call(queries, sql, 0, run_simple, sql)
    if not affected then
      return nil, problem
    end
    return affected
  end
  local rows, info = call(queries, sql, count, run_one, { sql = sql, count = count, ... })
  if not rows then
    return nil, info
  end
  return info.count
end

local function run_list(conn, list)
  local results, infos = {}, {}
  local ok, problem, place = conn:run(list, results, infos)
  if not ok then
    if problem then
      problem.index = place
    end
    return nil, problem
  end
  for i = 1, #list do
    setmetatable(results[i], rows_type)
  end
  return results
end

-- Several statements in one round trip, { { sql, parameter, … }, … }, and in one transaction: a
-- list of rows for each. error.index says which one failed.
function Queries.pipeline(queries, statements)
  if type(statements) ~= 'table' then
    raise('db:pipeline takes a list of statements, not a ' .. type(statements))
  end
  local list = {}
  for i, statement in ipairs(statements) do
    if type(statement) ~= 'table' then
      raise(format('db:pipeline: statement %d is a %s, and not { sql, parameter, … }', i,
        type(statement)))
    end
    check_sql(statement[1], 'db:pipeline')
    local count = (statement.n or #statement) - 1
    local item = { sql = statement[1], count = count }
    for j = 1, count do
      item[j] = statement[j + 1]
    end
    list[i] = item
  end
  if #list == 0 then
    return {}
  end
  return call(queries, 'PIPELINE', 0, run_list, list)
end

-- An iterator over the pieces of a source: a string, a list of strings or a function.
local function pieces_of(source)
  local kind = type(source)
  if kind == 'function' then
    return function()
      local piece = source()
      if piece ~= nil and type(piece) ~= 'string' then
        raise('db:copy_in: the function has returned a ' .. type(piece) .. ', not a string or nil')
      end
      return piece
    end
  elseif kind == 'string' then
    source = { source }
  elseif kind ~= 'table' then
    raise('db:copy_in takes a string, a list of strings or a function, not a ' .. kind)
  end
  local at = 0
  return function()
    at = at + 1
    local piece = source[at]
    if piece ~= nil and type(piece) ~= 'string' then
      raise(format('db:copy_in: element %d is a %s, not a string', at, type(piece)))
    end
    return piece
  end
end

local function run_copy_in(conn, sql, next_piece)
  return conn:copy_in(sql, next_piece)
end

-- Sends data for COPY … FROM STDIN: the number of rows.
function Queries.copy_in(queries, sql, source)
  check_sql(sql, 'db:copy_in')
  return call(queries, sql, 0, run_copy_in, sql, pieces_of(source))
end

-- ---- A pool. ----

local Db = {}

-- After fn(conn, …) has returned or raised.
local function finish(pool, conn, ok, ...)
  conn.is_busy = false
  pool:release(conn)
  if not ok then
    error((...), 0)
  end
  return ...
end

function Db.with(db, fn, ...)
  local pool = db.pool
  local conn, problem = pool:acquire()
  if not conn then
    return nil, problem
  end
  conn:limit(pool.options.timeout)
  return finish(pool, conn, pcall(fn, conn, ...))
end

-- By the task of a request, or a detached task: the functions to call when it ends.
local held_by = setmetatable({}, { __mode = 'k' })

-- Calls abandon() when the current request or task ends, unless the returned function was called before.
local function guarded(abandon)
  local task = scheduler.running 'moonring.postgres'
  task = task.request or task
  local held = held_by[task]
  if not held then
    held = {}
    held_by[task] = held
    scheduler.on_end(function()
      for forgotten in pairs(held) do
        forgotten()
      end
    end)
  end
  held[abandon] = true
  return function()
    held[abandon] = nil
  end
end

-- A connection for use across other code, and the function that ends the use.
local function take(db)
  local pool = db.pool
  local conn, problem = pool:acquire()
  if not conn then
    return nil, problem
  end
  local is_over = false
  local forget = guarded(function()
    if not is_over then
      is_over = true
      conn.is_busy = false
      pool:abandon(conn)
    end
  end)
  return conn, function()
    if not is_over then
      is_over = true
      forget()
      conn.is_busy = false
      pool:release(conn)
    end
  end
end

-- The pieces of a copy on a connection; release() comes at its end.
local function copied(conn, release)
  return function()
    if conn.broken then
      error(conn.broken, 0)
    end
    conn:limit(conn.options.timeout)
    local ok, piece, problem = pcall(conn.next_copied, conn)
    if ok and piece then
      return piece
    end
    release()
    if not ok then
      error(piece, 0)
    elseif problem then
      error(problem, 0)
    end
    return nil
  end
end

local function copy_out(db, sql)
  local conn, release = take(db)
  if not conn then
    return nil, release
  end
  conn:limit(conn.options.timeout)
  local ran, ok, problem = pcall(conn.begin_copy_out, conn, sql)
  if ran and ok then
    return copied(conn, release)
  end
  release()
  if not ran then
    error(ok, 0)
  end
  return nil, problem
end

-- An iterator over the pieces, usually rows, of COPY … TO STDOUT. It raises later errors.
function Db.copy_out(db, sql)
  check_sql(sql, 'db:copy_out')
  return observed(db.pool.options, sql, 0, copy_out, db, sql)
end

-- ---- Transactions. ----

local Transaction = {}

local function check_live(tx)
  if not tx.is_live then
    raise 'this transaction is over'
  elseif tx.has_inner then
    raise 'this transaction has one inside, which is to be used meanwhile'
  end
end

-- After a call on the connection of a transaction.
local function note(tx, conn, ok, ...)
  if not ok then
    conn.is_busy = false
    error((...), 0)
  end
  if select('#', ...) >= 2 and (...) == nil then
    local problem = select(2, ...)
    if errors.is(problem) and conn.status ~= 'T' then
      tx.root.problem = tx.root.problem or problem
    end
  end
  return ...
end

function Transaction.with(tx, fn, ...)
  check_live(tx)
  local conn = tx.conn
  if conn.is_busy then
    raise 'this transaction is in use: by another task, or by a tx:copy_out that was not read to its end'
  elseif conn.broken or conn.pending > 0 then
    return nil, conn.broken or errors.new('closed', 'the transaction has ended with its connection')
  end
  conn:limit(conn.options.timeout)
  return note(tx, conn, pcall(fn, conn, ...))
end

function Transaction.copy_out(tx, sql)
  check_sql(sql, 'tx:copy_out')
  local ok, problem = call(tx, sql, 0, function(conn)
    return conn:begin_copy_out(sql)
  end)
  if not ok then
    return nil, problem
  end
  return copied(tx.conn, function() end)
end

local ISOLATION = { ['read committed'] = true, ['repeatable read'] = true, serializable = true }
local TRANSACTION_OPTIONS = { isolation = true, read_only = true, deferrable = true,
  retries = true }

local function begin_of(options)
  if type(options) ~= 'table' then
    raise('db:transaction: options are a table, not a ' .. type(options))
  end
  local words, retries = { 'BEGIN' }, options.retries
  if retries ~= nil and not (type(retries) == 'number' and retries >= 0) then
    raise('db:transaction: retries is a number, 0 or more, not ' .. tostring(retries))
  end
  for name in pairs(options) do
    if not TRANSACTION_OPTIONS[name] then
      raise('db:transaction: '
        .. members.unknown('the table of options', name, { TRANSACTION_OPTIONS }))
    end
  end
  if options.isolation then
    if not ISOLATION[options.isolation] then
      raise("db:transaction: isolation is 'read committed', 'repeatable read' or 'serializable', not "
        .. tostring(options.isolation))
    end
    words[#words + 1] = 'ISOLATION LEVEL ' .. upper(options.isolation)
  end
  if options.read_only then
    words[#words + 1] = 'READ ONLY'
  end
  if options.deferrable then
    words[#words + 1] = 'DEFERRABLE'
  end
  return concat(words, ' ')
end

local function pack(...)
  return { n = select('#', ...), ... }
end

-- Whether the results of a transaction's function are an error.
local function is_failed(results)
  return results[1] == nil and results[2] ~= nil
end

local function rolled_back(conn, sql)
  if not conn.broken and conn.pending == 0 then
    conn:limit(min(conn.options.timeout > 0 and conn.options.timeout or 5, 5))
    simple(conn, sql)
  end
end

local function run_function(tx, fn)
  local results = pack(pcall(fn, tx))
  tx.is_live = false
  local ok = results[1]
  local values = { n = results.n - 1, unpack(results, 2, results.n) }
  return ok, values
end

-- Whether waiting is no longer possible: the client disconnected, or the task was cancelled.
local function has_to_end(reason)
  return failure.is(reason)
end

-- One attempt on a connection: whether it was committed; its results, or the error and whether to raise it.
local function attempt(db, conn, fn, begin)
  conn:limit(conn.options.timeout)
  local began, problem = simple(conn, begin)
  if not began then
    return false, problem
  end
  local tx = setmetatable({ conn = conn, db = db, is_live = true, depth = 0 }, Transaction)
  tx.root = tx
  local ok, values = run_function(tx, fn)
  if not ok then
    local reason = values[1]
    conn.is_busy = false
    if not has_to_end(reason) then
      rolled_back(conn, 'ROLLBACK')
    end
    return false, reason, not errors.is(reason)
  elseif conn.is_busy then
    conn.broken = conn.broken or errors.of_socket 'closed'
    raise 'db:transaction: a task still uses the transaction, or a db:copy_out in it was not read to its end'
  elseif is_failed(values) then
    rolled_back(conn, 'ROLLBACK')
    return false, values, false, true
  elseif conn.broken or conn.pending > 0 then
    return false, tx.problem or conn.broken or errors.of_socket 'closed'
  elseif conn.status == 'I' then
    raise 'db:transaction: its function has ended the transaction itself: return to commit, raise an error to roll back'
  end
  conn:limit(conn.options.timeout)
  local committed, command = simple(conn, 'COMMIT')
  if not committed then
    return false, command
  elseif command ~= 'COMMIT' then
    return false, tx.problem or errors.new('rolled back', 'the server has rolled the transaction back')
  end
  return true, values
end

-- Connecting is not a call by itself; if it fails, the failed call is BEGIN.
local function take_for_transaction(db)
  local span = spans.begin()
  local conn, release = take(db)
  if span and not conn then
    local name, attributes = describe(db.pool.options, 'BEGIN', 0)
    spans.finish(span, name, attributes, release.code)
  end
  return conn, release
end

local RETRIED = { ['40001'] = true, ['40P01'] = true }

-- Calls fn(tx) and commits; its results. Rolls back if it raises, or returns nil and an error.
-- Database errors are returned, others raised again. retries: how often it is repeated after a serialization
-- failure or a deadlock.
function Db.transaction(db, fn, options)
  if type(fn) == 'table' then
    fn, options = options, fn
  end
  scheduler.check_function(fn, 'db:transaction')
  options = options or {}
  local begin, retries = begin_of(options), options.retries or 0
  local tries = 0
  while true do
    local conn, release = take_for_transaction(db)
    if not conn then
      return nil, release
    end
    local ran, ok, values, is_raised, is_returned = pcall(attempt, db, conn, fn, begin)
    release()
    if not ran then
      error(ok, 0)
    elseif ok then
      return unpack(values, 1, values.n)
    end
    local problem = is_returned and values[2] or values
    if not (errors.is(problem) and RETRIED[problem.sqlstate] and tries < retries) then
      if is_raised then
        error(values, 0)
      elseif is_returned then
        return unpack(values, 1, values.n)
      end
      return nil, values
    end
    tries = tries + 1
    scheduler.sleep(random() * min(0.01 * 2 ^ tries, 1))
  end
end

-- The same inside a transaction: a savepoint.
function Transaction.transaction(tx, fn)
  scheduler.check_function(fn, 'tx:transaction')
  local name = 'moonring_' .. (tx.depth + 1)
  local ok, problem = call(tx, 'SAVEPOINT', 0, run_simple, 'SAVEPOINT ' .. name)
  if not ok then
    return nil, problem
  end
  local conn = tx.conn
  local inner = setmetatable({ conn = conn, db = tx.db, is_live = true, depth = tx.depth + 1,
    root = tx.root }, Transaction)
  tx.has_inner = true
  local values
  ok, values = run_function(inner, fn)
  tx.has_inner = false
  if ok and not is_failed(values) and conn.status == 'T' then
    ok, problem = call(tx, 'RELEASE', 0, run_simple, 'RELEASE SAVEPOINT ' .. name)
    if ok then
      return unpack(values, 1, values.n)
    end
    return nil, problem
  end
  if not ok and has_to_end(values[1]) then
    error(values[1], 0)
  end
  conn.is_busy = false
  local earlier = tx.root.problem
  tx.root.problem = nil -- what has failed inside is undone
  rolled_back(conn, 'ROLLBACK TO SAVEPOINT ' .. name .. '; RELEASE SAVEPOINT ' .. name)
  if not ok then
    if errors.is(values[1]) then
      return nil, values[1]
    end
    error(values[1], 0)
  elseif is_failed(values) then
    return unpack(values, 1, values.n)
  end
  return nil, earlier or errors.new('rolled back', 'the inner transaction has failed')
end

-- ---- Notifications. ----

-- Seconds before reconnecting a lost connection: the first delay, and the longest.
local RETRY_FIRST, RETRY_MOST = 0.1, 0.5
-- Without a notification for this long, the server is pinged.
local SILENCE = 30
-- Unread notifications; more end the connection.
local HELD_MAX = 10000
-- A timer's last run signals the end of the state.
local NEVER = 1e8

local Listener = {}
Listener.__index = Listener

local function quote_name(name)
  return '"' .. gsub(name, '"', '""') .. '"'
end

local function listen_on(listener, conn)
  local commands = {}
  for i = 1, #listener.channels do
    commands[i] = 'LISTEN ' .. quote_name(listener.channels[i])
  end
  conn.on_notification = function(channel, payload, pid)
    if listener.held.count < HELD_MAX then
      listener.held:put { channel = channel, payload = payload, pid = pid }
    else
      conn.broken = errors.new('too many notifications', HELD_MAX .. ' notifications wait')
    end
  end
  conn:limit(listener.options.timeout)
  return conn:simple(concat(commands, '; '))
end

local function lose(listener)
  local conn = listener.conn
  listener.conn = nil
  if conn then
    conn:drop()
  end
end

-- Connects, and reconnects until `deadline` (nil: without limit); a notification says that others may have
-- been lost.
local function reach(listener, deadline)
  local pause = RETRY_FIRST
  while not listener.is_closed do
    local conn, problem = connection.open(listener.options, listener.known)
    local ok = conn
    if conn then
      listener.conn = conn
      ok, problem = listen_on(listener, conn)
    end
    if listener.is_closed then
      lose(listener)
      return nil, errors.of_socket 'closed'
    elseif ok then
      if listener.has_begun then
        listener.held:put { is_reconnected = true }
      end
      listener.has_begun = true
      return true
    end
    lose(listener)
    if not listener.has_begun then
      return nil, problem
    end
    local left = deadline and deadline - scheduler.now() or pause
    if left <= 0 then
      return nil, 'timeout'
    end
    scheduler.sleep(min(pause, left))
    pause = min(2 * pause, RETRY_MOST)
  end
  return nil, errors.of_socket 'closed'
end

local function is_there(conn)
  conn:limit(5)
  return conn:simple ''
end

-- The next notification, { channel, payload, pid }, or { is_reconnected = true } after the
-- connection was lost. nil, 'timeout' after `seconds` (nil: any time); nil and an error when it is
-- closed.
function Listener.next(listener, seconds)
  if seconds ~= nil then
    scheduler.check_seconds(seconds, 'listener:next')
  end
  local deadline = seconds and scheduler.now() + seconds
  local held = listener.held
  local function has_one()
    return held.count > 0
  end
  while held.count == 0 do
    if listener.is_closed then
      return nil, errors.of_socket 'closed'
    end
    local conn = listener.conn
    if not conn then
      local ok, problem = reach(listener, deadline)
      if not ok then
        return nil, problem
      end
    else
      local left = deadline and deadline - scheduler.now() or SILENCE
      if left <= 0 then
        return nil, 'timeout'
      end
      conn:limit(min(left, SILENCE))
      local ok, problem = conn:hear(has_one)
      if listener.is_closed then
        return nil, errors.of_socket 'closed'
      elseif not ok and (problem.code ~= 'timeout'
        or (left >= SILENCE and not is_there(conn))) then
        lose(listener)
      end
    end
  end
  return held:take()
end

-- For loops.
function Listener.__call(listener)
  return (listener:next())
end

function Listener.close(listener)
  if listener.is_closed then
    return
  end
  listener.is_closed = true
  if listener.timer then
    listener.timer:cancel()
  end
  lose(listener)
  if listener.forget then
    listener.forget()
  end
end

-- A separate connection that listens on the channels; nil and an error. It ends with the request or task that
-- created it, and with this version of the handler.
function Db.listen(db, ...)
  local count = select('#', ...)
  if count == 0 then
    raise 'db:listen takes the name of a channel, or several'
  end
  for i = 1, count do
    local name = select(i, ...)
    if type(name) ~= 'string' or name == '' or find(name, '\0', 1, true) or #name > 63 then
      raise(format('db:listen: the name of a channel has 1 to 63 bytes, and not %s', tostring(name)))
    end
  end
  local listener = setmetatable({ options = db.pool.options, known = db.pool.known,
    channels = { ... }, held = queue.new() }, Listener)
  if api.is_attached ~= 0 then -- on a worker it ends with its request
    listener.timer = timers.every(NEVER, function(premature)
      if premature then
        listener:close()
      end
    end)
  end
  local ok, problem = reach(listener)
  if not ok then
    listener:close()
    return nil, problem
  end
  listener.forget = guarded(function()
    listener:close()
  end)
  return listener
end

-- ---- What there is. ----

-- The number of connections, how many of them are idle, and how many tasks wait for one.
function Db.stats(db)
  local pool = db.pool
  return { size = pool.options.pool.size, open = pool.count, idle = pool.idle_count,
    waiting = pool.waiting_count }
end

-- Closes idle connections, and the others when they are released. Later calls fail.
function Db.close(db)
  db.pool:close()
end

for name, method in pairs(Queries) do
  Db[name] = method
  Transaction[name] = method
end

Db.__index, Transaction.__index = Db, Transaction
local BOTH = { 'query', 'one', 'run', 'exec', 'pipeline', 'transaction', 'copy_in', 'copy_out' }
members.class(Transaction, 'a transaction of postgres', BOTH, { 'conn', 'db', 'is_live', 'depth',
  'root', 'has_inner', 'problem' })
members.class(Db, 'a pool of postgres', { 'listen', 'stats', 'close', unpack(BOTH) }, { 'pool' })
members.class(Listener, 'a listener of postgres', { 'next', 'close' }, { 'options', 'known',
  'channels', 'held', 'timer', 'conn', 'has_begun', 'is_closed', 'forget' })

function Db.__tostring(db)
  local options = db.pool.options
  return format('postgres %s@%s/%s', options.user, options.path or options.host .. ':' .. options.port,
    options.database)
end

-- A pool of connections to one database, opened when needed: this does not wait. `options` is a URL or a
-- table.
function _M.connect(options)
  return setmetatable({ pool = pool_of.new(options_of.read(options)) }, Db)
end

-- NULL in arrays and as a parameter; the same as moonring.json's null.
_M.null = types.null
_M.json, _M.array, _M.bytea = types.json, types.array, types.bytea
_M.epoch, _M.timestamp = types.epoch, types.timestamp

-- Quotes a name (of a table, a column), and a text: where SQL takes no parameter.
function _M.quote_name(name)
  if type(name) ~= 'string' or name == '' or find(name, '\0', 1, true) then
    raise('postgres.quote_name takes a name, not ' .. tostring(name))
  end
  return quote_name(name)
end

function _M.quote_text(text)
  if type(text) ~= 'string' or find(text, '\0', 1, true) then
    raise('postgres.quote_text takes a string without NUL, not ' .. tostring(text))
  end
  local quoted = "'" .. gsub(text, "'", "''") .. "'"
  return find(text, '\\', 1, true) and ' E' .. gsub(quoted, '\\', '\\\\') or quoted
end

-- Whether a value is an error of this module.
function _M.is_error(value)
  return errors.is(value)
end

return members.strict(_M, 'moonring.postgres')
