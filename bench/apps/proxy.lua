-- Sends each request on to the server on port UPSTREAM, and responds with its response.
local http = require 'moonring.http'

local upstream = 'http://127.0.0.1:' .. (os.getenv 'UPSTREAM' or '0') .. '/'
-- As many idle connections as nginx has with `keepalive 128`.
local options = { pool = { size = 128 } }

function handle(_, res)
  local reply = assert(http.fetch(upstream, options))
  res:status(reply.status):header('Content-Type', reply.headers['content-type'])
  res:body(assert(reply:body())):send()
end
