-- res:events(options): a response that is a stream of server-sent events, for EventSource in browsers (HTML
-- Living Standard, 9.2). docs/lua-events.md
local ffi = require 'ffi'
local api = require 'moonring.abi'
local deadlines = require 'moonring.deadlines'
local failure = require 'moonring.failure'
local members = require 'moonring.members'
local scheduler = require 'moonring.scheduler'

local pairs, require, setmetatable, tostring, type = pairs, require, setmetatable, tostring, type
local find, format, gsub = string.find, string.format, string.gsub
local concat, floor, max, min, random = table.concat, math.floor, math.max, math.min, math.random
local ffi_string = ffi.string
local arm, disarm, raise = deadlines.arm, deadlines.disarm, failure.raise

local _M = {}

-- Proxies and clients close quiet connections, the earliest of them after 30 s.
local HEARTBEAT_S = 15
local HEARTBEAT = ':\n\n'
-- The approximate default delay after which a browser reconnects.
local RETRY_S = 2
local RETRY_MAX_S = 1e6
-- Over how long the ends of all streams are spread when the reactor drains.
local SPREAD_S, SPREAD_MAX_S = 0.0001, 1
-- How often a worker checks for a drain: nothing notifies it.
local WORKER_LOOK_S = 0.5
-- As in scheduler.lua.
local RETIRE_DRAINED = 0

local CONTENT_TYPE = 'text/event-stream'

-- ---- The text of an event. ----

