-- W3C Trace Context: trace.read(req) gives the trace that a request belongs to, trace.begin(req) makes
-- one where there is none; http.fetch(url, { trace = context }) passes it on.
local crypto = require 'moonring.crypto'
local members = require 'moonring.members'
local raise = require('moonring.failure').raise

local find, format, match, rep, sub = string.find, string.format, string.match, string.rep,
  string.sub
local concat, tonumber, type = table.concat, tonumber, type

local _M = {}

-- version "-" trace "-" parent "-" flags
local LENGTH = 55
local FIRST_VERSION, INVALID_VERSION = '00', 'ff'
local NO_TRACE, NO_SPAN = rep('0', 32), rep('0', 16)
-- What tracestate has to fit into to be passed on (§3.3.1.5).
local STATE_LENGTH = 512

-- The trace_id, parent_id, whether it is sampled, and the flags of a traceparent field; nil and what
-- is wrong with it.
function _M.parse(text)
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
    -- Those that are known: sampled, and random trace ids.
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

-- With a span of this request's own, the parent of what it asks others for.
local function with_span(context)
  context.span_id = new_id(8)
  context.traceparent = format('00-%s-%s-%02x', context.trace_id, context.span_id, context.flags)
  return context
end

local function state_of(req)
  local state = concat(req:header_values 'tracestate', ',')
  return state ~= '' and #state <= STATE_LENGTH and not find(state, '[^\32-\126]') and state or nil
end

-- The trace of a request: trace_id, parent_id (the caller's span), span_id (one of this request's
-- own, new in each call), sampled, traceparent and tracestate as they are passed on. nil if it has
-- no traceparent, several, or one that is not valid.
function _M.read(req)
  local fields = req:header_values 'traceparent'
  local context = #fields == 1 and _M.parse(fields[1])
  if not context then
    return nil
  end
  context.tracestate = state_of(req)
  return with_span(context)
end

-- The same, or a new trace, without parent_id, where there is none. `sampled`: whether a new one is
-- to be recorded, true if it is nil.
function _M.begin(req, sampled)
  if sampled ~= nil and type(sampled) ~= 'boolean' then
    raise('trace.begin(req, sampled): sampled has to be true, false or nil, not a ' .. type(sampled))
  end
  local flags = sampled == false and 2 or 3
  return _M.read(req)
    or with_span { trace_id = new_id(16), sampled = sampled ~= false, flags = flags }
end

return members.strict(_M, 'moonring.trace')
