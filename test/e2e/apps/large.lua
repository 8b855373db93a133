-- /large is 10 MiB, in which every KiB has its number; all other paths are small.
local KIB_COUNT = 10 * 1024

local parts = {}
for i = 1, KIB_COUNT do
  parts[i] = string.rep(string.format('%015d\n', i - 1), 64)
end
local large = table.concat(parts)

function handle(req, res)
  local body = req.url == '/large' and large or 'small'
  res:status(200):header('Content-Type', 'text/plain'):body(body):send()
end
