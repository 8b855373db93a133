-- REDIS_URL=redis://… node dist/master.js test examples/lua/visits_test.lua
local redis = require 'moonring.redis'
local test = require 'moonring.test'
local app = test.load 'visits.lua'

local function login(name)
  local response = app:post('/login', { body = name })
  test.equal(response.status, 200)
  return { Cookie = response.headers['set-cookie']:match '^[^;]*' }
end

test.case('visits are counted', function()
  local first = tonumber(app:get('/').body:match 'visit (%d+)')
  test.equal(app:get('/').body, ('visit %d\n'):format(first + 1))
end)

test.case('a session lasts until it is ended', function()
  local headers = login 'ann'
  test.equal(app:get('/me', { headers = headers }).body, 'ann, here 1 times\n')
  test.equal(app:get('/me', { headers = headers }).body, 'ann, here 2 times\n')
  test.equal(app:get('/me', { headers = login 'bob' }).body, 'bob, here 1 times\n')
  test.equal(app:post('/logout', { headers = headers }).body, 'bye\n')
  test.equal(app:get('/me', { headers = headers }).status, 401)
  test.equal(app:get('/me').status, 401)
  test.equal(app:post('/login', { body = 'a b' }).status, 400)
end)

test.case('a session expires', function()
  local headers = login 'eve'
  local client = redis.connect(os.getenv 'REDIS_URL')
  local id = headers.Cookie:match 'session=(.*)'
  test.equal(client:ttl('session:' .. id) > 3590, true)
  client:del('session:' .. id)
  test.equal(app:get('/me', { headers = headers }).body, 'log in again\n')
  test.equal(client:exists('session:' .. id), 0)
end)
