-- The response: res:status(code), res:header(name, value), res:body(text), res:send(); or at once:
-- res:json(value, status), res:redirect(url, status); or piece by piece: res:content_length(bytes),
-- res:write(data), res:flush(), res:finish(). res:cookie(name, value, options) adds a cookie, res:file(path,
-- options) sends a file, res:events(options) begins a stream of server-sent events. Calls return the
-- response, so that they can be chained. What cannot be done raises an error at the caller's line.
local ffi = require 'ffi'
local api = require 'moonring.abi'
local viewer = require 'moonring.handle'
local members = require 'moonring.members'
local native = require 'moonring.native'
local scheduler = require 'moonring.scheduler'

local type, error, tostring, require = type, error, tostring, require
local concat, find = table.concat, string.find
local ffi_string = ffi.string
local raise = require('moonring.failure').raise

-- Strings that the server sends without copying: exec/hs_lua_pins.h.
local pins = native.pins
-- From this size on, copying costs more than pinning the string.
local PIN_BYTES = 16 * 1024

local view_of = viewer(ffi.typeof 'hs_lua_response_t *', 'res',
  'this request is over: its response can no longer be changed')
local ERR_NOMEM, ERR_INVALID, ERR_STATE, ERR_LIMIT, ERR_ABORTED = -1, -3, -4, -5, -7
local WRITE_WAIT = 1
-- From this hs_abort_reason_t on, a response is not read.
local ABORT_LOST = 2
-- How often a worker checks whether its client has read something.
local WORKER_INTERVAL_S = 0.001

local reasons = {
  [ERR_NOMEM] = 'out of memory',
  [ERR_STATE] = 'the response was already sent',
  [ERR_LIMIT] = 'the response fields together are too large',
}

-- Raises for a result below zero.
local function fail(result, invalid)
  raise(reasons[result] or (result == ERR_INVALID and invalid) or 'error ' .. result)
end

local methods = {}

-- Discards status, fields and content: for an error handler.
function methods.reset(self)
  local result = api.response_reset(view_of(self))
  if result < 0 then
    fail(result)
  end
  return self
end

function methods.status(self, code)
  local view = view_of(self)
  if type(code) ~= 'number' then
    raise('res:status(code) takes a number, got ' .. type(code))
  end
  local result = api.response_status(view, code)
  if result < 0 then
    fail(result, 'status ' .. code .. ' is not from 200 to 599')
  end
  return self
end

-- Whether the server may compress the content (--compress): false never, true whatever its type and
-- size. Without a call: by type and size.
function methods.compress(self, compress)
  local view = view_of(self)
  if type(compress) ~= 'boolean' then
    raise('res:compress(compress) takes true or false, got ' .. type(compress))
  end
  local result = api.response_compress(view, compress and 1 or 0)
  if result < 0 then
    fail(result)
  end
  return self
end

-- The status of the response, also after it was sent, for hooks and error handlers.
function methods.get_status(self)
  return api.response_get_status(view_of(self))
end

