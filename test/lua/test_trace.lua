local expect = require 'expect'
local trace = require 'moonring.trace'

local cases = {}

local TRACE, SPAN = '0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'
local TEXT = '00-' .. TRACE .. '-' .. SPAN .. '-01'

local function request_with(fields)
  return { header_values = function(_, name)
    return fields[name] or {}
  end }
end

function cases.valid_fields()
  expect.equal(trace.parse(TEXT), { trace_id = TRACE, parent_id = SPAN, sampled = true, flags = 1 })
  expect.equal(trace.parse(TEXT:sub(1, -2) .. '2').sampled, false)
  expect.equal(trace.parse(TEXT:sub(1, -3) .. 'ff').flags, 3)
  -- A later version may say more behind what is known.
  expect.equal(trace.parse('cc' .. TEXT:sub(3) .. '-more').trace_id, TRACE)
  expect.equal(trace.parse('01' .. TEXT:sub(3)).trace_id, TRACE)
end

function cases.fields_that_are_not_valid()
  for text, problem in pairs {
    [''] = 'form', ['00'] = 'form', [TEXT:sub(1, -2)] = 'form', [' ' .. TEXT] = 'form',
    [TEXT .. '-more'] = 'too long', [TEXT .. '0'] = 'too long', [TEXT .. ' '] = 'too long',
    ['ff' .. TEXT:sub(3)] = 'version ff', ['01' .. TEXT:sub(3) .. 'x'] = 'too long',
    ['00-' .. ('0'):rep(32) .. '-' .. SPAN .. '-01'] = 'zero',
    ['00-' .. TRACE .. '-' .. ('0'):rep(16) .. '-01'] = 'zero',
    [TEXT:upper()] = 'capital', ['00-' .. TRACE:sub(2) .. '-' .. SPAN .. '-01'] = 'form',
    ['00-' .. TRACE .. '-' .. SPAN .. '0-01'] = 'form', [TEXT:gsub('b7', 'g7', 1)] = 'form',
  } do
    expect.failure(problem, trace.parse(text))
  end
end

function cases.a_request_goes_on_with_its_trace()
  local req = request_with { traceparent = { TEXT }, tracestate = { 'a=1', 'b=2' } }
  local context = trace.read(req)
  expect.equal({ context.trace_id, context.parent_id, context.sampled, context.tracestate },
    { TRACE, SPAN, true, 'a=1,b=2' })
  expect.equal(context.span_id:match '^%x+$' and #context.span_id, 16)
  expect.equal(context.span_id ~= SPAN, true)
  expect.equal(context.traceparent, '00-' .. TRACE .. '-' .. context.span_id .. '-01')
  expect.equal(trace.begin(req, false).trace_id, TRACE)
  expect.equal(trace.begin(req, false).sampled, true)
end

function cases.none_is_made_unless_asked_for()
  for _, fields in ipairs { {}, { traceparent = { TEXT, TEXT } }, { traceparent = { 'nonsense' } } } do
    fields.tracestate = { 'a=1' }
    local req = request_with(fields)
    expect.equal(trace.read(req), nil)
    local context = trace.begin(req)
    expect.equal({ context.parent_id == nil, context.tracestate == nil, context.sampled },
      { true, true, true })
    expect.equal(trace.parse(context.traceparent).trace_id, context.trace_id)
    expect.equal(trace.begin(req).trace_id ~= context.trace_id, true)
    expect.equal(trace.begin(req, false).traceparent:sub(-2), '02')
  end
  expect.raises('sampled has to be true, false or nil, not a number', trace.begin, request_with {}, 1)
end

function cases.a_tracestate_that_is_too_long_or_broken_is_left_out()
  for _, state in ipairs { ('a'):rep(513), 'a=\1', 'a=\255', '' } do
    local context = trace.read(request_with { traceparent = { TEXT }, tracestate = { state } })
    expect.equal(context.tracestate, nil)
  end
end

return cases
