-- /large is 4 MiB, anything else is small.
local large = string.rep('x', 4 * 1024 * 1024)

function handle(req, res)
  local body = req.url == '/large' and large or 'small'
  res:status(200):header('Content-Type', 'text/plain'):body(body):send()
end
