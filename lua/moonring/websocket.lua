-- req:websocket(options): the request becomes a WebSocket. With on_message, events call its callbacks;
-- without, the handler itself receives messages, and the socket closes when it returns. C records events and
-- wakes `take`, which goes through all sockets at once: exec/hs_lua_websocket.c, docs/websocket.md.
local ffi = require 'ffi'
local native = require 'moonring.native'
local failure = require 'moonring.failure'
local members = require 'moonring.members'
local buffer = require 'string.buffer'
local scheduler = require 'moonring.scheduler'
local log = require 'moonring.log'

local VERSION = 3

ffi.cdef(native.websocket_abi)

local api = ffi.cast('hs_lua_websocket_api_t *', native.websockets)
if api.version ~= VERSION then
  error(('the Lua runtime speaks WebSocket ABI %d, the server %d: install them from one version')
    :format(VERSION, api.version))
end

local error, next, pcall, xpcall, tostring, type = error, next, pcall, xpcall, tostring, type
local _G, tonumber = _G, tonumber
local concat, format = table.concat, string.format
local raise, text_of, traceback = failure.raise, failure.text_of, failure.traceback
local wait_for_wake, wake, check_seconds = scheduler.wait_for_wake, scheduler.wake,
  scheduler.check_seconds
local callback_ended, check_can_wait = scheduler.callback_ended, scheduler.check
local begin_wait, has_timed_out, raise_failure = scheduler.begin_wait, scheduler.has_timed_out,
  scheduler.raise_failure
local WAITING, yield = scheduler.WAITING, coroutine.yield
local ffi_string = ffi.string
local self = api.self

local _M = {}

-- As in exec/hs_lua_websocket_abi.h.
local OPENED, MESSAGE, DRAINED, HANDED = 1, 2, 4, 16 -- or closed
-- As in scheduler.lua.
local RETIRE_REPLACED = 1
local TEXT, BINARY = 1, 2
local KINDS = { 'text', 'binary' }
local OPCODES = { text = TEXT, binary = BINARY }
-- Results of calls.
local WAIT, ERR_NOMEM, ERR_STATE, ERR_LIMIT = 1, -1, -4, -5
-- Close codes.
local NORMAL, INTERNAL_ERROR, RESTART = 1000, 1011, 1012

-- For sockets without callbacks.
local NO_OPTIONS = {}

-- State of sockets by number; C assigns the numbers and reuses them.
local objects = {}   -- Lua's object
local options_of = {} -- the callbacks; false: the handler receives
local contexts = {}  -- ws.ctx
local protocols = {} -- ws.protocol
local reasons = {}   -- of the client's Close
local receivers = {} -- the task that waits in ws:receive
local senders = {}   -- tasks that wait until little is unsent
local busy = {}      -- one of its callbacks waits
local ends = {}      -- ... and on_close is to follow

-- Drops the state of the socket.
local function forget(ws)
  local number = ws.number
  objects[number], options_of[number], contexts[number], protocols[number] = nil, nil, nil, nil
  reasons[number], receivers[number], senders[number] = nil, nil, nil
  busy[number], ends[number] = nil, nil
  ws.socket, ws.number = nil, 0
end

local function release(ws)
  local number = ws.number
  if number ~= 0 then
    forget(ws)
    api.release(self, number)
  end
end

-- ---- A socket. ----

local methods = {}

local function wake_senders(number)
  local tasks = senders[number]
  if tasks then
    senders[number] = nil
    for i = 1, #tasks do
      wake(tasks[i])
    end
  end
end

