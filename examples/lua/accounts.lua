-- A JSON API over PostgreSQL: accounts and transfers between them.
--
--   DATABASE_URL=postgres://user:password@host/database node dist/master.js examples/lua/accounts.lua
--   curl -d '{"owner":"ann","cents":500}' -H 'Content-Type: application/json' localhost:8080/accounts
local log = require 'moonring.log'
local postgres = require 'moonring.postgres'
local router = require 'moonring.router'
local validation = require 'moonring.validation'

local db = postgres.connect(os.getenv 'DATABASE_URL' or 'postgres://app@localhost/app')

-- ---- The schema: one process migrates it, the others wait for its lock. ----

local MIGRATIONS = {
  [[CREATE TABLE accounts (
      id serial PRIMARY KEY,
      owner text NOT NULL UNIQUE,
      cents bigint NOT NULL CHECK (cents >= 0))]],
  [[CREATE TABLE transfers (
      id serial PRIMARY KEY,
      source int NOT NULL REFERENCES accounts,
      target int NOT NULL REFERENCES accounts,
      cents bigint NOT NULL,
      made timestamptz NOT NULL DEFAULT now())]],
}

local function migrate(tx)
  assert(tx:exec [[
    SELECT pg_advisory_xact_lock(7239115);
    CREATE TABLE IF NOT EXISTS account_migrations (number int PRIMARY KEY)]])
  local done = assert(tx:one 'SELECT coalesce(max(number), 0) AS number FROM account_migrations').number
  for number = done + 1, #MIGRATIONS do
    assert(tx:exec(MIGRATIONS[number]))
    assert(tx:exec('INSERT INTO account_migrations VALUES ($1)', number))
  end
  return true
end

-- The first request that needs the schema waits for it; if that fails, the next one tries again.
local is_migrated = false
local migration = moonring.semaphore(1)

local function ensure_schema()
  if is_migrated then
    return true
  end
  migration:acquire()
  local problem
  if not is_migrated then
    is_migrated, problem = db:transaction(migrate)
  end
  migration:release()
  return is_migrated, problem
end

-- ---- Database errors as responses. ----

local STATUS = { unique_violation = 409, foreign_key_violation = 422, check_violation = 422,
  numeric_value_out_of_range = 422 }
local AWAY = { timeout = true, closed = true, refused = true, ['pool timeout'] = true,
  ['pool queue full'] = true, cannot_connect_now = true, admin_shutdown = true,
  crash_shutdown = true, too_many_connections = true }

-- The result of a call, unless it is an error.
local function checked(value, problem)
  if not problem then
    return value
  elseif STATUS[problem.code] then
    error({ status = STATUS[problem.code], message = problem.constraint or problem.code })
  elseif AWAY[problem.code] then
    log.warn('the database is away: ' .. tostring(problem))
    error({ status = 503, message = 'the database is away, try again' })
  end
  error(problem, 0)
end

-- ---- Routes. ----

local app = router.new { errors = 'json' }

app:get('/', function(_, res)
  res:json { accounts = '/accounts', transfers = '/transfers' }
end)

app:before(function(req)
  if req.path ~= '/' then
    checked(ensure_schema())
  end
end)

local new_account = validation.new { fields = {
  owner = { type = 'string', required = true, min_length = 1, max_length = 100 },
  cents = { type = 'integer', min = 0, max = 2 ^ 53 - 1, default = 0 },
} }
local new_transfer = validation.new { fields = {
  source = { type = 'integer', required = true, min = 1, max = 2 ^ 31 - 1 },
  target = { type = 'integer', required = true, min = 1, max = 2 ^ 31 - 1 },
  cents = { type = 'integer', required = true, min = 1, max = 2 ^ 53 - 1 },
} }
local one_account = validation.new { fields = {
  id = { type = 'integer', required = true, min = 1, max = 2 ^ 31 - 1 },
} }

app:get('/accounts', function(_, res)
  res:json(checked(db:query 'SELECT id, owner, cents FROM accounts ORDER BY id LIMIT 100'))
end)

app:post('/accounts', function(req, res)
  local wanted = new_account:body(req)
  local account = checked(db:one('INSERT INTO accounts (owner, cents) VALUES ($1, $2) RETURNING id, owner, cents',
    wanted.owner, wanted.cents))
  res:header('Location', '/accounts/' .. account.id):json(account, 201)
end)

app:get('/accounts/:id', function(_, res, params)
  local account = checked(db:one('SELECT id, owner, cents FROM accounts WHERE id = $1', one_account:params(params).id))
  if not account then
    error { status = 404, message = 'no such account' }
  end
  res:json(account)
end)

-- Both sides or none: the constraint of the table rejects an overdraft. Rows are locked in the
-- order of their keys, so that no two transfers wait for each other.
app:post('/transfers', function(req, res)
  local wanted = new_transfer:body(req)
  local made = checked(db:transaction(function(tx)
    local change = 'UPDATE accounts SET cents = cents + $2 WHERE id = $1'
    local steps = { { wanted.source, -wanted.cents }, { wanted.target, wanted.cents } }
    table.sort(steps, function(a, b)
      return a[1] < b[1]
    end)
    for _, step in ipairs(steps) do
      if assert(tx:exec(change, step[1], step[2])) == 0 then
        error({ status = 422, message = ('no account %d'):format(step[1]) })
      end
    end
    return assert(tx:one([[
      INSERT INTO transfers (source, target, cents) VALUES ($1, $2, $3)
      RETURNING id, source, target, cents, made]], wanted.source, wanted.target, wanted.cents))
  end, { retries = 3 }))
  res:json(made, 201)
end)

-- All transfers as CSV, row by row.
app:get('/transfers.csv', function(_, res)
  local rows = checked(db:copy_out 'COPY (SELECT * FROM transfers ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER)')
  res:header('Content-Type', 'text/csv')
  for row in rows do
    res:write(row)
  end
  res:finish()
end)

handle = app:handler()
