-- For the tests of streams: content sent and received in pieces, and how each stream ended.
stream_content = true

local ended = {}
local piece = ('0123456789abcdef'):rep(1024)

local ways = {}

-- ?<pieces>: that many, of 16 KiB each.
ways['/down'] = function(req, res)
  local sent, failure = 0, nil
  local ok, raised = pcall(function()
    for _ = 1, tonumber(req.query) do
      local is_taken
      is_taken, failure = res:write(piece)
      if not is_taken then
        return
      end
      sent = sent + 1
    end
    res:finish()
  end)
  ended[#ended + 1] = ok and (failure or 'finished') or raised.code or tostring(raised)
end

ways['/up'] = function(req, res)
  local bytes = 0
  local ok, failure = pcall(function()
    for chunk in req:chunks(65536) do
      bytes = bytes + #chunk
    end
  end)
  ended[#ended + 1] = ok and 'received' or failure.code or tostring(failure)
  res:body(tostring(bytes)):send()
end

ways['/wait'] = function()
  local ok, failure = pcall(moonring.sleep, 600)
  ended[#ended + 1] = ok and 'slept' or failure.code or tostring(failure)
  error(failure, 0)
end

ways['/wait-told'] = function(req)
  req:on_abort(function()
    ended[#ended + 1] = 'told'
  end)
  moonring.sleep(600)
end

-- Both ways at once: sends back what it receives.
ways['/echo'] = function(req, res)
  for chunk in req:chunks() do
    res:write(chunk)
  end
  res:finish()
end

-- Responds while the request is still arriving.
ways['/refuse'] = function(_, res)
  res:status(413):body('too much'):send()
end

-- How the other requests ended.
ways['/ended'] = function(_, res)
  res:body(table.concat(ended, ', ')):send()
end

function handle(req, res)
  local way = ways[req.path]
  if way then
    return way(req, res)
  end
  res:body('quick'):send()
end
