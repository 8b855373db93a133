-- Each request reads one key, on the shared connection or on a pooled one.
local redis = require 'moonring.redis'

local url = 'redis://127.0.0.1:' .. (os.getenv 'UPSTREAM' or '6379')
local shared = redis.connect(url)
local pooled = redis.connect(url, { pipelining = false, pool = { max = 128 } })

function handle(req, res)
  local client = req.path == '/redis' and shared or pooled
  res:header('Content-Type', 'text/plain'):body(assert(client:get 'hello')):send()
end