-- Prepends `prefix` to every line of `text`. A line ends with CR, LF, or both.
local function put_lines(out, prefix, text)
  if find(text, '\r', 1, true) then
    text = gsub(text, '\r\n?', '\n')
  end
  if find(text, '\n', 1, true) then
    text = gsub(text, '\n', '\n' .. prefix)
  end
  out[#out + 1] = prefix .. text .. '\n'
end

local function text_of(value, what)
  local kind = type(value)
  if kind == 'string' then
    return value
  elseif kind == 'number' then
    return tostring(value)
  end
  raise(('events:send: %s is a string, not a %s'):format(what, kind))
end

local function line_of(value, what, refused)
  local text = text_of(value, what)
  if find(text, refused) then
    raise(('events:send: %s has a line break or a NUL, which no field can carry'):format(what))
  end
  return text
end

local function data_of(value)
  if type(value) == 'table' then
    return require('moonring.json').encode(value)
  end
  return text_of(value, 'data')
end

local function milliseconds(seconds, what)
  if type(seconds) ~= 'number' or not (seconds >= 0 and seconds <= RETRY_MAX_S) then
    raise(('%s takes seconds from 0 to %d, not %s'):format(what, RETRY_MAX_S, tostring(seconds)))
  end
  return format('%d', floor(seconds * 1000 + 0.5))
end

local FIELDS = { event = true, data = true, id = true, retry = true, comment = true }

local function check_fields(event)
  for name in pairs(event) do
    if not FIELDS[name] then
      raise('events:send: ' .. members.unknown('an event', name, { FIELDS }))
    end
  end
  if event.event ~= nil and event.data == nil then
    raise("events:send: browsers ignore an event without data: give it data = ''")
  end
end

-- The bytes of an event: a table of its fields, or its data alone.
function _M.format(event)
  if type(event) ~= 'table' then
    event = { data = event == nil and raise 'events:send takes an event: its data, or a table' or event }
  end
  check_fields(event)
  local out = {}
  if event.comment ~= nil then
    put_lines(out, ': ', text_of(event.comment, 'comment'))
  end
  if event.event ~= nil then
    out[#out + 1] = 'event: ' .. line_of(event.event, 'event', '[\r\n]') .. '\n'
  end
  if event.id ~= nil then
    out[#out + 1] = 'id: ' .. line_of(event.id, 'id', '[\r\n%z]') .. '\n'
  end
  if event.retry ~= nil then
    out[#out + 1] = 'retry: ' .. milliseconds(event.retry, 'retry') .. '\n'
  end
  if event.data ~= nil then
    put_lines(out, 'data: ', data_of(event.data))
  end
  if #out == 0 then
    raise('events:send: an event has one of the fields data, id, retry and comment at least')
  end
  out[#out + 1] = '\n'
  return concat(out)
end

-- ---- A stream. ----
--
--   res      its response
--   root     the task of the request
--   is_over  nothing more is sent
--   last     when something was sent
--   due, at  the next heartbeat, or the end
local Stream = {}
local stream_type = { __index = Stream }

local streams, count = {}, 0 -- those that have not ended
local function forget(stream)
  if not stream.is_over then
    stream.is_over = true
    disarm(stream)
    streams[stream] = nil
    count = count - 1
  end
end

local function write(stream, text)
  if stream.is_over then
    return nil, 'ended'
  end
  stream.last = api.now()
  return stream.res:write(text)
end

-- Sends an event: a table of event, data, id, retry and comment, or its data alone. true, or nil and
-- why not: 'aborted', 'ended'. Waits while the client is slow.
function Stream.send(stream, event)
  return write(stream, _M.format(event))
end

-- Sends lines that clients ignore.
function Stream.comment(stream, text)
  return write(stream, _M.format { comment = text == nil and '' or text })
end

-- Ends the stream. The client reconnects, unless the next response has the status 204.
function Stream.finish(stream)
  if not stream.is_over then
    forget(stream)
    stream.res:finish()
  end
end

-- The reactor drains: each client gets a different reconnection time, and the handler's current wait raises,
-- as if the client had disconnected.
local function end_stream(stream, view)
  local seconds = (stream.retry or RETRY_S) * (0.5 + random())
  local hint = 'retry: ' .. milliseconds(seconds, 'retry') .. '\n\n'
  forget(stream)
  if api.response_write(view, hint, #hint) >= 0 then
    api.response_send(view)
  end
  stream.root:cancel()
end

-- Seconds until the next heartbeat or, on a worker, the next check.
local function wait_on(stream, view)
  local seconds = stream.heartbeat and stream.last + stream.heartbeat - api.now()
  if view.in_worker ~= 0 then
    seconds = min(seconds or WORKER_LOOK_S, WORKER_LOOK_S)
  end
  if seconds then
    arm(stream, max(0, seconds))
  end
end

local function beat(stream, view)
  local now = api.now()
  if stream.heartbeat and now - stream.last > stream.heartbeat - 0.001 then
    stream.last = now
    -- Unsent data keeps the connection busy already.
    if api.response_is_full(view) == 0 then
      api.response_write(view, HEARTBEAT, #HEARTBEAT)
    end
  end
  wait_on(stream, view)
end

-- As a timer.
function Stream.fire(stream)
  local ref = stream.root.ref
  local view = ref.view
  if view.handle ~= ref.handle then
    return
  end
  if api.request_draining(view) ~= 0 then
    end_stream(stream, view)
  else
    beat(stream, view)
  end
end

members.class(Stream, 'an event stream', { 'send', 'comment', 'finish' },
  { 'heartbeat', 'retry', 'due', 'at', 'root', 'res', 'is_over', 'last' })

local OPTIONS = { heartbeat = true, retry = true }

-- Seconds, nil: none.
local function check_options(options)
  if options == nil then
    return HEARTBEAT_S, nil
  elseif type(options) ~= 'table' then
    raise('res:events(options) takes a table, got ' .. type(options))
  end
  for name in pairs(options) do
    if not OPTIONS[name] then
      raise('res:events: ' .. members.unknown('the table of options', name, { OPTIONS }))
    end
  end
  local heartbeat = options.heartbeat
  if heartbeat == nil then
    heartbeat = HEARTBEAT_S
  elseif heartbeat == false then
    heartbeat = nil
  elseif type(heartbeat) ~= 'number' or not (heartbeat >= 0.1 and heartbeat < 1e9) then
    raise('res:events: heartbeat takes seconds, 0.1 or more, or false, not ' .. tostring(heartbeat))
  end
  if options.retry ~= nil then
    milliseconds(options.retry, 'res:events: retry')
  end
  return heartbeat, options.retry
end

local function set_fields(res)
  local set = res:get_header 'Content-Type'
  if set == nil then
    res:header('Content-Type', CONTENT_TYPE)
  elseif not find(set, '^[Tt][Ee][Xx][Tt]/[Ee][Vv][Ee][Nn][Tt]%-[Ss][Tt][Rr][Ee][Aa][Mm]') then
    raise(('res:events: the Content-Type %q was set before, an event stream has %s'):format(set,
      CONTENT_TYPE))
  end
  if res:get_header 'Cache-Control' == nil then
    res:header('Cache-Control', 'no-store')
  end
  -- nginx buffers responses by default.
  if res:get_header 'X-Accel-Buffering' == nil then
    res:header('X-Accel-Buffering', 'no')
  end
  res:compress(false)
end

-- Called by res:events, with the view of the response.
function _M.open(res, view, options)
  local heartbeat, retry = check_options(options)
  local root = scheduler.check('res:events').request
  if not root then
    raise('res:events: this task belongs to no request')
  end
  set_fields(res)
  api.response_lasts(view)
  local stream = setmetatable({ res = res, root = root, is_over = false, heartbeat = heartbeat,
    retry = retry, last = api.now(), at = false }, stream_type)
  streams[stream] = true
  count = count + 1
  scheduler.on_end(function()
    forget(stream)
  end)
  if ffi_string(api.method_name(view.method)) == 'HEAD' then
    stream:finish()
    scheduler.exit 'res:events' -- the handler would wait for something to send
  end
  -- Status and fields are sent with this.
  write(stream, retry and 'retry: ' .. milliseconds(retry, 'retry') .. '\n\n' or HEARTBEAT)
  if api.request_draining(view) ~= 0 then
    arm(stream, 0)
  else
    wait_on(stream, view)
  end
  return stream
end

-- Streams of a replaced state keep running its code.
scheduler.on_retire(function(how)
  if how ~= RETIRE_DRAINED then
    return
  end
  local spread = min(SPREAD_MAX_S, count * SPREAD_S)
  for stream in pairs(streams) do
    disarm(stream)
    arm(stream, random() * spread)
  end
end)

return _M
