-- The work of a small real app per request: a router with a path parameter, two header reads, a
-- JSON response. wrk sends every request to /users/42.

local sub = string.sub

local routes = { GET = {}, POST = {} }

local function add_route(method, prefix, handler)
  routes[method][#routes[method] + 1] = { prefix = prefix, handler = handler }
end

local function answer_json(res, status, text)
  res:status(status):header('Content-Type', 'application/json'):body(text):send()
end

add_route('GET', '/health', function(_, res)
  answer_json(res, 200, '{"ok":true}')
end)

add_route('POST', '/users', function(req, res)
  answer_json(res, 201, '{"length":' .. #req:body() .. '}')
end)

add_route('GET', '/users/', function(req, res, rest)
  local id = tonumber(rest)
  if not id or id < 1 or id % 1 ~= 0 then
    return answer_json(res, 404, '{"error":"no such user"}')
  end
  local host = req:header('Host') or ''
  local agent = req:header('User-Agent') or ''
  answer_json(res, 200, '{"id":' .. id .. ',"host":"' .. host .. '","agent":"' .. agent .. '"}')
end)

function handle(req, res)
  local url = req.url
  local candidates = routes[req.method] or {}
  for i = 1, #candidates do
    local route = candidates[i]
    local prefix = route.prefix
    if sub(url, 1, #prefix) == prefix then
      return route.handler(req, res, sub(url, #prefix + 1))
    end
  end
  answer_json(res, 404, '{"error":"not found"}')
end
