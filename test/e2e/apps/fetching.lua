-- Sends the request described in the content of a POST, and responds with the result, both
-- JSON: { url, options, pieces, take } to { status, headers, body … } or { error }.
--   pieces   what the body function returns, one after another; repeated `times` times
--   take     'body' (default), 'size' (by chunks), 'close' or 'nothing'
local http = require 'moonring.http'
local json = require 'moonring.json'

local function reader_of(pieces, times)
  local at, round = 0, 1
  return function()
    at = at + 1
    if at > #pieces and round < times then
      at, round = 1, round + 1
    end
    return pieces[at]
  end
end

local function take(reply, how)
  if how == 'body' then
    return reply:body()
  elseif how == 'size' then
    local size = 0
    while true do
      local piece, problem = reply:read()
      if not piece then
        return not problem and tostring(size) or nil, problem
      end
      size = size + #piece
    end
  elseif how == 'close' then
    reply:close()
  end
  return ''
end

function handle(req, res)
  if req.method == 'GET' then
    return res:body('hello'):send()
  end
  local order = json.decode(req:body())
  local options = order.options or {}
  if order.pieces then
    options.body = reader_of(order.pieces, order.times or 1)
  end
  local reply, problem = http.fetch(order.url, options)
  if not reply then
    return json.send(res, { error = problem })
  end
  local body
  body, problem = take(reply, order.take or 'body')
  local headers = {}
  for name in reply:fields() do
    headers[name] = reply.headers[name]
  end
  json.send(res, { status = reply.status, url = reply.url, headers = headers, body = body,
    error = problem })
end
