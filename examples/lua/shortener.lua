-- A URL shortener: a JSON API with validation, an API key, a signed cookie and metrics.
--   API_KEY=secret node dist/master.js --processes 1 --dispatch inline examples/lua/shortener.lua
--   curl localhost:8080/api/links -H 'X-API-Key: secret' --json '{"url":"https://example.com"}'
--   node dist/master.js test examples/lua/shortener_test.lua
-- The links live in one Lua state. Real ones belong in a database: states share nothing.
local cookies, crypto, env, log, metrics = moonring.cookies, moonring.crypto, moonring.env,
  moonring.log, moonring.metrics

local API_KEY = env.string('API_KEY', 'only for trying it out')
local COOKIE_KEY = env.string('COOKIE_KEY', 'only for trying it out')

local created = metrics.counter('shortener_links_created_total', 'Links created.')
local followed = metrics.counter('shortener_links_followed_total', 'Redirects sent.')
local links = {}

local new_link = moonring.validation.new { fields = {
  url = { type = 'string', required = true, max_length = 2000, pattern = '^https?://[!#-;=?-[%]_a-z~]+$' },
  code = { type = 'string', min_length = 4, max_length = 32, pattern = '^[%w_-]+$' },
} }

local app = moonring.router.new { errors = 'json' }

app:get('/', function(_, res)
  res:json { links = '/api/links' }
end)

local api = app:group('/api'):before(function(req)
  if not crypto.equal(req:header 'X-API-Key' or '', API_KEY) then
    error { status = 401, message = 'X-API-Key is missing or wrong' }
  end
end)

api:post('/links', function(req, res)
  local link = new_link:body(req)
  local code = link.code or crypto.random(6, 'base64url')
  if links[code] then
    error { status = 409, message = 'this code is taken' }
  end
  links[code] = link.url
  created:inc()
  log.info('link created', { code = code })
  res:header('Location', '/' .. code):json({ code = code, url = link.url }, 201)
end)

api:delete('/links/:code', function(_, res, params)
  links[params.code] = nil
  res:status(204):send()
end)

app:get('/:code', function(_, res, params)
  local url = links[params.code]
  if not url then
    error { status = 404, message = 'no such link' }
  end
  followed:inc()
  cookies.set_signed(res, 'last', params.code, COOKIE_KEY,
    { max_age = 86400, path = '/', http_only = true, same_site = 'Lax' })
  res:redirect(url)
end)

app:get('/me/last', function(req, res)
  res:json { code = cookies.read_signed(req, 'last', COOKIE_KEY) or moonring.json.null }
end)

handle = app:handler()
