-- Handlers that query the database at MOONRING_TEST_DB: /name runs the function of that name.
local json = require 'moonring.json'
local postgres = require 'moonring.postgres'

local url = os.getenv 'MOONRING_TEST_DB'
local db = postgres.connect(url)

local routes = {}

local function shown(...)
  local words = {}
  for i = 1, select('#', ...) do
    local value = select(i, ...)
    words[i] = type(value) == 'table' and not postgres.is_error(value) and json.encode(value)
      or postgres.is_error(value) and value.code or tostring(value)
  end
  return table.concat(words, ' ')
end

-- Every type, from the server.
function routes.types()
  return (assert(db:query [=[
    select 1::int2 as int2, -2::int4 as int4, 9007199254740993 as big, 42::int8 as int8,
      1.5::float8 as float8, 0.1::float4 as float4, true as yes, 'tëxt' as text,
      '{"a":[1,null]}'::jsonb as jsonb, 1.10::numeric as numeric, array[1,2,null] as list,
      array['a','b"c\d'] as texts, array[[1,2],[3,4]] as square, '{}'::int[] as empty,
      null::text as nothing, '2026-01-02 03:04:05.678+00'::timestamptz at time zone 'UTC' as time,
      date '2026-01-02' as date, '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid as uuid,
      encode('\x00ff'::bytea, 'hex') as hex, '1 day 02:00:00'::interval as span]=]))
end

-- ... and back.
function routes.parameters()
  local row = assert(db:one([[
    select $1::int as a, $2::text as b, $3::bytea as c, $4::jsonb as d, $5::int[] as e,
      $6::bool as f, $7::float8 as g, $8::text[] as h, $9::text as i, $10::int8 as j]],
    5, "x'y", 'a\0b\255', { k = { 1, 2 } }, { 1, postgres.null, 3 }, true, 0.1,
    { 'a"b', 'c\\d', '', 'NULL' }, nil, 9223372036854775807LL))
  row.c = row.c == 'a\0b\255'
  return row
end

