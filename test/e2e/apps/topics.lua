-- /publish: the next message of this state, with its number. /follow: the first messages received.
local tag, count = ('%x'):format(math.random(2 ^ 31)), 0

function handle(req, res)
  if req.path == '/publish' then
    count = count + 1
    moonring.publish('numbered', tag .. ' ' .. count)
    return res:body(tag)
  elseif req.path == '/follow' then
    local subscription = moonring.subscribe('news')
    res:write(('%d\n'):format(moonring.reactor() or -1))
    res:flush()
    for message, lost in subscription:messages() do
      res:write(message .. ' ' .. lost .. '\n')
      res:flush()
      if message == 'end' then
        return res:finish()
      end
    end
  elseif req.path == '/worker' then
    if not req:in_worker() then
      return 'worker'
    end
    moonring.publish('news', 'worker')
    return res:body('published')
  end
  moonring.publish('news', req:body())
  res:status(202):send()
end
