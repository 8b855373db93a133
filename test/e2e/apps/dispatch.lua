-- For the tests of workers: reports where a handler runs; has slow handlers and echoes.
local ffi = require 'ffi'

ffi.cdef('int poll(void *fds, unsigned long count, int timeout_ms);')

local count = 0

local routes = {
  ['/where'] = function(req)
    return req:in_worker() and 'worker' or 'inline'
  end,
  ['/quick'] = function()
    return 'quick'
  end,
  ['/wait'] = function(req)
    if not req:in_worker() then
      return nil
    end
    moonring.publish('waits', '')
    ffi.C.poll(nil, 0, 1000)
    return 'waited'
  end,
  -- Long enough to be seen in the status, however late that is read.
  ['/wait-long'] = function(req)
    if not req:in_worker() then
      return nil
    end
    ffi.C.poll(nil, 0, 6000)
    return 'waited'
  end,
  -- Compiled within milliseconds, and then cannot be interrupted.
  ['/compiled-loop'] = function()
    while true do
      count = count + 1
    end
  end,
  -- Hours in one call of C.
  ['/pattern'] = function()
    return ('a'):rep(40):find(('a?'):rep(40) .. ('a'):rep(40) .. 'b')
  end,
  ['/call'] = function()
    return tostring(moonring.worker(function()
      return (('a'):rep(40):find(('a?'):rep(40) .. ('a'):rep(40) .. 'b'))
    end))
  end,
  ['/where-called'] = function()
    return moonring.worker(function()
      return 'worker'
    end)
  end,
  ['/memory'] = function()
    local hoard = {}
    for i = 1, 1e8 do
      hoard[i] = ('x'):rep(1000) .. i
    end
    return 'never'
  end,
  ['/echo'] = function(req)
    return req:body()
  end,
}

local function interpreted_loop()
  while true do
    count = count + 1
  end
end
jit.off(interpreted_loop)
routes['/interpreted-loop'] = interpreted_loop

-- Catches every error raised in it, and continues.
local function stubborn_loop()
  while true do
    pcall(interpreted_loop)
  end
end
jit.off(stubborn_loop)
routes['/stubborn-loop'] = stubborn_loop
routes['/caught-loop'] = function()
  return pcall(interpreted_loop)
end
routes['/coroutine-loop'] = function()
  local ok = pcall(coroutine.wrap(stubborn_loop))
  return tostring(ok)
end
routes['/loop-after-wait'] = function()
  moonring.sleep(0.001)
  stubborn_loop()
end
routes['/task-loop'] = function()
  moonring.spawn({ detached = true }, stubborn_loop)
  return 'spawned'
end
routes['/sleep'] = function()
  moonring.sleep(60)
  return 'slept'
end

routes['/stream-loop'] = function(_, res)
  res:write('begun')
  interpreted_loop()
end
routes['/stream-wait'] = function(_, res)
  res:write('begun')
  moonring.sleep(3)
  res:write(', ended')
  return false
end

local tasks_seen = {}
routes['/tasks'] = function()
  hs_queue_push(function()
    tasks_seen[#tasks_seen + 1] = 'first'
    coroutine.yield()
    tasks_seen[#tasks_seen + 1] = 'second'
  end)
  hs_queue_push(coroutine.create(function()
    tasks_seen[#tasks_seen + 1] = 'coroutine'
  end))
  hs_queue_push(coroutine.wrap(function()
    coroutine.yield()
    tasks_seen[#tasks_seen + 1] = 'wrapped'
  end))
  hs_queue_push(function()
    error('a task failed on purpose')
  end)
  return 'pushed'
end
routes['/tasks-seen'] = function()
  return table.concat(tasks_seen, ' ')
end

function handle(req, res)
  local text = routes[req.url](req, res)
  if text == nil then
    return 'worker'
  end
  if text then
    res:body(text):send()
  end
end
