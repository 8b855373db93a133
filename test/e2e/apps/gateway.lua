-- Proxies every request to the server on port UPSTREAM, streaming the content both ways.
local http = require 'moonring.http'

local upstream = 'http://127.0.0.1:' .. os.getenv 'UPSTREAM'

local HOP_BY_HOP = { connection = true, ['keep-alive'] = true, ['transfer-encoding'] = true,
  upgrade = true, trailer = true }

stream_content = true

-- Names and values; repeated fields as lists.
local function fields_of(req)
  local fields = {}
  for name, value in req:headers() do
    local values = fields[name] or {}
    values[#values + 1] = value
    fields[name] = values
  end
  return fields
end

function handle(req, res)
  local has_content = req:header 'Content-Length' or req:header 'Transfer-Encoding'
  local reply, problem = http.fetch(upstream .. req.url, {
    method = req.method, headers = fields_of(req), body = has_content and req:chunks() or nil,
  })
  if not reply then
    return res:status(502):body(problem .. '\n'):send()
  end
  res:status(reply.status)
  for name, value in reply:fields() do
    if name == 'content-length' then
      res:content_length(tonumber(value))
    elseif not HOP_BY_HOP[name] then
      res:header(name, value)
    end
  end
  for chunk in reply:chunks() do
    if not res:write(chunk) then
      return
    end
  end
  res:finish()
end
