-- The same small app as app-like.lua, with the server's router. wrk sends every
-- request to /users/42.
local router = require 'moonring.router'

local app = router.new()

local function answer_json(res, status, text)
  res:status(status):header('Content-Type', 'application/json'):body(text):send()
end

app:get('/health', function(_, res)
  answer_json(res, 200, '{"ok":true}')
end)

app:post('/users', function(req, res)
  answer_json(res, 201, '{"length":' .. #req:body() .. '}')
end)

app:get('/users/:id', function(req, res, params)
  local id = tonumber(params.id)
  if not id or id < 1 or id % 1 ~= 0 then
    return answer_json(res, 404, '{"error":"no such user"}')
  end
  local host = req:header('Host') or ''
  local agent = req:header('User-Agent') or ''
  answer_json(res, 200, '{"id":' .. id .. ',"host":"' .. host .. '","agent":"' .. agent .. '"}')
end)

handle = app:handler()
