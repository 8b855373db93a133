-- The handler of the wire cases: README.md says how it responds; native/wire_app.c is its C twin.

local function describe(req)
  -- Content may hold any byte, and format would end at a NUL.
  local text = req.method .. ' ' .. req.url .. ' ' .. req.version .. ' [' .. req:body() .. ']'
  local name = req.url:match('%?show=(.*)$')
  if not name then
    return text
  end
  local value = req:header(name)
  return text .. ' ' .. name .. (value and '=[' .. value .. ']' or '=none')
end

function handle(req, res)
  local url = req.url
  if url == '/nothing' then
    return
  end
  local size = url:match('^/large/(%d+)$')
  if size then
    res:body(('x'):rep(tonumber(size))):send()
    return
  end
  local status = url:match('^/status/(%d+)$')
  if status then
    res:status(tonumber(status))
  end
  if url == '/close' then
    res:header('Connection', 'close')
  end
  for number = 1, tonumber(url:match('^/fields/(%d+)$') or 0) do
    res:header('X-' .. number, tostring(number))
  end
  if url == '/cookies' then
    res:header('Set-Cookie', 'a=1'):header('Set-Cookie', 'b=2')
  end
  res:body(describe(req)):send()
end
