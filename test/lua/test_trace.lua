local expect = require 'expect'
local trace = require 'moonring.trace'

local cases = {}

local TRACE, SPAN = '0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'
local TEXT = '00-' .. TRACE .. '-' .. SPAN .. '-01'

function cases.valid_fields()
  expect.equal(trace.parse(TEXT), { trace_id = TRACE, parent_id = SPAN, sampled = true, flags = 1 })
  expect.equal(trace.parse(TEXT:sub(1, -2) .. '2').sampled, false)
  expect.equal(trace.parse(TEXT:sub(1, -3) .. 'ff').flags, 3)
  -- A later version may have more after the known fields.
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

return cases
