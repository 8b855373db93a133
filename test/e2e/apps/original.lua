-- A handler file in the style of the original library: every call of its API, and results of
-- `handle` that select where it runs.
local routes = {}
local steps = {}

routes['GET /'] = function(req, res)
  res:status(200)
  res:header('Content-Type', 'text/plain')
  res:body('hello ' .. tostring(req:in_worker()))
  res:send()
end

routes['POST /echo'] = function(req, res)
  local content = req:body()
  res:status(200)
  res:body(#content > 0 and content or 'empty')
  res:send()
end

routes['GET /compute'] = function(req, res)
  local sum = 0
  for i = 1, 100000 do
    sum = sum + i
  end
  res:body(('%d %s'):format(sum, tostring(req:in_worker()))):send()
end

routes['GET /async'] = function(_, res)
  hs_queue_push(coroutine.create(function()
    steps[#steps + 1] = 'created 1'
    coroutine.yield()
    steps[#steps + 1] = 'created 2'
  end))
  hs_queue_push(coroutine.wrap(function()
    steps[#steps + 1] = 'wrapped 1'
    coroutine.yield()
    steps[#steps + 1] = 'wrapped 2'
  end))
  res:status(200)
  res:body('scheduled')
  res:send()
end

routes['GET /steps'] = function(_, res)
  res:body(table.concat(steps, ', ')):send()
end

routes['GET /broken'] = function()
  error('broken on purpose')
end

function handle(req, res)
  local path = req.url:match('^[^?]+') or req.url
  if path == '/compute' and not req:in_worker() then
    return 'worker'
  end
  local run = routes[req.method .. ' ' .. path]
  if not run then
    res:status(404):body('Not Found: ' .. req.url):send()
    return 'inline'
  end
  local ok, failure = pcall(run, req, res)
  if not ok then
    io.stderr:write('[lua] ', tostring(failure), '\n')
    res:status(500)
    res:body('Internal Server Error\n')
    res:send()
  end
  return 'inline'
end
