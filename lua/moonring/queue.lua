-- First in, first out.
local Queue = {}
Queue.__index = Queue

function Queue.put(queue, item)
  local last = queue.last + 1
  queue.last = last
  queue.items[last] = item
  queue.count = last - queue.first + 1
end

-- The oldest item; nil: there is none.
function Queue.take(queue)
  local first = queue.first
  local item = queue.items[first]
  if item == nil then
    return nil
  end
  queue.items[first] = nil
  if first == queue.last then
    queue.first, queue.last, queue.count = 1, 0, 0
  else
    queue.first = first + 1
    queue.count = queue.last - first
  end
  return item
end

local _M = {}

function _M.new()
  return setmetatable({ items = {}, first = 1, last = 0, count = 0 }, Queue)
end

return _M
