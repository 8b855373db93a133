-- wrk script: sends requests in batches, `wrk … -s bench/pipeline.lua <url> -- <depth>` (16 unless told).

local batch

function init(args)
  local depth = tonumber(args[1]) or 16
  local requests = {}
  for i = 1, depth do
    requests[i] = wrk.format()
  end
  batch = table.concat(requests)
end

function request()
  return batch
end