-- The value of the first field added under this name, in any case; nil if there is none. Not those that the
-- server writes itself: Date, Content-Length, Transfer-Encoding, Connection.
function methods.get_header(self, name)
  local view = view_of(self)
  if type(name) ~= 'string' then
    raise('res:get_header(name) takes a string, got ' .. type(name))
  end
  local value = api.response_get(view, name, #name)
  return value ~= nil and ffi_string(value, view.result_len) or nil
end

function methods.header(self, name, value)
  local view = view_of(self)
  if type(value) == 'number' then
    value = tostring(value)
  end
  if type(name) ~= 'string' or type(value) ~= 'string' then
    raise('res:header(name, value) takes strings, got ' .. type(name) .. ' and ' .. type(value))
  end
  local result = api.response_header(view, name, #name, value, #value)
  if result < 0 then
    fail(result, ('field %q is not allowed: a bad name, a control character in the value, or '
      .. 'framing that the server writes itself'):format(name))
  end
  return self
end

function methods.body(self, text)
  local view = view_of(self)
  if type(text) == 'number' then
    text = tostring(text)
  end
  if type(text) ~= 'string' then
    raise('res:body(text) takes a string, got ' .. type(text))
  end
  local result = 0
  if #text > PIN_BYTES and view.in_worker == 0 then
    result = api.response_pin(view, api.pins, text, #text)
    if result > 0 then
      pins[result] = text
      return self
    end
  end
  if result == 0 then
    result = api.response_body(view, text, #text)
  end
  if result < 0 then
    fail(result)
  end
  return self
end

-- Too much is unsent: waits until most of it is sent, or the client disconnects.
local function wait_until_sent(self, view)
  if view.in_worker ~= 0 then
    repeat
      scheduler.sleep(WORKER_INTERVAL_S)
      view = view_of(self)
    until api.response_is_full(view) == 0 or api.request_aborted(view) >= ABORT_LOST
  else
    scheduler.wait_for_request(scheduler.WAKE_DRAINED, 'res:write')
  end
end

-- Announces the length of the content, before the first res:write. Without it the content is sent chunked.
function methods.content_length(self, length)
  local view = view_of(self)
  if type(length) ~= 'number' then
    raise('res:content_length(bytes) takes a number, got ' .. type(length))
  end
  local result = api.response_length(view, length)
  if result < 0 then
    fail(result, 'a length is a whole number of bytes, 0 or more')
  end
  return self
end

-- Sends a piece of the content (a string, or a table of strings): true, or nil and 'aborted' if the
-- client disconnected. Waits while the client is slow.
function methods.write(self, data)
  local view = view_of(self)
  if type(data) == 'table' then
    data = concat(data)
  elseif type(data) == 'number' then
    data = tostring(data)
  elseif type(data) ~= 'string' then
    raise('res:write(data) takes a string or a table of strings, got ' .. type(data))
  end
  local result = api.response_write(view, data, #data)
  if result == 0 then
    return true
  end
  if result == WRITE_WAIT then
    wait_until_sent(self, view)
    return true
  end
  if result == ERR_ABORTED then
    return nil, 'aborted'
  end
  if result == ERR_LIMIT then
    raise('res:write: more content than res:content_length() has announced')
  end
  fail(result)
end

-- Sends what was written (the head, if nothing was), and waits until most of it is sent: true, or nil and
-- 'aborted'.
function methods.flush(self)
  local view = view_of(self)
  local result = api.response_flush(view)
  if result == ERR_ABORTED then
    return nil, 'aborted'
  end
  if result < 0 then
    fail(result)
  end
  wait_until_sent(self, view)
  return true
end

-- A stream of server-sent events: moonring.events.
function methods.events(self, options)
  return require('moonring.events').open(self, view_of(self), options)
end

-- The content is complete.
function methods.finish(self)
  local view = view_of(self)
  local result = api.response_send(view)
  if result < 0 then
    fail(result)
  end
end

function methods.send(self)
  local view = view_of(self)
  local result = api.response_send(view)
  if result < 0 then
    fail(result)
  end
  return self
end

-- The status of a redirection (RFC 9110 §15.4) that has a Location.
local REDIRECTIONS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

-- Sends the client to `url`, an absolute or relative reference, with `status` (302).
function methods.redirect(self, url, status)
  view_of(self)
  status = status or 302
  if not REDIRECTIONS[status] then
    raise(('res:redirect(url, status) takes 301, 302, 303, 307 or 308, got %s')
      :format(tostring(status)))
  end
  if type(url) ~= 'string' then
    raise('res:redirect(url) takes a string, got ' .. type(url))
  end
  -- Characters not allowed by RFC 3986: line breaks would end the field, browsers treat backslashes as
  -- slashes.
  if not find(url, '^[!#-;=?-[%]_a-z~]+$') then
    raise(('res:redirect: %q is not a URL: percent-encode what comes from elsewhere'):format(url))
  end
  methods.status(self, status)
  methods.header(self, 'Location', url)
  return methods.send(self)
end

-- Adds a cookie: moonring.cookies.
function methods.cookie(self, name, value, options)
  view_of(self)
  local text = require('moonring.cookies').format(name, value, options)
  return methods.header(self, 'Set-Cookie', text)
end

local CONTENT_TYPE = 'Content-Type'

-- Sends `value` as JSON. The status is `status`, else the one that was set (200); a Content-Type that
-- was set stays.
function methods.json(self, value, status)
  local view = view_of(self)
  local text = require('moonring.json').encode(value)
  if status ~= nil then
    methods.status(self, status)
  end
  if api.response_get(view, CONTENT_TYPE, #CONTENT_TYPE) == nil then
    methods.header(self, CONTENT_TYPE, 'application/json')
  end
  methods.body(self, text)
  return methods.send(self)
end

-- Sends a file (moonring.static): the response, or nil and why not; then the response is unchanged.
function methods.file(self, path, options)
  view_of(self)
  return require('moonring.static').send_file(self, path, options)
end

-- Sets ETag and Last-Modified and compares them with the request's conditions: true if the response
-- is complete without content (304, 412), false if the handler has to send the content.
function methods.preconditions(self, validators)
  view_of(self)
  return require('moonring.static').preconditions(self, validators)
end

ffi.metatype('hs_lua_response_t', {
  __index = members.strict(methods, 'res'),
  __newindex = function(_, key)
    error('a response is built with calls; ' .. tostring(key) .. ' cannot be assigned', 2)
  end,
})
