-- Assertions of the suites, with errors at the line of the case.
local _M = {}

local function shown(value)
  if type(value) ~= 'table' then
    return type(value) == 'string' and ('%q'):format(value) or tostring(value)
  end
  local parts = {}
  for name, member in pairs(value) do
    parts[#parts + 1] = ('[%s] = %s'):format(shown(name), shown(member))
  end
  table.sort(parts)
  return '{ ' .. table.concat(parts, ', ') .. ' }'
end

-- The same value, or tables with the same content.
function _M.equal(found, expected)
  if shown(found) ~= shown(expected) then
    error(('found %s instead of %s'):format(shown(found), shown(expected)), 2)
  end
end

-- For functions that return nil and a message, which contains `words`.
function _M.failure(words, value, message, ...)
  if value ~= nil or type(message) ~= 'string' or not message:find(words, 1, true) then
    error(('found %s, %s instead of a failure with %q'):format(shown(value), shown(message),
      words), 2)
  end
  return ...
end

-- `run` raises an error that contains `words`, at the line of this file that made the call.
function _M.raises(words, run, ...)
  local ok, message = pcall(run, ...)
  if ok or not tostring(message):find(words, 1, true) then
    error(('found %s instead of an error with %q'):format(ok and 'no error' or tostring(message),
      words), 2)
  end
  return tostring(message)
end

-- Seconds of CPU time used by run().
local function cost(run)
  collectgarbage()
  local before = os.clock()
  run()
  return os.clock() - before
end

-- run(text) takes about eight times as long for a text eight times as long; 64 times would be
-- quadratic. `make(length)` returns the text.
function _M.linear(make, run)
  local short, long = make(128 * 1024), make(1024 * 1024)
  local best_short, best_long = math.huge, math.huge
  -- Other programs on the machine take time from single runs, even of the CPU: more runs tell.
  for round = 1, 12 do
    best_short = math.min(best_short, cost(function() run(short) end))
    best_long = math.min(best_long, cost(function() run(long) end))
    -- The clock has a coarse resolution: anything below this is fast enough anyway.
    local limit = 24 * math.max(best_short, 0.004)
    if round >= 3 and best_long <= limit then
      return
    end
  end
  error(('%.4f s for 128 KiB, %.4f s for 1 MiB'):format(best_short, best_long), 2)
end

return _M
