-- Sends requests to other servers, chosen by the path. Their addresses are in the environment.
local http = require 'moonring.http'
local postgres = require 'moonring.postgres'
local redis = require 'moonring.redis'

local upstream = os.getenv 'MOONRING_TEST_UPSTREAM'
local client = redis.connect(os.getenv 'MOONRING_TEST_REDIS' or 'redis://127.0.0.1:1')
local db = postgres.connect(os.getenv 'MOONRING_TEST_DB' or 'postgres://app@127.0.0.1:1/app')

local calls = {}

function calls.http(req)
  local trace = req.trace
  assert(http.fetch(upstream .. '/found?secret=1', { trace = trace }))
  assert(http.fetch(upstream .. '/missing', { method = 'PUT', body = 'x' }))
  assert(http.fetch(upstream .. '/moved', { redirect = 1, trace = trace }))
  http.fetch('http://127.0.0.1:1/refused', { method = 'brew' })
end

function calls.twice(req)
  local trace = req.trace
  assert(http.fetch(upstream .. '/found', { trace = trace })):body()
  assert(http.fetch(upstream .. '/dies', { trace = trace }))
end

function calls.redis()
  assert(client:set('k', 'secret'))
  client:incr 'k'
  client:pipeline(function(p) p:get('k') p:get('k') end)
  client:multi(function(m) m:get 'k' end)
  client:session(function(session) session:select(1) end)
end

function calls.postgres()
  assert(db:query('SELECT $1::text', 'secret'))
  assert(db:exec "SELECT 'secret'")
  db:query('SELECT 1 / $1::int', 0)
  db:transaction(function(tx) return tx:pipeline { { 'SELECT 2' } } end)
  for _ in db:copy_out "COPY (SELECT 'secret') TO STDOUT" do end
end

function calls.broken()
  client:get 'k'
  db:transaction(function() end)
end

function handle(req, res)
  calls[req.path:sub(2)](req)
  res:send()
end
