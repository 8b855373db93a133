-- The output of `moonring routes`: the app's routes, written to the file named by MOONRING_ROUTES when the
-- app has been loaded. The command loads the app in a separate process.
local failures = require 'moonring.failure'
local json = require 'moonring.json'
local members = require 'moonring.members'

local getinfo, match = debug.getinfo, string.match
local assert, ipairs, open = assert, ipairs, io.open

local _M = {}

local path = os.getenv 'MOONRING_ROUTES'
local routes = {}

-- Whether this process runs the command.
_M.are_wanted = path ~= nil and path ~= ''

-- The position of a function; that of the caller at `level` if the function belongs to the runtime, as in
-- app:static.
local function place_of(run, level)
  local info = getinfo(run, 'S')
  local line = info.linedefined
  if failures.is_own(info) then
    info = getinfo(level + 1, 'Sl')
    line = info.currentline
  end
  return { file = match(info.source, '^@(.*)') or info.short_src, line = line }
end

-- `method`: false for any. `level` is that of the line that added the route.
function _M.add(method, pattern, run, level)
  local place = place_of(run, level + 1)
  routes[#routes + 1] = { method = method or 'ANY', pattern = pattern, file = place.file,
    line = place.line }
end

-- Called after the app was loaded; `handle` handles what no router does.
function _M.write(handle)
  local file = assert(open(path, 'w'))
  for _, route in ipairs(routes) do
    file:write(json.encode(route), '\n')
  end
  if #routes == 0 then
    local place = place_of(handle, 1)
    file:write(json.encode { method = 'ANY', pattern = '/*', file = place.file, line = place.line },
      '\n')
  end
  file:close()
end

return members.strict(_M, 'moonring.routes')
