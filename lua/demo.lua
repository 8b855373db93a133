-- The bundled demo, served when no app is named:
--   GET  /         a greeting
--   POST /echo     the request body back, with its Content-Type (PUT works too)
--   GET  /headers  the request headers of SHOWN_HEADERS that were sent
-- A path that exists answers other methods with 405 and Allow, and OPTIONS with 204 and Allow.
-- HEAD runs the GET handler: the server drops the body and keeps Content-Length.

local concat, sort = table.concat, table.sort
local find, lower, match, sub = string.find, string.lower, string.match, string.sub

local SHOWN_HEADERS = {
  'Host',
  'User-Agent',
  'Accept',
  'Accept-Encoding',
  'Accept-Language',
  'Content-Type',
  'Content-Length',
  'Transfer-Encoding',
  'Connection',
}

local function answer_text(res, status, text)
  res:status(status):header('Content-Type', 'text/plain; charset=utf-8'):body(text):send()
end

local function greet(_, res)
  res:status(200):header('Content-Type', 'text/plain'):body('hello, world\n'):send()
end

local function echo(req, res)
  local content_type = req:header('Content-Type') or 'application/octet-stream'
  res:status(200):header('Content-Type', content_type):body(req:body()):send()
end

local function show_headers(req, res)
  local lines = {}
  for _, name in ipairs(SHOWN_HEADERS) do
    local value = req:header(name)
    if value then
      lines[#lines + 1] = lower(name) .. ': ' .. value .. '\n'
    end
  end
  answer_text(res, 200, concat(lines))
end

local function new_route(handlers)
  if handlers.GET then
    handlers.HEAD = handlers.GET
  end
  local methods = { 'OPTIONS' }
  for method in pairs(handlers) do
    methods[#methods + 1] = method
  end
  sort(methods)
  return { handlers = handlers, allow = concat(methods, ', ') }
end

local routes = {
  ['/'] = new_route({ GET = greet }),
  ['/echo'] = new_route({ POST = echo, PUT = echo }),
  ['/headers'] = new_route({ GET = show_headers }),
}

-- The path of a request target in origin form (`/a?b`) or absolute form (`http://host/a?b`). A
-- target in another form comes back as it is and matches no route.
local function target_path(target)
  if sub(target, 1, 1) ~= '/' then
    local after_authority = match(target, '^%a[%w+.-]*://[^/?]*(.*)$')
    if after_authority then
      target = sub(after_authority, 1, 1) == '/' and after_authority or '/' .. after_authority
    end
  end
  local query = find(target, '?', 1, true)
  return query and sub(target, 1, query - 1) or target
end

function handle(req, res)
  local route = routes[target_path(req.url)]
  if not route then
    return answer_text(res, 404, 'not found\n')
  end
  local handler = route.handlers[req.method]
  if handler then
    return handler(req, res)
  end
  res:header('Allow', route.allow)
  if req.method == 'OPTIONS' then
    res:status(204):send()
  else
    answer_text(res, 405, 'method not allowed\n')
  end
end
