-- The cost of the router alone, without a server: GET /routes?count,kind responds with nanoseconds
-- per request. Requests go to `count` routes of five forms, in random order; kind: `one` function
-- for all of them, one for `each`, or one for each with hooks and an error handler (`hooks`).
local router = require 'moonring.router'

local ROUNDS, REQUESTS = 10, 100 * 1024
local FORMS = { '/r%d', '/r%d/:id', '/r%d/:id/x', '/v1/r%d/:id/posts/:post', '/v1/r%d/list' }

local res = {}
for _, name in ipairs { 'status', 'header', 'body', 'send' } do
  res[name] = function(self) return self end
end

local RUN = "return function(_, res, params) res:body(params.id or ''):send() end"

local function requests_of(app, count, kind)
  local requests, run = {}, loadstring(RUN)()
  for i = 1, count do
    local pattern = FORMS[i % #FORMS + 1]:format(i)
    app:get(pattern, kind == 'one' and run or loadstring(RUN)())
    requests[i] = { method = 'GET', path = (pattern:gsub(':%w+', '42')) }
  end
  local order = {}
  for i = 1, 1024 do
    order[i] = requests[math.random(count)]
  end
  return order
end

local function nanoseconds(count, kind)
  local app = router.new()
  if kind == 'hooks' then
    app:before(function() end):after(function() end):on_error(function() end)
  end
  local order = requests_of(app, count, kind)
  local route, best = app:handler(), math.huge
  jit.flush()
  for _ = 1, ROUNDS do
    local begin = os.clock()
    for i = 0, REQUESTS - 1 do
      route(order[i % 1024 + 1], res)
    end
    best = math.min(best, (os.clock() - begin) / REQUESTS)
  end
  return best * 1e9
end

function handle(req, response)
  local count, kind = req.query:match '^(%d+),(%l+)$'
  if not count then
    return response:body('fine'):send()
  end
  response:body(('%.0f'):format(nanoseconds(tonumber(count), kind))):send()
end
