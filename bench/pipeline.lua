-- wrk script: sends requests in batches of <depth>, 16 unless told:
--   wrk … -s bench/pipeline.lua <url> -- <depth>

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
