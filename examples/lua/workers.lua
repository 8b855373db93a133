-- Slow work beside quick responses: node dist/master.js examples/lua/workers.lua
--   GET /        at once, on the reactor
--   GET /report  takes a while, on a worker: no other request waits for it
local function report()
  local sum = 0
  for i = 1, 2e8 do
    sum = sum + i % 7
  end
  return ('the sum is %d\n'):format(sum)
end

function handle(req, res)
  if req.url ~= '/report' then
    return res:body('quick\n'):send()
  end
  if not req:in_worker() then
    -- Nothing is built yet: this handler runs again, from its beginning, on a worker.
    return 'worker'
  end
  res:body(report()):send()
end
