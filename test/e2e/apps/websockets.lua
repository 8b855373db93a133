-- WebSockets of every kind: see websockets.test.ts.
local closed = {}

local chat = {
  protocols = { 'chat', 'news' },
  on_open = function(ws)
    ws.ctx.count = 0
    ws:send('hello, ' .. tostring(ws.protocol))
  end,
  on_message = function(ws, message, kind)
    ws.ctx.count = ws.ctx.count + 1
    if message == 'fail' then
      error('as it was told')
    elseif message == 'sleep' then
      moonring.sleep(0.05)
      ws:send('slept')
    elseif message == 'ask' then
      -- Waits in a callback, for a task that it has started.
      ws:send(moonring.spawn(function() moonring.sleep(0.01) return 'answer' end):wait())
    elseif message == 'close' then
      ws:send('last')
      ws:close(4001, 'as it was told')
    else
      ws:send(message, kind)
    end
  end,
  on_error = function(ws, message)
    ws:send('error: ' .. message:match('[^\n]*'))
  end,
  on_close = function(ws, code, reason)
    closed[#closed + 1] = ('%d %s %d'):format(code, reason, ws.ctx.count)
  end,
}

local function receive(req)
  local ws = req:websocket()
  if not ws then
    return
  end
  for message, kind in ws:messages() do
    if message == 'return' then
      return
    elseif message == 'wait' then
      local nothing, why = ws:receive(0.01)
      ws:send(tostring(nothing) .. ' ' .. why)
    elseif message == 'fail' then
      error('as it was told')
    else
      ws:send(message, kind)
    end
  end
  local _, _, code, reason = ws:receive()
  closed[#closed + 1] = ('%d %s'):format(code, reason)
end

-- Sends until it has to wait, or the socket is closed.
local function flood(req)
  local ws = req:websocket()
  local data, sent = ('x'):rep(65536), 0
  repeat
    local ok, why = ws:send(data, 'binary')
    sent = sent + 1
    closed[#closed + 1] = not ok and 'flood ' .. why or nil
  until not ok
end

-- A broadcast: sends to all sockets, however slowly they read.
local listeners = {}

function handle(req, res)
  if req.path == '/chat' then
    req:websocket(chat)
  elseif req.path == '/receive' then
    receive(req)
  elseif req.path == '/later' then
    moonring.sleep(0.01)
    local ws = req:websocket()
    ws:send('at last')
    ws:receive()
  elseif req.path == '/left-behind' then
    local ws = req:websocket()
    moonring.spawn({ detached = true }, function()
      local line = ('left behind: %s %s %d'):format(ws:receive())
      closed[#closed + 1] = line -- not the list of before
    end)
    moonring.sleep(0) -- it waits now
  elseif req.path == '/flood' then
    flood(req)
  elseif req.path == '/any-origin' then
    req:websocket { origins = '*', on_message = chat.on_message }
  elseif req.path == '/listen' then
    req:websocket {
      on_open = function(ws) listeners[ws] = true end,
      on_message = function() end,
      on_close = function(ws, code) listeners[ws] = nil closed[#closed + 1] = 'listener ' .. code end,
    }
  elseif req.path == '/broadcast' then
    moonring.spawn({ detached = true }, function()
      for _ = 1, 64 do
        for ws in pairs(listeners) do
          moonring.spawn({ detached = true }, function() ws:send(('y'):rep(65536)) end)
        end
      end
    end)
    res:body('sent')
  elseif req.path == '/closed' then
    res:body(table.concat(closed, '\n'))
    closed = {}
  elseif req.path == '/misuse' then
    local _, message = pcall(req.websocket, req, { on_mesage = print })
    local _, without = pcall(req.websocket, req, { on_close = print })
    local _, kind = pcall(req.websocket, req, { on_message = true })
    res:body(table.concat({ message, without, kind }, '\n'))
  else
    res:status(404):body('no')
  end
end
