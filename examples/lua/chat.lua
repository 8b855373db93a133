-- Chat rooms over WebSockets, and clicks that all viewers see, as server-sent events:
--   node dist/master.js examples/lua/chat.lua      and open http://localhost:8080/ in two windows
--   curl -d 'hello' localhost:8080/rooms/tea       sends a message
--   curl -N localhost:8080/rooms/tea/clicks        an event stream, until you stop it
local router = require 'moonring.router'

local MAX_MESSAGE = 4096

local page = debug.getinfo(1, 'S').source:match '^@(.*)/[^/]*$' .. '/chat.html'
local app = router.new { errors = 'json' }

app:get('/', function(_, res)
  res:file(page, { cache_control = 'no-cache' })
end)

local function say(room, text)
  if text == '' or #text > MAX_MESSAGE then
    return nil, ('a message has 1 to %d bytes'):format(MAX_MESSAGE)
  end
  return moonring.publish('room ' .. room, text)
end

-- Messages published to the room, by any reactor, are sent to the socket; no handler runs for that.
app:get('/rooms/:room', function(req, _, params)
  local ws = req:websocket {
    on_message = function(ws, text)
      local said, problem = say(params.room, text)
      if not said then
        ws:close(1009, problem)
      end
    end,
  }
  if ws then
    ws:join('room ' .. params.room)
  end
end)

app:post('/rooms/:room', function(req, res, params)
  local said, problem = say(params.room, req:body())
  if not said then
    error { status = 422, message = problem }
  end
  res:json({ published = true }, 202)
end)

-- The position of a click, in percent of the page.
app:post('/rooms/:room/clicks', function(req, res, params)
  local x, y = req:body():match '^(%d%d?%.?%d*),(%d%d?%.?%d*)$'
  if not x then
    error { status = 422, message = 'a click is x,y in percent of the page' }
  end
  moonring.publish('clicks ' .. params.room, x .. ',' .. y)
  res:status(204):send()
end)

-- The stream ends with its request: when the client disconnects, or the reactor drains.
app:get('/rooms/:room/clicks', function(_, res, params)
  local subscription = moonring.subscribe('clicks ' .. params.room)
  local events = res:events { retry = 1 }
  for place in subscription:messages() do
    events:send { event = 'click', data = place }
  end
end)

handle = app:handler()
