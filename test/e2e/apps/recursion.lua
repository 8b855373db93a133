-- Each path except / recurses without end, through C.
local ways = {}

ways['/wrap'] = function()
  coroutine.wrap(ways['/wrap'])()
end

ways['/gsub'] = function()
  return (('x'):gsub('x', ways['/gsub']))
end

ways['/sort'] = function()
  table.sort({ 1, 2 }, ways['/sort'])
end

ways['/load'] = function()
  load(ways['/load'])
  error('load takes an error of its reader for its own')
end

local object = setmetatable({}, {
  __tostring = function(self)
    return string.format('%s', self)
  end,
})
ways['/format'] = function()
  return tostring(object)
end

-- With a protected call in between, a message handler is called for its own errors.
local function raise()
  local missing
  pcall(error)
  return 1 .. missing
end
ways['/message-handler'] = function()
  error(select(2, xpcall(raise, raise)))
end

local depth = 0
setmetatable(package.preload, {
  __index = function()
    return function()
      depth = depth + 1
      require('module' .. depth)
    end
  end,
})
ways['/require'] = function()
  require('module')
end

ways['/pattern'] = function()
  return ('a'):rep(1000):find(('a?'):rep(1000))
end

ways['/pcall'] = function()
  local _, failure = pcall(ways['/pcall'])
  error(failure, 0)
end

function handle(req, res)
  local way = ways[req.path]
  if way then
    way()
  end
  res:body('lives'):send()
end
