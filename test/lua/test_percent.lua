local expect = require 'expect'
local percent = require 'moonring.percent'

local cases = {}

function cases.escapes_of_any_case_are_decoded()
  expect.equal(percent.decode 'a%20b%2fc%2Fd%c3%A9', 'a b/c/d\195\169')
  expect.equal(percent.decode '%00%fF%Ff', '\0\255\255')
  expect.equal(percent.decode '%2520', '%20')
  expect.equal(percent.decode '', '')
  expect.equal(percent.decode 'a+b', 'a+b')
end

function cases.malformed_escapes_are_nil()
  for _, text in ipairs { '%', 'a%', '%2', '%2g', '%g2', '%%20', '%20%', '%\0\0', 'a%4' } do
    expect.equal(percent.decode(text), nil)
  end
end

function cases.everything_but_the_unreserved_is_encoded()
  expect.equal(percent.encode 'AZaz09-._~', 'AZaz09-._~')
  expect.equal(percent.encode ' /%+\0\255', '%20%2F%25%2B%00%FF')
end

function cases.decoding_undoes_encoding()
  local all = {}
  for code = 0, 255 do
    all[#all + 1] = string.char(code)
  end
  local text = table.concat(all)
  expect.equal(percent.decode(percent.encode(text)), text)
end

function cases.long_texts_take_linear_time()
  expect.linear(function(length) return ('%41'):rep(length / 3) end, percent.decode)
  expect.linear(function(length) return ('%'):rep(length) end, percent.decode)
  expect.linear(function(length) return ('%4'):rep(length / 2) end, percent.decode)
  expect.linear(function(length) return (' '):rep(length) end, percent.encode)
end

return cases
