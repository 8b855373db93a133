-- wrk script: wrk … -s bench/request.lua <url> -- <requests at once> <bytes of content>

local batch

function init(args)
  local depth, size = tonumber(args[1]), tonumber(args[2])
  if size > 0 then
    wrk.method = 'POST'
    wrk.body = ('x'):rep(size)
  end
  batch = wrk.format():rep(depth)
end

function request()
  return batch
end
