-- The request: req.method, req.url, req.path, req.query, req.version, req.id, req.peer, req.ctx, req.scheme,
-- req.tls, req.last_event_id, req:header(name), req:header_values(name), req:headers(), req:body(),
-- req:chunks(max), req:aborted(), req:on_abort(fn), req:trusted_peer(), req:in_worker(),
-- req:websocket(options).
-- Once a request is over, any access to its object raises an error instead of reading another request's
-- memory (handle.lua).
local ffi = require 'ffi'
local api = require 'moonring.abi'
local viewer = require 'moonring.handle'
local failure = require 'moonring.failure'
local members = require 'moonring.members'
local scheduler = require 'moonring.scheduler'

local ffi_string = ffi.string
local type, error, require = type, error, require
local min, concat = math.min, table.concat

-- Where the content is, from exec/hs_lua_content.h.
local WHOLE, TAKEN = 0, 2
-- Selectors of request_tls (exec/hs_lua_api.c).
local TLS_SCHEME, TLS_VERSION, TLS_CIPHER, TLS_SERVER_NAME, TLS_RESUMED = 0, 1, 2, 3, 4
local TLS_CLIENT_SUBJECT, TLS_CLIENT_ISSUER, TLS_CLIENT_SERIAL, TLS_CLIENT_FINGERPRINT = 5, 6, 7, 8
-- From this hs_abort_reason_t on, a response is not read.
local ABORT_LOST = 2
local LAST_EVENT_ID = 'Last-Event-ID'

local view_of = viewer(ffi.typeof 'hs_lua_request_t *', 'req',
  'this request is over: copy what you need before the handler returns')

local method_names = {}
do
  local number = 0
  local name = api.method_name(number)
  while name ~= nil do
    method_names[number] = ffi_string(name)
    number = number + 1
    name = api.method_name(number)
  end
end

local function method_of(view)
  return method_names[view.method] or ffi_string(api.method_name(view.method))
end

