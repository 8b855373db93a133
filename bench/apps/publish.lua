-- For bench/publish.mjs: reactor 0 publishes 100 bytes every PUBLISH_MS; /follow streams them. /rate is
-- limited to 100 requests per second.
local MESSAGE = ('x'):rep(99) .. '\n'

moonring.every(tonumber(os.getenv 'PUBLISH_MS' or '1000') / 1000, function()
  if moonring.reactor() == 0 then
    moonring.publish('news', MESSAGE)
  end
end)

local limited = moonring.limit.rate('bench', { rate = 100, burst = 10,
  key = function() return 'all' end }):hook()

function handle(req, res)
  if req.path == '/rate' then
    return limited(req, res) or res:body('admitted\n'):send()
  end
  res:write('welcome\n')
  res:flush()
  for message in moonring.subscribe('news'):messages() do
    res:write(message)
  end
end