-- Waits until little is unsent, or the socket is closed; returns at once where waiting is not possible.
local function wait_until_sent(ws)
  if not scheduler.may_wait() then
    return true
  end
  local task = scheduler.check('ws:send')
  local tasks = senders[ws.number]
  if not tasks then
    tasks = {}
    senders[ws.number] = tasks
  end
  tasks[#tasks + 1] = task
  wait_for_wake(task)
  if ws.socket == nil then
    return nil, 'closed'
  end
  return true
end

local function sent(ws, result, what)
  if result == WAIT then
    return wait_until_sent(ws)
  elseif result == ERR_STATE then
    return nil, 'closed'
  elseif result == ERR_LIMIT then
    return nil, 'slow'
  elseif result == ERR_NOMEM then
    return nil, 'no memory'
  end
  raise(what)
end

-- Sends a message, of kind 'text' (the default) or 'binary': true; nil and 'closed', or 'slow' if the client
-- was too slow and was closed. Waits while the client is slow.
function methods.send(ws, message, kind)
  local opcode = TEXT
  if kind ~= nil then
    opcode = OPCODES[kind]
    if not opcode then
      raise(format("ws:send(message, kind): a kind is 'text' or 'binary', not %s", tostring(kind)))
    end
  end
  if type(message) ~= 'string' then
    if type(message) ~= 'number' then
      raise('ws:send(message) takes a string, got ' .. type(message)
        .. ': moonring.json.encode makes one of other values')
    end
    message = tostring(message)
  end
  local socket = ws.socket
  if socket == nil then
    return nil, 'closed'
  end
  local result = api.send(socket, opcode, message, #message)
  if result == 0 then
    return true
  end
  return sent(ws, result, "ws:send(message): text is UTF-8, and this is not: send it as 'binary'")
end

-- Sends a ping, with up to 125 bytes: true, or nil and why not.
function methods.ping(ws, payload)
  payload = payload or ''
  if type(payload) ~= 'string' then
    raise('ws:ping(payload) takes a string, got ' .. type(payload))
  end
  local socket = ws.socket
  if socket == nil then
    return nil, 'closed'
  end
  local result = api.ping(socket, payload, #payload)
  if result == 0 then
    return true
  end
  return sent(ws, result, format('ws:ping(payload): at most 125 bytes, not %d', #payload))
end

-- Starts the closing handshake: true, or nil, 'closed' if it is closed or closing. Messages arriving later
-- are dropped.
function methods.close(ws, code, reason)
  code, reason = code or NORMAL, reason or ''
  if type(code) ~= 'number' or type(reason) ~= 'string' then
    raise(format('ws:close(code, reason) takes a number and a string, got %s and %s', type(code),
      type(reason)))
  end
  local socket = ws.socket
  if socket == nil then
    return nil, 'closed'
  end
  local result = api.close(socket, code, reason, #reason)
  if result == 0 then
    return true
  end
  return sent(ws, result, format('ws:close(code, reason): %s is not a code for it (1000 to 1003, 1007 '
    .. 'to 1014, 3000 to 4999), or the reason is not UTF-8', tostring(code)))
end

local TOPIC_LENGTH = 255 -- as in httpserver_supervise.h
local JOIN_OPTIONS = { kind = true, slow = true }

local function check_topic(topic, what)
  if type(topic) ~= 'string' or topic == '' or #topic > TOPIC_LENGTH then
    raise(format('%s: a topic is a string of 1 to %d bytes, not %s', what, TOPIC_LENGTH,
      type(topic) == 'string' and #topic .. ' bytes' or type(topic)))
  end
end

-- 1 for the second word, 0 for the first one, or without one.
local function choice_of(options, name, first, second)
  local value = options[name]
  if value ~= nil and value ~= first and value ~= second then
    raise(format("ws:join: %s is '%s' or '%s', not %s", name, first, second, tostring(value)))
  end
  return value == second and 1 or 0
end

-- From here on, C sends the socket the messages published to the topic (moonring.publish): true; nil,
-- 'closed'. Options: kind, 'text' or 'binary'; slow, for slow clients: 'close' them, or 'skip' messages.
function methods.join(ws, topic, options)
  check_topic(topic, 'ws:join(topic)')
  local binary, skips = 0, 0
  if options ~= nil then
    if type(options) ~= 'table' then
      raise('ws:join(topic, options) takes a table of options, not a ' .. type(options))
    end
    for name in next, options do
      if not JOIN_OPTIONS[name] then
        raise('ws:join: ' .. members.unknown('the table of options', name, { JOIN_OPTIONS }))
      end
    end
    binary, skips = choice_of(options, 'kind', 'text', 'binary'),
      choice_of(options, 'slow', 'close', 'skip')
  end
  local socket = ws.socket
  local result = socket ~= nil and api.join(socket, topic, #topic, binary, skips) or ERR_STATE
  if result == 0 then
    return true
  elseif result == ERR_STATE then
    return nil, 'closed'
  end
  raise('ws:join: out of memory')
end

-- Stops sending the topic's messages: true; false if it had not joined.
function methods.leave(ws, topic)
  check_topic(topic, 'ws:leave(topic)')
  local socket = ws.socket
  return socket ~= nil and api.leave(socket, topic, #topic) == 1
end

-- Bytes waiting to be sent to the client.
function methods.unsent(ws)
  local socket = ws.socket
  return socket ~= nil and tonumber(api.unsent(socket)) or 0
end

function methods.is_open(ws)
  return ws.socket ~= nil
end

local next_or_closed -- below

-- Waits for a message. The coroutine of an idle socket waits in this frame: it and the frames below decide how
-- much stack LuaJIT keeps for the socket, which is most of what it costs.
local function wait_for_message(ws, seconds)
  if receivers[ws.number] then
    raise('ws:receive: another task waits for the same already')
  end
  local task = check_can_wait('ws:receive')
  receivers[ws.number] = task
  if begin_wait(task, seconds) then
    yield(WAITING)
  end
  receivers[ws.number] = nil
  if task.failure then
    raise_failure(task)
  elseif has_timed_out(task) then
    return nil, 'timeout'
  end
  return next_or_closed(ws, seconds)
end

function next_or_closed(ws, seconds)
  local socket = ws.socket
  if socket == nil then
    return nil, 'closed', ws.code, reasons[ws.number] or ''
  elseif api.receive(self, socket) == 0 then
    return wait_for_message(ws, seconds)
  end
  local message, kind = ffi_string(api.data, api.len), KINDS[api.code]
  api.done(socket)
  return message, kind
end

-- The next message and its kind, 'text' or 'binary'; nil, 'timeout' after `seconds` (nil: no limit);
-- nil, 'closed', the code and the reason when the socket is.
function methods.receive(ws, seconds)
  if seconds ~= nil then
    check_seconds(seconds, 'ws:receive')
  end
  if options_of[ws.number] then
    raise('ws:receive: the messages of this socket go to its on_message')
  end
  return next_or_closed(ws, seconds)
end

local function next_message(ws) -- without the value before, which `for` gives too
  return methods.receive(ws)
end

-- for message, kind in ws:messages() do … end: until it is closed.
function methods.messages(ws)
  return next_message, ws
end

local getters = {
  -- A table private to the socket, until on_close, or the handler that receives, returns.
  ctx = function(ws)
    local number = ws.number
    if number == 0 then
      return nil
    end
    local context = contexts[number]
    if not context then
      context = {}
      contexts[number] = context
    end
    return context
  end,
  -- The subprotocol that was chosen; nil without one.
  protocol = function(ws)
    return protocols[ws.number]
  end,
}

local new_object = ffi.metatype('hs_lua_websocket_t', {
  __index = function(ws, key)
    local method = methods[key]
    if method then
      return method
    end
    local getter = getters[key]
    if not getter then
      error(members.unknown('a WebSocket', key, { methods, getters }), 2)
    end
    return getter(ws)
  end,
  __newindex = function(_, key)
    error('a WebSocket cannot be changed (' .. tostring(key) .. '): ws.ctx is a table for you', 2)
  end,
  __tostring = function(ws)
    return ws.socket ~= nil and 'WebSocket' or 'WebSocket (closed)'
  end,
})

-- ---- Events. ----

local function describe(reason)
  return failure.is(reason) and reason or text_of(reason) .. traceback()
end

-- A callback raised an error.
local function failed(ws, callbacks, reason)
  local text = text_of(reason)
  log.error('lua error in a WebSocket: ' .. text)
  if callbacks and callbacks.on_error then
    local ok, again = xpcall(callbacks.on_error, describe, ws, text)
    if not ok then
      log.error('lua error in on_error of a WebSocket: ' .. text_of(again))
    end
  end
  if ws.socket ~= nil then
    api.close(ws.socket, INTERNAL_ERROR, '', 0)
  end
end

local function call_on_close(ws, callbacks, code, reason)
  if callbacks and callbacks.on_close then
    local ok, raised = xpcall(callbacks.on_close, describe, ws, code, reason)
    if not ok then
      failed(ws, callbacks, raised)
    end
  end
end

-- ---- A reload: sockets go over to the next generation. ----

local is_replaced = false -- this state has a successor

-- Passes the socket to the successor, with the result of its on_handover: true. A socket without one, or
-- whose on_handover returns false or raises, stays.
local function hand_over(ws, callbacks)
  local on_handover = callbacks and callbacks.on_handover
  if not on_handover or ws.socket == nil or api.can_hand_over(self, ws.socket) == 0 then
    return false
  end
  local ok, value = xpcall(on_handover, describe, ws)
  if not ok then
    log.error('lua error in on_handover of a WebSocket, which stays with its code: ' .. text_of(value))
    return false
  elseif value == false or ws.socket == nil then
    return false
  end
  local encoded, text = pcall(buffer.encode, { value = value, protocol = protocols[ws.number] })
  if not encoded then
    log.error(format('on_handover of a WebSocket, which stays with its code: what it returns cannot be '
      .. 'copied (%s): numbers, strings, booleans and tables of these can', tostring(text)))
    return false
  end
  local result = api.hand_over(self, ws.socket, text, #text)
  if result == ERR_LIMIT then
    log.error(format('on_handover of a WebSocket, which stays with its code: at most 64 KiB can be '
      .. 'handed over, not %d bytes', #text))
  end
  if result ~= 0 then
    return false
  end
  wake_senders(ws.number)
  forget(ws)
  return true
end

-- A callback that waited has ended: events recorded meanwhile follow.
local function go_on(ws, callbacks)
  local number = ws.number
  busy[number] = nil
  local ended = ends[number]
  if ended then
    call_on_close(ws, callbacks, ended.code, ended.reason)
    release(ws)
  elseif ws.socket ~= nil and not (is_replaced and hand_over(ws, callbacks)) then
    api.resume(ws.socket)
  end
end

-- The socket whose callback is running.
local active

-- True: the callback waited, and its caller continues without it.
local function call(ws, callbacks, callback, ...)
  active = ws
  local ok, reason = xpcall(callback, describe, ws, ...)
  if not ok then
    failed(ws, callbacks, reason)
  end
  if callback_ended() then
    go_on(ws, callbacks)
    return true
  end
  return false
end

local function closed(ws, callbacks, code, reason)
  local number = ws.number
  ws.socket, ws.code = nil, code
  wake_senders(number)
  local task = receivers[number]
  if task then -- the handler's, or a detached one that it has left behind
    wake(task)
  end
  if not callbacks then
    reasons[number] = reason
    return false -- released when the handler has returned
  elseif busy[number] then
    ends[number] = { code = code, reason = reason }
    return false
  end
  local on_close = callbacks.on_close
  if on_close then
    active = ws
    local ok, raised = xpcall(on_close, describe, ws, code, reason)
    if not ok then
      failed(ws, callbacks, raised)
    end
    if callback_ended() then
      release(ws)
      return true
    end
  end
  release(ws)
  return false
end

local check -- below

-- A socket of the previous generation: on_reload returns its callbacks. True as in `call`.
local function reloaded(ws, text)
  local number = ws.number
  local handed = buffer.decode(text)
  protocols[number] = handed.protocol
  active = ws
  local ok, callbacks = xpcall(_G.on_reload, describe, ws, handed.value)
  if ok then
    ok, callbacks = pcall(check, callbacks, 'what on_reload returns')
  end
  if ok and not callbacks.on_message then
    ok, callbacks = false, 'what on_reload returns: on_message is missing'
  end
  if not ok then
    log.error('lua error in on_reload of a WebSocket, which is closed: ' .. text_of(callbacks))
    callbacks = NO_OPTIONS
    if ws.socket ~= nil then
      api.close(ws.socket, RESTART, '', 0)
    end
  end
  options_of[number] = callbacks
  if callback_ended() then
    go_on(ws, callbacks)
    return true
  end
  return false
end

-- Goes through the events recorded by C: true if a callback waited, and this has become its task.
local function dispatch()
  while api.take(self) ~= 0 do
    local number, event = api.number, api.event
    local ws = objects[number]
    local callbacks = options_of[number]
    if event == MESSAGE then
      if callbacks and callbacks.on_message then
        local message = ffi_string(api.data, api.len)
        if call(ws, callbacks, callbacks.on_message, message, KINDS[api.code]) then
          return true
        end
      elseif receivers[number] then
        wake(receivers[number])
      end
    elseif event == OPENED then
      if callbacks and callbacks.on_open and call(ws, callbacks, callbacks.on_open) then
        return true
      elseif is_replaced then
        hand_over(ws, callbacks)
      end
    elseif event == HANDED then
      ws = new_object()
      ws.socket, ws.number = api.socket, number
      objects[number], options_of[number] = ws, NO_OPTIONS
      if reloaded(ws, ffi_string(api.data, api.len)) then
        return true
      end
    elseif event == DRAINED then
      wake_senders(number)
      if callbacks and callbacks.on_drain and not busy[number]
        and call(ws, callbacks, callbacks.on_drain) then
        return true
      end
    elseif closed(ws, callbacks, api.code, ffi_string(api.data, api.len)) then
      return true
    end
  end
  return false
end

-- Called by the scheduler when C has events.
local function take()
  while not scheduler.call(dispatch) do
    -- A callback is waiting: its socket reports nothing until it returns.
    busy[active.number] = true
    if active.socket ~= nil then
      api.pause(active.socket)
    end
  end
end

api.id = scheduler.id()
scheduler.listen(api.id, take)

-- ---- The handshake. ----

local CALLBACKS = { on_open = true, on_message = true, on_drain = true, on_close = true,
  on_error = true, on_handover = true }
local KNOWN = { protocols = true, origins = true, on_open = true, on_message = true, on_drain = true,
  on_close = true, on_error = true, on_handover = true }

local function list_of(value, name, default)
  if value == nil then
    return default
  elseif type(value) == 'table' then
    for i = 1, #value do
      if type(value[i]) ~= 'string' then
        raise(format('req:websocket: %s is a string or a list of strings, not of a %s', name,
          type(value[i])))
      end
    end
    return concat(value, ',')
  elseif type(value) ~= 'string' then
    raise(format('req:websocket: %s is a string or a list of strings, not a %s', name, type(value)))
  end
  return value
end

-- Returns the options, or raises.
function check(options, what)
  if type(options) ~= 'table' then
    raise(format('%s: a table of options, not a %s', what, type(options)))
  end
  for name, value in next, options do
    if not KNOWN[name] then
      raise(what .. ': ' .. members.unknown('the table of options', name, { KNOWN }))
    elseif CALLBACKS[name] and type(value) ~= 'function' then
      raise(format('%s: %s is a function, not a %s', what, name, type(value)))
    end
  end
  if not options.on_message then
    for name in next, CALLBACKS do
      if options[name] then
        raise(format('%s: %s without on_message: a handler that receives by ws:receive has no '
          .. 'callbacks', what, name))
      end
    end
  end
  return options
end

-- The handler that receives has returned or raised an error.
scheduler.on_owner_end(function(ws, task)
  if ws.socket ~= nil then
    api.close(ws.socket, task.failed_with and INTERNAL_ERROR or NORMAL, '', 0)
    api.done(ws.socket)
    options_of[ws.number] = NO_OPTIONS -- only the end is reported
  else
    release(ws)
  end
end)

local terms = ffi.new 'hs_lua_websocket_terms_t'

-- Implements req:websocket. `view`: of the request.
function _M.accept(view, options)
  options = check(options or NO_OPTIONS, 'req:websocket')
  if view.in_worker ~= 0 then
    raise("req:websocket: not on a worker thread: WebSockets belong to a reactor's")
  end
  local wanted = list_of(options.protocols, 'protocols', '')
  local origins = list_of(options.origins, 'origins', 'same')
  local receives = not options.on_message
  terms.protocols, terms.protocols_len = wanted, #wanted
  terms.origins, terms.origins_len = origins, #origins
  terms.waits = receives and 1 or 0
  local ws = new_object()
  local result = api.accept(self, view, terms, ws)
  if result > 0 then
    return nil, result
  elseif result == ERR_STATE then
    raise('req:websocket: the response was already sent, or has content')
  elseif result < 0 then
    raise('req:websocket: out of memory')
  end
  local number = ws.number
  objects[number], options_of[number] = ws, not receives and options
  protocols[number] = api.len > 0 and ffi_string(api.data, api.len) or nil
  if receives then
    scheduler.belong_to(ws)
  end
  return ws
end

-- The state has a successor, or it ends.
scheduler.on_retire(function(how)
  is_replaced = is_replaced or how == RETIRE_REPLACED
  local all = {}
  for _, ws in next, objects do
    all[#all + 1] = ws
    if how == scheduler.RETIRE_LAST then
      ws.socket = nil
    end
  end
  for i = 1, how == RETIRE_REPLACED and #all or 0 do
    local ws = all[i]
    if not busy[ws.number] then
      hand_over(ws, options_of[ws.number])
    end
  end
end)

-- Called when the file has been loaded and defines on_reload(ws, data).
function _M.take_over(on_reload)
  if type(on_reload) ~= 'function' then
    error('on_reload is a function on_reload(ws, data), not a ' .. type(on_reload), 0)
  end
  api.takes_over = 1
end

return _M
