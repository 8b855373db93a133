-- How a handler answers: res:status(code), res:header(name, value), res:body(text), res:send().
-- Calls return the response, so that they can be chained. What cannot be done raises an error at
-- the caller's line.
local ffi = require 'ffi'
local api = require 'moonring.abi'
local viewer = require 'moonring.handle'

local type, error, tostring = type, error, tostring
local native = require 'moonring.native'

-- Strings that the server sends from where they are: exec/hs_lua_pins.h.
local pins = native.pins
-- From this size on a copy costs more than keeping the string.
local PIN_BYTES = 16 * 1024

local view_of = viewer(ffi.typeof 'hs_lua_response_t *', 'res',
  'this request is over: its response can no longer be changed')
local ERR_NOMEM, ERR_INVALID, ERR_STATE, ERR_LIMIT = -1, -3, -4, -5

local reasons = {
  [ERR_NOMEM] = 'out of memory',
  [ERR_STATE] = 'the response was already sent',
  [ERR_LIMIT] = 'the response fields together are too large',
}

-- Raises for a result below zero, three levels up: the line that called the method.
local function fail(result, invalid)
  error(reasons[result] or (result == ERR_INVALID and invalid) or 'error ' .. result, 3)
end

local methods = {}

function methods.status(self, code)
  local view = view_of(self)
  if type(code) ~= 'number' then
    error('res:status(code) takes a number, not a ' .. type(code), 2)
  end
  local result = api.response_status(view, code)
  if result < 0 then
    fail(result, 'status ' .. code .. ' is not from 200 to 599')
  end
  return self
end

function methods.header(self, name, value)
  local view = view_of(self)
  if type(value) == 'number' then
    value = tostring(value)
  end
  if type(name) ~= 'string' or type(value) ~= 'string' then
    error('res:header(name, value) takes strings, not ' .. type(name) .. ' and ' .. type(value), 2)
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
    error('res:body(text) takes a string, not a ' .. type(text), 2)
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

function methods.send(self)
  local view = view_of(self)
  local result = api.response_send(view)
  if result < 0 then
    fail(result)
  end
  return self
end

ffi.metatype('hs_lua_response_t', {
  __index = methods,
  __newindex = function(_, key)
    error('a response is built with calls; ' .. tostring(key) .. ' cannot be assigned', 2)
  end,
})
