-- Responses for the tests of --compress: slightly repetitive content of any length.
local words = { 'alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta', 'eta', 'theta' }

local function text_of(length)
  local out, size, seed = {}, 0, 1
  while size < length do
    seed = (seed * 16807) % 2147483647
    local word = words[seed % #words + 1] .. seed % 1000 .. ' '
    out[#out + 1] = word
    size = size + #word
  end
  return table.concat(out):sub(1, length)
end

local ways = {}

-- ?<bytes>
ways['/text'] = function(req, res)
  res:header('Content-Type', 'text/plain'):header('ETag', '"one"')
  res:body(text_of(tonumber(req.query))):send()
end

ways['/worker'] = function(req, res)
  if not req:in_worker() then return 'worker' end
  return ways['/text'](req, res)
end

ways['/waits'] = function(req, res)
  moonring.sleep(0.001)
  return ways['/text'](req, res)
end

ways['/never'] = function(req, res)
  res:compress(false)
  return ways['/text'](req, res)
end

ways['/file'] = function(_, res)
  res:file((debug.getinfo(1, 'S').source:gsub('^@', '')))
end

-- ?<pieces>: each is sent when it is written, and the next one only after /next was requested.
local bell = moonring.semaphore(0)
ways['/stream'] = function(req, res)
  res:header('Content-Type', 'text/plain')
  for i = 1, tonumber(req.query) do
    res:write(('piece %d '):format(i))
    res:flush()
    bell:acquire()
  end
  res:write(text_of(100000))
  res:finish()
end

ways['/next'] = function(_, res)
  bell:release()
  res:body('rung'):send()
end

-- The decoded content of the request; ?<bytes>: its maximum length.
ways['/decoded'] = function(req, res)
  local text, problem, status = req:decoded_body(tonumber(req.query))
  if not text then
    return res:status(status):body(problem):send()
  end
  res:header('Content-Type', 'text/plain'):body(text):send()
end

function handle(req, res)
  return ways[req.path](req, res)
end
