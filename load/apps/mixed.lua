-- Two routes for load/mixed.js: /fast responds at once, /slow computes for about 20 ms.

local SLOW_SECONDS = 0.02

local clock = os.clock

local function compute(seconds)
  local sum, deadline = 0, clock() + seconds
  while clock() < deadline do
    for i = 1, 1000 do
      sum = sum + i % 7
    end
  end
  return sum
end

function handle(req, res)
  if req.url == '/slow' then
    res:status(200):header('Content-Type', 'text/plain'):body(compute(SLOW_SECONDS) .. '\n'):send()
    return
  end
  res:status(200):header('Content-Type', 'text/plain'):body('fast\n'):send()
end
