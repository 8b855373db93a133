-- Deadlines of one Lua state: a heap with the earliest at 1. Any object with a function `fire` can have one;
-- its fields `due` and `at` belong to this module. C knows the earliest.
local api = require 'moonring.abi'

local floor = math.floor

local _M = {}

local heap, heap_size = {}, 0

local function rise(entry, at)
  local due = entry.due
  while at > 1 do
    local above = floor(at / 2)
    local parent = heap[above]
    if parent.due <= due then
      break
    end
    heap[at] = parent
    parent.at = at
    at = above
  end
  heap[at] = entry
  entry.at = at
end

local function sink(entry, at)
  local due = entry.due
  while true do
    local below = 2 * at
    if below > heap_size then
      break
    end
    local child = heap[below]
    if below < heap_size and heap[below + 1].due < child.due then
      below = below + 1
      child = heap[below]
    end
    if due <= child.due then
      break
    end
    heap[at] = child
    child.at = at
    at = below
  end
  heap[at] = entry
  entry.at = at
end

-- Calls entry:fire() `seconds` from now.
function _M.arm(entry, seconds)
  entry.due = api.now() + seconds
  heap_size = heap_size + 1
  rise(entry, heap_size)
  api.due_s = heap[1].due
end

-- Nothing happens if it is not armed.
function _M.disarm(entry)
  local at = entry.at
  if not at then
    return
  end
  entry.at = false
  local last = heap[heap_size]
  heap[heap_size] = nil
  heap_size = heap_size - 1
  if last ~= entry then
    rise(last, at)
    sink(last, last.at)
  end
  api.due_s = heap_size > 0 and heap[1].due or 0
end

-- Fires the expired ones.
function _M.fire()
  if heap_size == 0 then
    return
  end
  local now = api.now()
  while heap_size > 0 and heap[1].due <= now do
    local entry = heap[1]
    _M.disarm(entry)
    entry:fire()
  end
end

function _M.forget_all()
  heap, heap_size = {}, 0
  api.due_s = 0
end

return _M
