-- GET /<n> burns about n microseconds of CPU and answers.
local clock = os.clock

-- Rounds of the loop below that take a microsecond, measured when the file loads.
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

local rounds_per_us
do
  spin(1e6)
  local begin = clock()
  spin(2e7)
  rounds_per_us = 2e7 / ((clock() - begin) * 1e6)
end

function handle(req, res)
  local us = tonumber(req.url:match '^/(%d+)') or 0
  local x = spin(us * rounds_per_us)
  res:header('Content-Type', 'text/plain'):body(x > 0 and 'done\n' or 'never\n'):send()
end
