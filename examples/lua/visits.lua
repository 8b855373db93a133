-- A counter and sessions in Redis, which outlive this process and are shared by all processes:
--
--   REDIS_URL=redis://127.0.0.1:6379 node dist/master.js examples/lua/visits.lua
--
--   curl -i localhost:8080/             the number of visits; works without Redis as well
--   curl -i -c jar -d ann localhost:8080/login
--   curl -b jar localhost:8080/me
--   curl -b jar -X POST localhost:8080/logout
local cookies = require 'moonring.cookies'
local crypto = require 'moonring.crypto'
local env = require 'moonring.env'
local redis = require 'moonring.redis'
local router = require 'moonring.router'

local SESSION_SECONDS = 3600

local client = redis.connect(env.string('REDIS_URL', 'redis://127.0.0.1:6379'))
-- The counter is not important: it must not delay anyone, and may count twice.
local counter = client:with { timeout = 0.1, idempotent = true }

local app = router.new()

local function unavailable(res)
  res:status(503):header('Retry-After', '1'):body('try again\n'):send()
end

app:get('/', function(_, res)
  local visits = counter:incr('visits')
  res:body(visits and ('visit %s\n'):format(visits) or 'welcome\n'):send()
end)

app:post('/login', function(req, res)
  local name = req:body()
  if not name:find '^%w+$' then
    return res:status(400):body('a name has letters and digits\n'):send()
  end
  local id = crypto.random(18, 'base64url')
  local done = client:multi(function(multi)
    multi:hset('session:' .. id, 'user', name, 'seen', 0)
    multi:expire('session:' .. id, SESSION_SECONDS)
  end)
  if not done then
    return unavailable(res)
  end
  cookies.set(res, 'session', id, { http_only = true, same_site = 'Lax', path = '/',
    max_age = SESSION_SECONDS })
  res:body(('welcome %s\n'):format(name)):send()
end)

-- Counts, and reads only a session that still exists: an expired one must not come back as a new key.
local look = redis.script [[
  if redis.call('EXISTS', KEYS[1]) == 0 then return false end
  return { redis.call('HGET', KEYS[1], 'user'), redis.call('HINCRBY', KEYS[1], 'seen', 1) }
]]

app:get('/me', function(req, res)
  local id = cookies.read(req).session
  if not id then
    return res:status(401):body('log in first\n'):send()
  end
  local session, problem = client:run(look, { 'session:' .. id })
  if problem then
    return unavailable(res)
  elseif not session then
    return res:status(401):body('log in again\n'):send()
  end
  res:body(('%s, here %d times\n'):format(session[1], session[2])):send()
end)

app:post('/logout', function(req, res)
  local id = cookies.read(req).session
  if id and not client:del('session:' .. id) then
    return unavailable(res)
  end
  cookies.set(res, 'session', '', { path = '/', max_age = 0 })
  res:body('bye\n'):send()
end)

handle = app:handler()
