local expect = require 'expect'
local members = require 'moonring.members'

local cases = {}

local MEMBERS = { { status = 1, header = 1, body = 1, send = 1 }, { method = 1, url = 1, id = 1 } }

local function message_of(key)
  return members.unknown('res', key, MEMBERS)
end

function cases.a_misspelt_member_names_the_nearest()
  for key, meant in pairs {
    stauts = 'status', Status = 'status', bdoy = 'body', heder = 'header', headers = 'header', sned = 'send',
    mehtod = 'method', URL = 'url', set_status = 'status', sendJson = 'send',
  } do
    expect.equal(message_of(key), ('res has no member "%s": did you mean "%s"?'):format(key, meant))
  end
end

function cases.other_words_are_only_named()
  for _, key in ipairs { 'params', 'x', '', 'redirect_to', ('status'):rep(100) } do
    expect.equal(message_of(key), ('res has no member "%s"'):format(key))
  end
  expect.equal(message_of(7), 'res has no member "7"')
  expect.equal(message_of(true), 'res has no member "true"')
end

function cases.modules_raise_at_the_line_that_asks()
  for _, name in ipairs { 'json', 'forms', 'cookies', 'query', 'percent', 'multipart', 'log', 'http',
    'socket', 'url' } do
    local module = require('moonring.' .. name)
    local message = expect.raises(('moonring.%s has no member "nonsense"'):format(name), function()
      return module.nonsense()
    end)
    expect.equal(message:match 'test_members.lua:%d' ~= nil, true)
  end
  expect.raises('did you mean "encode"?', function() require('moonring.json').ecnode {} end)
  expect.raises('moonring has no member "slep": did you mean "sleep"?', function() moonring.slep(1) end)
  expect.raises('did you mean "cookies"?', function() return moonring.cookie end)
end

return cases
