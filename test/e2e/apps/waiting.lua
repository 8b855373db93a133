-- For the tests of waiting handlers: many at once, and how much memory they use.
local waiting = 0

local ways = {}

-- ?<seconds>
ways['/sleep'] = function(req, res)
  waiting = waiting + 1
  local ok, failure = pcall(moonring.sleep, tonumber(req.query))
  waiting = waiting - 1
  if not ok then
    error(failure, 0)
  end
  res:body('slept'):send()
end

-- ?<tasks>: that many tasks, which sleep until /wake.
local bell = moonring.semaphore(0)
ways['/tasks'] = function(req, res)
  for _ = 1, tonumber(req.query) do
    moonring.spawn({ detached = true }, function()
      waiting = waiting + 1
      bell:acquire(600)
      waiting = waiting - 1
    end)
  end
  res:body('begun'):send()
end

ways['/wake'] = function(_, res)
  for _ = 1, waiting do
    bell:release()
  end
  res:body('woken'):send()
end

ways['/socket'] = function(req)
  local ws = req:websocket()
  waiting = waiting + 1
  for _ in ws:messages() do end
  waiting = waiting - 1
end

ways['/waiting'] = function(_, res)
  res:body(tostring(waiting)):send()
end

-- Memory of the Lua state in bytes, without garbage.
ways['/memory'] = function(_, res)
  collectgarbage()
  collectgarbage()
  res:body(('%d'):format(collectgarbage('count') * 1024)):send()
end

function handle(req, res)
  local way = ways[req.path]
  if way then
    return way(req, res)
  end
  res:body('quick'):send()
end
