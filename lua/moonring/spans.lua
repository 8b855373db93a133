-- Spans of handlers' calls to other servers: with --otlp, and if the request is sampled, each call is a child
-- of the request's span. Otherwise `begin` costs one call into C. Names follow OpenTelemetry's conventions;
-- the exporter passes them on.
local ffi = require 'ffi'
local api = require 'moonring.abi'
local failure = require 'moonring.failure'
local json_text = require 'moonring.json_text'
local native = require 'moonring.native'

local error, match, pairs, pcall, sub, type = error, string.match, pairs, pcall, string.sub, type
local concat = table.concat
local quote, number_text = json_text.quote, json_text.number

local VERSION = 1

ffi.cdef(native.spans_abi)

local calls = ffi.cast('const hs_lua_spans_api_t *', native.spans)
if calls.version ~= VERSION or calls.span_size ~= ffi.sizeof 'hs_lua_span_t' then
  error 'spans and the server do not fit together: install them from one version'
end

local span_t = ffi.typeof 'hs_lua_span_t'
local ffi_string = ffi.string

local _M = {}

-- A line is lost if it does not fit into 4 KiB (exec/hs_span_log.h).
local TEXT_MAX, ERROR_MAX = 1024, 64
-- The position of the span id in a traceparent.
local SPAN_AT, SPAN_END = 37, 52

local begun = span_t()

-- The span of a call that starts now; nil: the call has none.
function _M.begin()
  if calls.begin(api.request, begun) == 0 then
    return nil
  end
  return span_t(begun)
end

-- `traceparent`, with its parent replaced by the span if it is the same trace.
function _M.adopt(span, traceparent)
  local own = ffi_string(span.traceparent)
  if sub(own, 1, SPAN_AT - 1) ~= sub(traceparent, 1, SPAN_AT - 1) then
    return traceparent
  end
  return sub(traceparent, 1, SPAN_AT - 1) .. sub(own, SPAN_AT, SPAN_END) .. sub(traceparent, SPAN_END + 1)
end

local function text_of(value)
  if type(value) == 'number' then
    return number_text(value)
  end
  return quote(#value > TEXT_MAX and sub(value, 1, TEXT_MAX) .. '…' or value)
end

-- Ends the call. `attributes`: texts and numbers by name. `problem`: why it failed, cut at a colon: the rest
-- differs from call to call, and may contain values. nil: it did not fail.
function _M.finish(span, name, attributes, problem)
  if problem then
    attributes['error.type'] = sub(match(problem, '^[^:]*'), 1, ERROR_MAX)
  end
  local out = {}
  for key, value in pairs(attributes) do
    out[#out + 1] = quote(key) .. ':' .. text_of(value)
  end
  local text = '"name":' .. text_of(name) .. ',"attributes":{' .. concat(out, ',') .. '}'
  calls.finish(span, text, #text)
end

-- The server of a call: a host and a port, or the path of a Unix socket.
function _M.set_server(attributes, host, port, path)
  attributes['server.address'] = path or host
  attributes['server.port'] = not path and port or nil
  attributes['network.transport'] = path and 'unix' or nil
end

-- The error raised by a call, as an error type.
function _M.raised(value)
  return failure.is(value) and value.code or 'error'
end

local function ended(span, name, attributes, ok, ...)
  local value, problem = ...
  local code
  if not ok then
    code = _M.raised(value)
  elseif value == nil and type(problem) == 'table' then
    code = problem.sqlstate or problem.code
    attributes['db.response.status_code'] = (problem.sqlstate or problem.is_reply) and code or nil
  end
  _M.finish(span, name, attributes, code)
  if not ok then
    error(value, 0)
  end
  return ...
end

-- Runs fn(...), a call to a database that returns nil and an error when it fails. Its results.
function _M.run(span, name, attributes, fn, ...)
  return ended(span, name, attributes, pcall(fn, ...))
end

return _M