function routes.errors(results)
  local function note(...)
    results[#results + 1] = shown(...)
  end
  note(db:query 'select 1/0')
  note(db:query 'selec 1')
  note(db:query('select $1::int', 'x'))
  note(db:one 'select 1 where false')
  note(db:query 'select 1; select 2')
  note(db:query 'copy (select 1) to stdout')
  note(db:exec 'create temp table c(a int); copy c from stdin')
  note(db:query('copy t from stdin'))
  local _, problem = db:exec("insert into t(v) values ('one'), ('one')")
  note(problem, problem.constraint, problem.detail, problem.sqlstate)
  note(select(2, pcall(db.query, db, 'select $1::int')))
  note(select(2, pcall(db.query, db, 'select $1::int', { 1 })))
  note(select(2, pcall(db.query, db, 'select \0')))
  note(select(2, pcall(function()
    return db.qery
  end)))
  note(db:one 'select 5 as five')
  local result = assert(db:run "insert into t(v) values ('one'), ('two') returning v")
  note(result.command, result.count, result.columns[1].name, result.rows)
  note(#assert(db:query "delete from t"), db:exec "delete from t")
end

-- ---- Cases that a test distinguishes. ----

function routes.setup()
  return (assert(db:exec [[
    drop table if exists t;
    create table t(id serial primary key, v text unique, n int not null default 0)]]))
end

function routes.transactions(results)
  local function note(...)
    results[#results + 1] = shown(...)
  end
  note(db:transaction(function(tx)
    assert(tx:exec('insert into t(v) values ($1)', 'kept'))
    note('inner', tx:transaction(function(inner)
      assert(inner:exec('insert into t(v) values ($1)', 'undone'))
      assert(inner:exec('insert into t(v) values ($1)', 'kept'))
    end))
    note('inner', tx:transaction(function(inner)
      assert(inner:exec('insert into t(v) values ($1)', 'inner'))
      return 'fine', 5
    end))
    return (tx:query 'select v from t order by v')
  end))
  note('raised', pcall(db.transaction, db, function(tx)
    assert(tx:exec("insert into t(v) values ('raised')"))
    error('boom', 0)
  end))
  note('returned', db:transaction(function(tx)
    assert(tx:exec("insert into t(v) values ('returned')"))
    return nil, 'no'
  end))
  note('ignored', db:transaction(function(tx)
    tx:exec("insert into t(v) values ('ignored')")
    tx:exec("insert into t(v) values ('kept')")
    return 'as if nothing were'
  end))
  local kept
  note('asserted', db:transaction(function(tx)
    kept = tx
    assert(tx:exec("insert into t(v) values ('kept')"))
  end))
  note(select(2, pcall(kept.query, kept, 'select 1')))
  note('read only', db:transaction({ read_only = true, isolation = 'serializable' }, function(tx)
    return tx:exec("insert into t(v) values ('x')")
  end))
  for _, mistake in ipairs {
    { function(tx) tx:exec 'rollback' end }, { function() end, 5 }, { function() end, { retries = 'x' } },
  } do
    note((select(2, pcall(db.transaction, db, unpack(mistake))):match 'db:transaction: .*'))
  end
  note((db:query 'select v from t order by v'))
  -- An abandoned query counts until the server has been told to cancel it.
  local deadline = moonring.now() + 30
  while db:stats().open > 1 and moonring.now() < deadline do
    moonring.sleep(0.005)
  end
  local now = db:stats()
  note(now.open, now.idle, now.waiting)
end

-- Two transactions that cannot be serialized, each of which retries.
function routes.retries()
  assert(db:exec "insert into t(v, n) values ('a', 1), ('b', 1)")
  local attempts, read = 0, 0
  local function move(from, to)
    return db:transaction({ isolation = 'serializable', retries = 20 }, function(tx)
      attempts = attempts + 1
      local sum = assert(tx:one 'select sum(n)::int as n from t').n
      read = read + 1
      while read < 2 do -- the first attempts overlap
        moonring.sleep(0.001)
      end
      assert(tx:exec('update t set n = n + $1 where v = $2', sum, to))
      return from
    end)
  end
  local first, second = moonring.spawn(move, 'a', 'b'), moonring.spawn(move, 'b', 'a')
  local one, two = first:wait(), second:wait()
  return { one, two, attempts > 2, assert(db:one 'select sum(n)::int as n from t').n }
end

function routes.pipeline(results)
  local function note(...)
    results[#results + 1] = shown(...)
  end
  for _ = 1, 2 do
    note((db:pipeline { { 'select $1::int as a', 1 }, { 'select $1::int as a', 2 },
      { "insert into t(v) values ($1)", 'p' .. _ }, { 'select v from t order by v' } }))
  end
  local _, problem = db:pipeline { { "insert into t(v) values ('undone')" }, { 'select 1/0 as a' },
    { 'select 1 as a' } }
  note(problem, problem.index)
  _, problem = db:pipeline { { 'select 1 as a' }, { 'selec' } }
  note(problem, problem.index)
  local many = {}
  for i = 1, 400 do
    many[i] = { "select repeat('x', 20000) as x, $1::int as i, $2::text as y", i, ('y'):rep(500) }
  end
  local rows = assert(db:pipeline(many))
  local sum = 0
  for i = 1, 400 do
    sum = sum + rows[i][1].i + #rows[i][1].x
  end
  note(sum)
  assert(#db:pipeline {} == 0)
  note((db:query 'select v from t order by v'))
end

function routes.copy(results)
  local function note(...)
    results[#results + 1] = shown(...)
  end
  note(db:copy_in('copy t(v, n) from stdin', 'a\t1\nb\t2\n'))
  note(db:copy_in('copy t(v, n) from stdin', { 'c\t3\n', 'd\t4', '\n' }))
  local n = 0
  note(db:copy_in('copy t(v, n) from stdin', function()
    n = n + 1
    return n <= 1000 and ('row %d\t%d\n'):format(n, n) or nil
  end))
  note(pcall(db.copy_in, db, 'copy t(v, n) from stdin', function()
    error('boom', 0)
  end))
  note(db:copy_in('copy t(v, n) from stdin', 'a\t1\n'))
  note(db:copy_in('select 1', 'a'))
  note(db:copy_out 'select 1')
  local count, bytes = 0, 0
  for piece in assert(db:copy_out "copy (select v, repeat('z', 1000) from t) to stdout") do
    count, bytes = count + 1, bytes + #piece
  end
  note(count, bytes)
  note(pcall(function()
    for _ in assert(db:copy_out 'copy (select 1/(500 - n) from t) to stdout') do
      count = count + 1
    end
  end))
  note(db:transaction(function(tx)
    local parts = {}
    for piece in assert(tx:copy_out 'copy (select v from t where n <= 2 and length(v) = 1) to stdout') do
      parts[#parts + 1] = piece
    end
    return #parts, tx:one('select 1 as a')
  end))
  local _, problem = pcall(db.transaction, db, function(tx)
    for _ in assert(tx:copy_out 'copy (select 1 union select 2) to stdout') do
      tx:one 'select 1'
    end
  end)
  note((problem:match 'this transaction is in use.*'))
end

-- Breaks out of a loop: its connection is closed with the request.
function routes.leave()
  for piece in assert(db:copy_out 'copy (select generate_series(1, 1000000)) to stdout') do
    return piece
  end
end

function routes.stats()
  return db:stats()
end

function routes.listen(results)
  local listener = assert(db:listen('jobs', 'Two "words"'))
  moonring.spawn(function()
    assert(db:exec "notify jobs, 'first'; notify \"Two \"\"words\"\"\", 'second'")
  end)
  for _ = 1, 2 do
    local note = assert(listener:next(10))
    results[#results + 1] = note.channel .. ': ' .. note.payload
  end
  results[#results + 1] = shown(listener:next(0.05))
  results[#results + 1] = (select(2, pcall(listener.next, listener, 'x'))):match 'listener:next.*'
  -- The server closes its connection.
  assert(db:query("select pg_terminate_backend(pid) from pg_stat_activity where query like 'LISTEN%'"))
  results[#results + 1] = shown(listener:next(10))
  moonring.spawn(function()
    assert(db:exec "notify jobs, 'third'")
  end)
  results[#results + 1] = assert(listener:next(10)).payload
  listener:close()
  results[#results + 1] = shown(listener:next())
end

function routes.limits(results)
  local function note(value, problem)
    results[#results + 1] = value and tostring(#value) or shown(problem)
  end
  local small = postgres.connect(url .. '&max_rows=10&max_bytes=5000&max_row=2000&pool_size=2')
  note(small:query 'select generate_series(1, 10)')
  note(small:query 'select generate_series(1, 11)')
  note(small:query "select repeat('x', 1500)")
  note(small:query "select repeat('x', 2500)")
  note(small:query "select repeat('x', 1500) from generate_series(1, 5)")
  note(small:query 'select 1')
  small:close()
  results[#results + 1] = shown(small:query 'select 1')
end

local function sorted(rows)
  for _, row in ipairs(rows) do
    json.object(row)
  end
  return rows
end

-- Prepared statements that were changed behind the client's back.
function routes.stale(results)
  local function note(rows, problem)
    results[#results + 1] = rows and json.encode(sorted(rows)) or shown(problem)
  end
  local one = postgres.connect(url .. '&pool_size=1&statements=5')
  assert(one:exec 'drop table if exists s; create table s(a int); insert into s values (1)')
  note(one:query 'select * from s')
  assert(one:exec "alter table s add b text default 'new'")
  note(one:query 'select * from s')
  assert(one:exec 'alter table s alter a type text')
  note(one:query('select * from s where a = $1', '1'))
  assert(one:exec 'deallocate all')
  note(one:query 'select * from s')
  for i = 1, 20 do
    assert(one:query('select $1::int + ' .. i, i))
  end
  results[#results + 1] = tostring(one:one('select count(*)::int <= 5 as few from pg_prepared_statements').few)
  one:close()
end

-- ---- Timeouts. ----

function routes.timeout(results)
  local quick = postgres.connect(url .. '&timeout=1')
  results[1] = shown(quick:query 'select pg_sleep(30)')
  results[2] = shown(quick:one 'select 1 as a')
  results[3] = shown(quick:transaction(function(tx)
    tx:query 'select pg_sleep(30)'
    return tx:query 'select 1'
  end))
  quick:close()
end

function routes.cancelled()
  local result, problem = moonring.timeout(0.1, function()
    return db:query 'select pg_sleep(30)'
  end)
  return { tostring(result), problem }
end

-- Until the client disconnects.
function routes.sleep()
  return (assert(db:query 'select pg_sleep(30)'))
end

-- A transaction that its client leaves open.
function routes.open()
  return db:transaction(function(tx)
    assert(tx:exec 'select 1')
    moonring.sleep(30)
  end)
end

function routes.full(results)
  local narrow = postgres.connect {
    path = db.pool.options.path, host = db.pool.options.host, port = db.pool.options.port,
    user = db.pool.options.user, password = db.pool.options.password, database = 'app',
    sslmode = 'disable', pool = { size = 1, queue = 1, timeout = 0.3 },
  }
  local tasks = {}
  for i = 1, 3 do
    tasks[i] = moonring.spawn(function()
      local rows, problem = narrow:query 'select pg_sleep(3)::text'
      return rows and 'ok' or shown(nil, problem)
    end)
  end
  for i = 1, 3 do
    results[i] = tasks[i]:wait()
  end
  local now = narrow:stats()
  results[4] = shown(now.open, now.idle, now.waiting)
  narrow:close()
end

-- A pool that is closed while one task uses it and another waits.
function routes.closing(results)
  local narrow = postgres.connect(url .. '&pool_size=1')
  assert(narrow:query 'select 1') -- the connection is there
  local function ask()
    local rows, problem = narrow:query 'select pg_sleep(2)::text'
    return rows and 'ok' or problem.code
  end
  local first, second = moonring.spawn(ask), moonring.spawn(ask)
  moonring.sleep(0) -- both begin
  narrow:close()
  results[1], results[2] = first:wait(), second:wait()
  results[3] = tostring(narrow:stats().open)
end

-- ---- Logins. ----

-- ?url: whether the login succeeds, and whether over TLS.
function routes.login(_, req)
  local other = postgres.connect(req.url:match '%?(.*)')
  local row, problem = other:one 'select current_user::text as name, (select ssl from pg_stat_ssl where pid = pg_backend_pid()) as tls'
  other:close()
  return row and { row.name, row.tls } or { problem.code, problem.message }
end

-- ?n: a value that only this request selects.
function routes.echo(_, req)
  local n = req.url:match '%?(.*)'
  local row, problem = db:one('select $1::text as n', n)
  return row and row.n == n and { row.n } or row and { 'WRONG', row.n } or { problem.code }
end

-- The same, chosen at random: timeouts, transactions, pipelines.
function routes.chaos(_, req)
  local n, how = req.url:match '%?(%d+)%-(%d+)'
  how = tonumber(how)
  local function check(row, problem)
    if row == nil then
      return { type(problem) == 'table' and problem.code or tostring(problem) }
    end
    return row.n == n and { n } or { 'WRONG', tostring(row.n) }
  end
  if how == 1 then
    return check(moonring.timeout(0.01, function()
      return db:one('select $1::text as n, pg_sleep(0.005)::text', n)
    end))
  elseif how == 2 then
    return check(db:transaction(function(tx)
      assert(tx:exec 'select 1')
      return assert(tx:one('select $1::text as n', n))
    end))
  elseif how == 3 then
    local results, problem = db:pipeline { { 'select 1 as a' }, { 'select $1::text as n', n } }
    return check(results and results[2][1], problem)
  elseif how == 4 then
    return check(moonring.timeout(0.003, function()
      return db:transaction(function(tx)
        assert(tx:query 'select pg_sleep(0.002)::text')
        return assert(tx:one('select $1::text as n', n))
      end)
    end))
  end
  return check(db:one('select $1::text as n', n))
end

function handle(req, res)
  local results = {}
  local answer = routes[req.path:match '^/(%w+)'](results, req)
  json.send(res, answer == nil and json.array(results) or answer)
end
