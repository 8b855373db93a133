-- For the tests of server-sent events.
local router = require 'moonring.router'

local app = router.new()
local ended = {}
local flooded = 0

local function note(path, ok, failure, why)
  ended[#ended + 1] = path .. ': ' .. (ok and (why or 'finished') or failure.code or tostring(failure))
end

-- Three events per connection, continuing after the last one that the client has received.
app:get('/counted', function(req, res)
  local events = res:events { retry = 0.01 }
  local last = tonumber(req.last_event_id or 0)
  for id = last + 1, last + 3 do
    events:send { event = 'count', id = id, data = { id = id, lines = 'a\nb' } }
  end
  events:finish()
end)

app:get('/texts', function(_, res)
  local events = res:events { heartbeat = false }
  events:send 'plain'
  events:send { data = 'two\r\nlines', id = 'x' }
  events:comment 'data: not an event'
  events:send { data = ' kept' }
  assert(events:finish() == nil and select(2, events:send 'late') == 'ended')
end)

app:get('/quiet', function(req, res)
  local events = res:events { heartbeat = 0.1 }
  local ok, failure = pcall(moonring.sleep, 600)
  note(req.path, ok, failure, select(2, events:send 'more'))
  error(failure, 0)
end)

local function topic(req, res)
  local subscription = moonring.subscribe 'news'
  local events = res:events { retry = 4, heartbeat = 60 }
  events:send { event = 'ready', data = tostring(moonring.reactor()) }
  for message, lost in subscription:messages() do
    events:send { data = message, id = lost }
  end
  note(req.path, true)
end

app:get('/topic', topic)

app:post('/topic', function(req, res)
  moonring.publish('news', req:body())
  res:status(204):send()
end)

-- ?burn: computes for a while, so that the route counts as slow.
app:get('/slow', function(req, res)
  if req.query == 'burn' then
    local till = os.clock() + 0.02
    repeat until os.clock() > till
    return res:body('burnt'):send()
  end
  local events = res:events()
  events:send(req:in_worker() and 'on a worker' or 'on the reactor')
  moonring.sleep(600)
end)

-- As much as the client reads.
app:get('/flood', function(req, res)
  local events = res:events()
  local text = ('x'):rep(16384)
  local ok, failure = pcall(function()
    while assert(events:send(text)) do
      flooded = flooded + 1
    end
  end)
  note(req.path, ok, failure)
end)

app:get('/flooded', function(_, res) res:body(tostring(flooded)):send() end)
app:get('/ended', function(_, res) res:body(table.concat(ended, ', ')):send() end)

app:get('/topic/worker', function(req, res, ...)
  if not req:in_worker() then return 'worker' end
  return topic(req, res, ...)
end)

app:get('/misused', function(_, res)
  local out = {}
  for i, options in ipairs { 7, { heart = 1 }, { heartbeat = 0 }, { retry = -1 } } do
    out[i] = tostring(select(2, pcall(res.events, res, options)))
  end
  res:header('Content-Type', 'text/html')
  out[#out + 1] = tostring(select(2, pcall(res.events, res)))
  res:reset():body(table.concat(out, '\n')):send()
end)

handle = app:handler()
