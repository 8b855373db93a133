-- Background tasks: node dist/master.js --dispatch inline examples/lua/tasks.lua
-- Every request increments a counter; a task logs it a little later, between requests.
local log = require 'moonring.log'

local count = 0
local reporting = false

local function report()
  -- At each yield requests can be served; the task continues a little later.
  for _ = 1, 10 do
    coroutine.yield()
  end
  log.info(('%d requests so far'):format(count))
  reporting = false
end

function handle(_, res)
  count = count + 1
  if not reporting then
    reporting = true
    hs_queue_push(report)
  end
  res:body(('number %d\n'):format(count)):send()
end
