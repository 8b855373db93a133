-- wrk script: wrk … -s bench/request.lua <url> -- <requests at once> <bytes of content> [<paths>]
-- `paths`: a file with a path on each line, requested in turn.

local batches, at = {}, 0

function init(args)
  local depth, size = tonumber(args[1]), tonumber(args[2])
  if size > 0 then
    wrk.method = 'POST'
    wrk.body = ('x'):rep(size)
  end
  if args[3] then
    for path in io.lines(args[3]) do
      batches[#batches + 1] = wrk.format(nil, path)
    end
  else
    batches[1] = wrk.format():rep(depth)
  end
end

function request()
  at = at % #batches + 1
  return batches[at]
end