local getters = {
  method = method_of,
  url = function(view)
    return ffi_string(view.url, view.url_len)
  end,
  -- The path of the target as sent: still percent-encoded.
  path = function(view)
    return ffi_string(api.request_path(view), view.result_len)
  end,
  -- What follows the first `?`, as sent; '' if there is none.
  query = function(view)
    return ffi_string(api.request_query(view), view.result_len)
  end,
  version = function(view)
    return ffi_string(api.request_version(view))
  end,
  id = function(view)
    return ffi_string(api.request_id(view))
  end,
  -- Its trace (moonring.trace); nil if the client named none.
  trace = function(_, req)
    return require('moonring.trace').read(req)
  end,
  -- The id of the last event that an EventSource received before it reconnected; nil: none.
  last_event_id = function(view)
    local value = api.request_header(view, LAST_EVENT_ID, #LAST_EVENT_ID, 0)
    return value ~= nil and ffi_string(value, view.result_len) or nil
  end,
  -- 'https' if it came over TLS, here or, as a trusted proxy says, to the proxy.
  scheme = function(view)
    return ffi_string(api.request_tls(view, TLS_SCHEME))
  end,
  -- The TLS connection; nil without TLS.
  tls = function(view)
    if api.request_tls(view, TLS_VERSION) == nil then
      return nil
    end
    local client
    if ffi_string(api.request_tls(view, TLS_CLIENT_FINGERPRINT)) ~= '' then
      client = {
        subject = ffi_string(api.request_tls(view, TLS_CLIENT_SUBJECT)),
        issuer = ffi_string(api.request_tls(view, TLS_CLIENT_ISSUER)),
        serial = ffi_string(api.request_tls(view, TLS_CLIENT_SERIAL)),
        fingerprint = ffi_string(api.request_tls(view, TLS_CLIENT_FINGERPRINT)),
      }
    end
    return {
      version = ffi_string(api.request_tls(view, TLS_VERSION)),
      cipher = ffi_string(api.request_tls(view, TLS_CIPHER)),
      server_name = ffi_string(api.request_tls(view, TLS_SERVER_NAME)),
      resumed = ffi_string(api.request_tls(view, TLS_RESUMED)) ~= '',
      client = client,
    }
  end,
  -- A table private to the request.
  ctx = function(view)
    return scheduler.context_of(view)
  end,
  -- The numeric address of the client, '' on a Unix socket.
  peer = function(view)
    return ffi_string(api.request_peer(view))
  end,
}

-- The iterator of req:headers(): each call returns the next field.
local Fields = ffi.metatype('hs_lua_fields_t', {
  __call = function(self)
    local view = view_of(self.request)
    local number = self.next
    local text = api.request_field_name(view, number)
    if text == nil then
      return nil
    end
    self.next = number + 1
    local name = ffi_string(text, view.result_len)
    text = api.request_field_value(view, number)
    return name, ffi_string(text, view.result_len)
  end,
})

local methods = {}

function methods.header(self, name)
  local view = view_of(self)
  if type(name) ~= 'string' then
    error("req:header(name) takes the field's name as a string, got " .. type(name), 2)
  end
  local value = api.request_header(view, name, #name, 0)
  if value == nil then
    return nil
  end
  return ffi_string(value, view.result_len)
end

-- The values of all fields of this name in the order sent; {} if there are none.
function methods.header_values(self, name)
  local view = view_of(self)
  if type(name) ~= 'string' then
    error("req:header_values(name) takes the field's name as a string, got " .. type(name), 2)
  end
  local values, count = {}, 0
  local value = api.request_header(view, name, #name, 0)
  while value ~= nil do
    count = count + 1
    values[count] = ffi_string(value, view.result_len)
    value = api.request_header(view, name, #name, count)
  end
  return values
end

-- for name, value in req:headers() do: all fields as sent, including repeats.
function methods.headers(self)
  view_of(self)
  return Fields(self, 0)
end

-- Waits for all of the content, which arrives while the handler runs.
local function collect(self)
  local result = api.request_collect(view_of(self))
  while result == 0 do
    scheduler.wait_for_request(scheduler.WAKE_CONTENT, 'req:body')
    result = api.request_collect(view_of(self))
  end
  if result < 0 then
    local refused = failure.new('limit', 'req:body: the requests being received have '
      .. 'more content than --max-body-memory: take it piece by piece, with req:chunks()')
    refused.status = 503
    error(refused, 0)
  end
end

function methods.body(self)
  local view = view_of(self)
  if view.content ~= WHOLE then
    if view.content == TAKEN then
      error('req:body(): the content was taken by req:chunks()', 2)
    end
    collect(self)
  end
  return ffi_string(api.request_body(view), view.result_len)
end

-- The default limit of req:decoded_body, in bytes.
local DECODED_MAX = 4 * 1024 * 1024

-- The content without its Content-Encoding (gzip), unchanged without one. nil, what is wrong, and the
-- matching status: 415 for another coding, 400 for malformed content, 413 for more than `most` bytes (4 MiB)
-- or, after the first MiB, more than 256 times the size sent.
function methods.decoded_body(self, most)
  if most ~= nil and not (type(most) == 'number' and most >= 0) then
    error('req:decoded_body(most) takes a number of bytes, 0 or more', 2)
  end
  local body = methods.body(self)
  local coding = concat(methods.header_values(self, 'Content-Encoding'), ', ')
  return require('moonring.decoding').decode(body, coding, most or DECODED_MAX)
end

-- The next piece, at most `most` bytes (0: whatever is available); nil after the last one.
local function next_chunk(self, most)
  local view = view_of(self)
  local data = api.request_take(view, most)
  while data == nil do
    if view.result_len ~= 0 then
      return nil
    end
    scheduler.wait_for_request(scheduler.WAKE_CONTENT, 'req:chunks')
    view = view_of(self)
    data = api.request_take(view, most)
  end
  return ffi_string(data, view.result_len)
end

-- for chunk in req:chunks(max) do: the content in pieces of at most `max` bytes, as it arrives if the file
-- sets stream_content; otherwise all of it has arrived.
function methods.chunks(self, max)
  local view = view_of(self)
  if max ~= nil and (type(max) ~= 'number' or max < 1) then
    error('req:chunks(max) takes a number of bytes, 1 or more', 2)
  end
  if view.content ~= WHOLE then
    return function()
      return next_chunk(self, max or 0)
    end
  end
  local at, size = 0, max or 65536
  return function()
    local body = api.request_body(view_of(self))
    local left = view.result_len - at
    if left <= 0 then
      return nil
    end
    local chunk = ffi_string(body + at, min(left, size))
    at = at + #chunk
    return chunk
  end
end

-- The numeric address of the client for which trusted proxies (--trusted-proxy) forward the request; req.peer
-- if the peer is not one of them.
function methods.trusted_peer(self)
  return ffi_string(api.request_trusted_peer(view_of(self)))
end

-- Whether the client has disconnected.
function methods.aborted(self)
  return api.request_aborted(view_of(self)) >= ABORT_LOST
end

-- Calls fn() in a separate task when the client disconnects. Without it, the handler's current wait raises an
-- error whose field `code` is 'aborted'.
function methods.on_abort(self, fn)
  view_of(self)
  if type(fn) ~= 'function' then
    error('req:on_abort(fn) takes a function, got ' .. type(fn), 2)
  end
  scheduler.on_abort(fn)
end

-- Responds with 101: the request becomes a WebSocket (moonring.websocket). The socket; nil and the status of
-- the response already sent if the request is not a valid handshake.
function methods.websocket(self, options)
  return require('moonring.websocket').accept(view_of(self), options)
end

-- True if the handler runs on a worker thread, where it may take its time.
function methods.in_worker(self)
  local view = view_of(self)
  return view.in_worker ~= 0
end

local function index(self, key)
  local method = methods[key]
  if method then
    return method
  end
  local getter = getters[key]
  if not getter then
    error(members.unknown('req', key, { methods, getters }), 2)
  end
  local view = view_of(self)
  return getter(view, self)
end

ffi.metatype('hs_lua_request_t', {
  __index = index,
  __newindex = function(_, key)
    error('a request cannot be changed (' .. tostring(key) .. ')', 2)
  end,
})
