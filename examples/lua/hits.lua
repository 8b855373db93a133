-- Counts requests over all reactors, per path and in total, and forgets a path after an hour without
-- a request: npm start -- --shared hits=1m examples/lua/hits.lua
local hits = moonring.shared('hits')

function handle(req, res)
  local total = hits:incr('total', 1, 0)
  local key = 'path ' .. req.path
  local own = hits:incr(key, 1, 0)
  hits:expire(key, 3600)
  res:body(('%s: %d of %d\n'):format(req.path, own, total)):send()
end
