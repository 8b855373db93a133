-- W3C Trace Context: trace.read(req) returns the trace of a request, trace.begin(req) creates one if there is
-- none; http.fetch(url, { trace = context }) passes it on. The span of a request is stored in its job, for
-- log records (http/hs_traceparent.h).
local ffi = require 'ffi'
local api = require 'moonring.abi'
local crypto = require 'moonring.crypto'
local failure = require 'moonring.failure'
local viewer = require 'moonring.handle'
local members = require 'moonring.members'

local find, format, match, rep, sub = string.find, string.format, string.match, string.rep,
  string.sub
local concat, tonumber, type = table.concat, tonumber, type
local ffi_string = ffi.string
local raise = failure.raise

local view_of = viewer(ffi.typeof 'hs_lua_request_t *', 'req',
  'this request is over: take its trace before the handler returns')

local _M = {}

-- version "-" trace "-" parent "-" flags
local LENGTH = 55
local FIRST_VERSION, INVALID_VERSION = '00', 'ff'
local NO_TRACE, NO_SPAN = rep('0', 32), rep('0', 16)
-- The longest tracestate that is passed on (§3.3.1.5).
local STATE_LENGTH = 512

-- The trace_id, parent_id, whether it is sampled, and the flags of a traceparent field; nil and what
-- is wrong with it.
function _M.parse(text)
  if type(text) ~= 'string' then
    raise('trace.parse(text) takes a string, got ' .. type(text))
  end
  local version, trace_id, parent_id, flags, rest = match(text,
    '^(%x%x)%-(%x+)%-(%x+)%-(%x%x)(.*)$')
  if not version or #trace_id ~= 32 or #parent_id ~= 16 then
    return nil, 'it does not have the form of a traceparent'
  elseif find(sub(text, 1, LENGTH), '%u') then
    return nil, 'it has capital letters'
  elseif version == INVALID_VERSION then
    return nil, 'version ff is not valid'
  elseif rest ~= '' and (version == FIRST_VERSION or sub(rest, 1, 1) ~= '-') then
    return nil, 'it is too long'
  elseif trace_id == NO_TRACE or parent_id == NO_SPAN then
    return nil, 'an id is zero'
  end
  local bits = tonumber(flags, 16)
  return { trace_id = trace_id, parent_id = parent_id, sampled = bits % 2 == 1,
    -- The known flags: sampled, and random trace ids.
    flags = bits % 4 }
end

-- Random, and not zero.
local function new_id(length)
  local id
  repeat
    id = crypto.random(length, 'hex')
  until find(id, '[^0]')
  return id
end

-- Adds this request's span, the parent of its calls to other servers.
local function with_span(context)
  context.span_id = new_id(8)
  context.traceparent = format('00-%s-%s-%02x', context.trace_id, context.span_id, context.flags)
  return context
end

local function state_of(req)
  local state = concat(req:header_values 'tracestate', ',')
  return state ~= '' and #state <= STATE_LENGTH and not find(state, '[^\32-\126]') and state or nil
end

-- The parsed traceparent field of the request; nil if there is none, several, or an invalid one.
local function sent_with(req)
  local fields = req:header_values 'traceparent'
  local context = #fields == 1 and _M.parse(fields[1]) or nil
  if context then
    context.tracestate = state_of(req)
  end
  return context
end

-- The trace read from this request before; nil if none was.
local function taken_of(req, view)
  local text = api.request_trace(view, nil)
  if text == nil then
    return nil
  end
  local own = _M.parse(ffi_string(text))
  local sent = sent_with(req)
  local parent_id, state
  if sent and sent.trace_id == own.trace_id then
    parent_id, state = sent.parent_id, sent.tracestate
  end
  return { trace_id = own.trace_id, parent_id = parent_id, span_id = own.parent_id,
    sampled = own.sampled, flags = own.flags, traceparent = ffi_string(text), tracestate = state }
end

-- `make`: creates a trace if there is none.
local function take(req, view, make)
  local context = taken_of(req, view)
  if context then
    return context
  end
  context = sent_with(req) or make and make()
  if not context then
    return nil
  end
  with_span(context)
  api.request_trace(view, context.traceparent)
  return context
end

-- The trace of a request: trace_id, parent_id (the caller's span), span_id (of this request, the
-- same in each call), sampled, traceparent and tracestate to pass on. nil if it has no traceparent, several,
-- or an invalid one. From now on, records of the request and its line in the access log have traceId and
-- spanId. Also req.trace.
function _M.read(req)
  failure.check_request(req, 'trace.read(req)')
  return take(req, view_of(req))
end

-- The same, or a new trace without parent_id if there is none. `sampled`: whether to record a new one, by
-- default true.
function _M.begin(req, sampled)
  failure.check_request(req, 'trace.begin(req, sampled)')
  if sampled ~= nil and type(sampled) ~= 'boolean' then
    raise('trace.begin(req, sampled): sampled has to be true, false or nil, not a ' .. type(sampled))
  end
  return take(req, view_of(req), function()
    return { trace_id = new_id(16), sampled = sampled ~= false, flags = sampled == false and 2 or 3 }
  end)
end

return members.strict(_M, 'moonring.trace')
