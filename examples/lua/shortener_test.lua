-- node dist/master.js test examples/lua/shortener_test.lua
local test = require 'moonring.test'
local app = test.load 'shortener.lua'

local KEY = { ['X-API-Key'] = os.getenv 'API_KEY' or 'only for trying it out' }

local function create(link)
  return app:post('/api/links', { headers = KEY, json = link })
end

test.case('a link redirects to its URL', function()
  local made = create { url = 'https://example.com/a?b=c' }
  test.equal(made.status, 201)
  local found = app:get(made.headers.Location)
  test.equal({ found.status, found.headers.Location }, { 302, 'https://example.com/a?b=c' })
end)

test.case('a code can be chosen once', function()
  test.equal(create({ url = 'https://example.com', code = 'mine' }):json().code, 'mine')
  test.equal(create({ url = 'https://example.com', code = 'mine' }).status, 409)
  test.equal(app:delete('/api/links/mine', { headers = KEY }).status, 204)
  test.equal(app:get('/mine').status, 404)
end)

test.case('a refused link names the reason', function()
  for _, url in ipairs { 'javascript:alert(1)', 'https://', 'https://a b', ('https://a'):rep(300), 7 } do
    local refused = create { url = url }
    test.equal({ refused.status, refused:json().errors[1].path }, { 400, 'url' })
  end
  test.equal(create({}):json().detail, 'content: url is required')
  test.equal(create({ url = 'https://a.example', day = 1 }):json().detail, 'content: day is not known')
end)

test.case('the API needs its key', function()
  test.equal(app:post('/api/links', { json = { url = 'https://a.example' } }).status, 401)
  test.equal(app:delete('/api/links/x', { headers = { ['X-API-Key'] = 'wrong' } }).status, 401)
end)

test.case('the last link is remembered in a cookie that cannot be forged', function()
  create { url = 'https://example.com', code = 'last1' }
  local cookie = app:get('/last1').headers['Set-Cookie']:match '^[^;]*'
  test.equal(app:get('/me/last', { headers = { Cookie = cookie } }):json().code, 'last1')
  local forged = app:get('/me/last', { headers = { Cookie = cookie .. 'x' } })
  test.equal(forged:json().code, moonring.json.null)
end)
