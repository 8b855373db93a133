-- For the tests of rooms: /rooms?<topics>, which a socket joins, and echoes.
local router = require 'moonring.router'

local app = router.new()
local OPTIONS = { binary = { kind = 'binary' }, skip = { slow = 'skip' } }
local misuse = { { '' }, { ('x'):rep(256) }, { 7 }, { 'a', 'b' }, { 'a', { kin = 1 } },
  { 'a', { kind = 'texts' } }, { 'a', { slow = 'closed' } } }

local function on_message(ws, message)
  local verb, topic, option = message:match '^(%w+) (%S+) ?(%w*)$'
  if verb == 'join' then
    ws:send('joined ' .. tostring(ws:join(topic, OPTIONS[option])))
  elseif verb == 'leave' then
    ws:send('left ' .. tostring(ws:leave(topic)))
  elseif message == 'where' then
    ws:send(moonring.reactor())
  elseif message == 'misuse' then
    for _, arguments in ipairs(misuse) do
      ws:send(tostring(select(2, pcall(ws.join, ws, unpack(arguments)))))
    end
  end
end

-- What may still be called on a closed socket.
local function on_close(ws)
  moonring.publish('closed', tostring(ws:join 'x') .. ' ' .. tostring(ws:leave 'x'))
end

app:get('/rooms', function(req)
  local ws = req:websocket { on_message = on_message, on_close = on_close }
  for topic in ws and req.query:gmatch '[^&]+' or function() end do
    ws:join(topic)
  end
end)

app:get('/echo', function(req)
  req:websocket { on_message = function(ws, message, kind) ws:send(message, kind) end }
end)

app:post('/topics/:topic', function(req, res, params)
  moonring.publish(params.topic, req:body())
  res:status(204):send()
end)

handle = app:handler()
