-- Files below FILES_ROOT: at /assets, and by res:file and res:preconditions.
local root = assert(os.getenv 'FILES_ROOT')
local app = require('moonring.router').new()

app:static('/assets', root, {
  precompressed = true,
  listing = true,
  cache_control = { { '*.html', 'no-cache' } },
  immutable = { 'hashed/*' },
})
app:static('/spa', root, { fallback = 'index.html', not_found = '404.html', clean_urls = true })

local function send(res, path, options)
  local sent, why = res:file(path, options)
  if not sent then
    res:status(404):body(why):send()
  end
end

app:get('/file/*path', function(_, res, params)
  send(res, params.path, { root = root, cache_control = 'private' })
end)
app:get('/absolute', function(req, res)
  send(res, root .. '/' .. req.query)
end)
app:get('/download', function(_, res)
  send(res, root .. '/index.html', { download = 'grüße "1".html', type = 'text/plain' })
end)
app:get('/preconditions', function(_, res)
  if not res:preconditions { etag = '"v1"', last_modified = 784111777 } then
    res:body('content'):send()
  end
end)
app:get('/worker/:name', function(req, res, params)
  if not req:in_worker() then
    return 'worker'
  end
  send(res, params.name, { root = root })
end)
app:not_found(function(_, res)
  res:status(404):body('none of ours'):send()
end)

handle = app:handler()
