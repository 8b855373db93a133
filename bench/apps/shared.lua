-- Makes as many calls on a shared dictionary as the query says: /get?1000000. For Moonring, and with
-- `handle` called by nginx: bench/shared.mjs.
local ffi = require 'ffi'
ffi.cdef 'int getpid(void);'

local d = moonring and moonring.shared('bench') or ngx.shared.bench

local KEYS = 1000
local keys = {}
for i = 1, KEYS do
  keys[i] = 'a key of usual length ' .. i
end

d:set('key one', 1)
d:set('key two', 1)

local runs = {}

function runs.fill()
  for i = 1, KEYS do
    d:set(keys[i], i)
    d:set('text ' .. keys[i], ('x'):rep(200))
  end
  d:set('hot', 0)
end

-- Numbers.
function runs.get(n)
  local sum = 0
  for i = 0, n - 1 do
    sum = sum + d:get(keys[i % KEYS + 1])
  end
  return sum
end

-- Strings of 200 bytes.
function runs.text(n)
  local length = 0
  for i = 0, n - 1 do
    length = length + #d:get('text ' .. keys[i % KEYS + 1])
  end
  return length
end

-- One key, the same for all processes.
function runs.incr(n)
  for _ = 1, n do
    d:incr('hot', 1)
  end
end

function runs.set(n)
  for i = 0, n - 1 do
    d:set(keys[i % KEYS + 1], i)
  end
end

local function respond(path, query)
  local run = runs[path:sub(2)]
  if run then
    run(tonumber(query))
  end
  return tostring(ffi.C.getpid())
end

-- /: a hello with two gets and an incr.
function handle(req, res)
  if req.url == '/' then
    local first, second = d:get 'key one', d:get 'key two'
    d:incr('hellos', 1, 0)
    return res:status(first == second and 200 or 500):header('Content-Type', 'text/plain')
      :body('hello, world\n'):send()
  end
  res:body(respond(req.path, req.query)):send()
end

return function()
  ngx.print(respond(ngx.var.uri, ngx.var.query_string or ''))
end
