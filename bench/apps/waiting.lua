-- For waiting.mjs: handlers and tasks that sleep, or wait for another server, and their memory
-- use.
local http = require 'moonring.http'

local UPSTREAM = os.getenv 'UPSTREAM'

local waiting = 0

local function sleep(seconds)
  waiting = waiting + 1
  moonring.sleep(seconds)
  waiting = waiting - 1
end

local ways = {}

-- ?<seconds>
ways['/sleep'] = function(req, res)
  sleep(tonumber(req.query))
  res:body('slept'):send()
end

-- ?<tasks>-<seconds>
ways['/tasks'] = function(req, res)
  local count, seconds = req.query:match '^(%d+)%-(%d+)$'
  for _ = 1, count do
    moonring.spawn({ detached = true }, sleep, tonumber(seconds))
  end
  res:body('begun'):send()
end

-- The response of another server after a while.
ways['/slow'] = function(_, res)
  local reply, problem = http.fetch(UPSTREAM)
  if not reply then
    return res:status(502):body(problem):send()
  end
  res:body(reply:body()):send()
end

-- Like a URL shortener.
ways['/redirect'] = function(_, res)
  res:status(302):header('Location', 'https://example.com/'):send()
end

ways['/waiting'] = function(_, res)
  res:body(tostring(waiting)):send()
end

-- Memory of the Lua state in bytes, without garbage.
ways['/memory'] = function(_, res)
  collectgarbage()
  collectgarbage()
  res:body(('%d'):format(collectgarbage 'count' * 1024)):send()
end

function handle(req, res)
  local way = ways[req.path]
  if way then
    return way(req, res)
  end
  res:body('hello'):send()
end
