-- Buffered reading in Lua: lines, byte counts, and up to a text in pieces. Used for a request's content in
-- ngx.req.socket, and for data left unread by a cosocket's receiveuntil.
-- `pull(max)` returns the next bytes, or nil and an error. A line, or what ends with a text, has at most
-- `longest` bytes (nil: any number) and else fails with 'too long'.
local find, gsub, sub = string.find, string.gsub, string.sub
local concat, min = table.concat, math.min
local setmetatable = setmetatable

local Reader = {}
Reader.__index = Reader

local PULL = 65536

local function new(pull, longest)
  return setmetatable({ pull = pull, longest = longest or math.huge, buffer = '' }, Reader)
end

-- One more piece: true, or nil and an error.
local function fill(reader)
  if #reader.buffer > reader.longest then
    return nil, 'too long'
  end
  local data, problem = reader.pull(PULL)
  if not data then
    return nil, problem
  end
  reader.buffer = reader.buffer == '' and data or reader.buffer .. data
  return true
end

local function take(reader, count)
  local data = sub(reader.buffer, 1, count)
  reader.buffer = sub(reader.buffer, count + 1)
  return data
end

-- Each returns the data, or nil, an error and what has arrived.

function Reader.bytes(reader, count)
  if #reader.buffer >= count then
    return take(reader, count)
  end
  local pieces, have = { reader.buffer }, #reader.buffer
  reader.buffer = ''
  while have < count do
    local data, problem = reader.pull(min(PULL, count - have))
    if not data then
      return nil, problem, concat(pieces)
    end
    pieces[#pieces + 1] = data
    have = have + #data
  end
  reader.buffer = concat(pieces)
  return take(reader, count)
end

function Reader.line(reader)
  local from = 1
  while true do
    local at = find(reader.buffer, '\n', from, true)
    if at then
      return (gsub(sub(take(reader, at), 1, -2), '\r', ''))
    end
    from = #reader.buffer + 1
    local ok, problem = fill(reader)
    if not ok then
      return nil, problem, take(reader, #reader.buffer)
    end
  end
end

function Reader.all(reader)
  local pieces = { reader.buffer }
  reader.buffer = ''
  while true do
    local data, problem = reader.pull(PULL)
    if data then
      pieces[#pieces + 1] = data
    elseif problem == 'closed' then
      return concat(pieces)
    else
      return nil, problem, concat(pieces)
    end
  end
end

function Reader.any(reader, max)
  if reader.buffer == '' then
    local ok, problem = fill(reader)
    if not ok then
      return nil, problem, ''
    end
  end
  return take(reader, max)
end

-- Up to `ending`, which is dropped, at most `size` bytes of it at a time (nil: all at once).
-- With a `size` the last piece, which may be empty, is followed by a single nil; `state` remembers that it
-- was returned.
function Reader.up_to(reader, ending, size, state, is_inclusive)
  if state.is_at_end then
    state.is_at_end = nil
    return nil
  end
  local from = 1
  while true do
    local first, last = find(reader.buffer, ending, from, true)
    local safe = first and first - 1 or #reader.buffer - #ending + 1
    if size and safe >= size then
      return take(reader, size)
    elseif first then
      local data = take(reader, is_inclusive and last or first - 1)
      if not is_inclusive then
        take(reader, #ending)
      end
      state.is_at_end = size ~= nil or nil
      return data
    end
    from = safe > 0 and safe or 1
    local ok, problem = fill(reader)
    if not ok then
      return nil, problem, take(reader, #reader.buffer)
    end
  end
end

return new
