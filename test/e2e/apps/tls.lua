-- Properties of the connection, as JSON; /large: a long response.
local json = require 'moonring.json'

local large = ('0123456789abcdef'):rep(64 * 1024)

function handle(req, res)
  if req.path == '/large' then
    res:body(large)
    return
  end
  res:json({ scheme = req.scheme, tls = req.tls or json.null, target = req.url, length = #req:body() })
end
