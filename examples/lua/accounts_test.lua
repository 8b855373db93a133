-- DATABASE_URL=postgres://… node dist/master.js test examples/lua/accounts_test.lua
local test = require 'moonring.test'
local app = test.load 'accounts.lua'

local function owner(name)
  return name .. ' ' .. require('moonring.crypto').uuid4() -- the database is not empty
end

local function open(name, cents)
  local response = app:post('/accounts', { json = { owner = name, cents = cents } })
  test.equal(response.status, 201)
  return response:json()
end

local function cents(account)
  return app:get('/accounts/' .. account.id):json().cents
end

test.case('an account is made once', function()
  local name = owner 'ann'
  local account = open(name, 500)
  test.equal({ account.owner, account.cents }, { name, 500 })
  local again = app:post('/accounts', { json = { owner = name } })
  test.equal({ again.status, again:json().detail }, { 409, 'accounts_owner_key' })
  test.equal(app:get('/accounts/2000000000').status, 404)
  test.equal(app:get('/accounts/x').status, 400)
end)

test.case('a transfer moves money, or nothing', function()
  local from, to = open(owner 'bob', 100), open(owner 'eve', 0)
  local function transfer(target, amount)
    return app:post('/transfers', { json = { source = from.id, target = target, cents = amount } })
  end
  test.equal(transfer(to.id, 30).status, 201)
  local refused = transfer(to.id, 71)
  test.equal({ refused.status, refused:json().detail }, { 422, 'accounts_cents_check' })
  test.equal(transfer(2000000000, 5).status, 422)
  test.equal({ cents(from), cents(to) }, { 70, 30 })
  test.match(app:get('/transfers.csv').body, '^id,source,target,cents,made\n')
end)

test.case('transfers at the same time lose nothing', function()
  local a, b = open(owner 'a', 100), open(owner 'b', 100)
  local tasks = {}
  for i = 1, 20 do
    local source, target = (i % 2 == 0 and a or b).id, (i % 2 == 0 and b or a).id
    tasks[i] = moonring.spawn(function()
      return app:post('/transfers', { json = { source = source, target = target, cents = 1 } }).status
    end)
  end
  for i = 1, 20 do
    test.equal(tasks[i]:wait(), 201)
  end
  test.equal(cents(a) + cents(b), 200)
end)
