-- The works of lib/servers.mjs for nginx, with nginx's own API, as its users write them.

local sub = string.sub

local routes = { GET = {}, POST = {} }

local function add_route(method, prefix, handler)
  routes[method][#routes[method] + 1] = { prefix = prefix, handler = handler }
end

local function answer_json(status, text)
  ngx.status = status
  local headers = ngx.header
  headers['Content-Type'] = 'application/json'
  headers['Content-Length'] = #text
  ngx.print(text)
end

local function answer(type, text)
  ngx.header['Content-Type'] = type
  ngx.header['Content-Length'] = #text
  ngx.print(text)
end

local page = ('<p>twenty kilobytes</p>'):rep(1000):sub(1, 20 * 1024)
local large = ('x'):rep(1024 * 1024)

add_route('GET', '/page', function()
  answer('text/html', page)
end)

add_route('GET', '/large', function()
  answer('text/plain', large)
end)

add_route('POST', '/echo', function()
  ngx.req.read_body()
  answer('text/plain', ngx.req.get_body_data() or '')
end)

add_route('GET', '/users/', function(rest)
  local id = tonumber(rest)
  if not id or id < 1 or id % 1 ~= 0 then
    return answer_json(404, '{"error":"no such user"}')
  end
  local var = ngx.var
  local host = var.http_host or ''
  local agent = var.http_user_agent or ''
  answer_json(200, '{"id":' .. id .. ',"host":"' .. host .. '","agent":"' .. agent .. '"}')
end)

-- Both redis works: every request takes a connection from the pool, and returns it.
local redis

add_route('GET', '/redis', function()
  redis = redis or require 'nginx.redis'
  local client = redis:new()
  client:set_timeout(5000)
  assert(client:connect('127.0.0.1', tonumber(os.getenv 'UPSTREAM')))
  local value = assert(client:get('hello'))
  client:set_keepalive(60000, 128)
  answer('text/plain', value)
end)

local M = {}

function M.handle()
  local url = ngx.var.request_uri
  if url == '/' then
    return answer('text/plain', 'hello, world\n')
  end
  local candidates = routes[ngx.req.get_method()] or {}
  for i = 1, #candidates do
    local route = candidates[i]
    local prefix = route.prefix
    if sub(url, 1, #prefix) == prefix then
      return route.handler(sub(url, #prefix + 1))
    end
  end
  answer_json(404, '{"error":"not found"}')
end

return M
