-- GET /<n> runs n iterations of a loop. GET /rounds-per-us returns how many of them this
-- machine runs in a microsecond: to burn the same time in every thread, ask once and count iterations.
-- (A thread cannot measure its own time: os.clock counts the CPU time of all threads.)
local clock = os.clock

local function spin(rounds)
  local x = 0.5
  for _ = 1, rounds do
    x = x * 1.0000001 + 0.000001
    if x > 1e9 then
      x = 0.5
    end
  end
  return x
end

local function rounds_per_us()
  spin(1e6)
  local begin = clock()
  spin(2e7)
  return 2e7 / ((clock() - begin) * 1e6)
end

function handle(req, res)
  res:header('Content-Type', 'text/plain')
  if req.url == '/rounds-per-us' then
    return res:body(string.format('%.3f', rounds_per_us())):send()
  end
  local x = spin(tonumber(req.url:match '^/(%d+)') or 0)
  res:body(x > 0 and 'done\n' or 'never\n'):send()
end
