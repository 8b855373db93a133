-- moonring.crypto with published test vectors: FIPS 180-4 (the examples of NIST), RFC 4231, RFC 2202,
-- RFC 4648. test/e2e/crypto-agrees-with-node.test.ts compares the results with node's.
local expect = require 'expect'
local crypto = require 'moonring.crypto'

local cases = {}

-- Name of the digest -> text -> hex.
local DIGESTS = {
  sha1 = {
    [''] = 'da39a3ee5e6b4b0d3255bfef95601890afd80709',
    abc = 'a9993e364706816aba3e25717850c26c9cd0d89d',
  },
  sha256 = {
    [''] = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq =
      '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
  },
  sha384 = {
    abc = 'cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163'
      .. '1a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7',
  },
  sha512 = {
    abc = 'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a'
      .. '2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
  },
}

for name, vectors in pairs(DIGESTS) do
  cases[name .. '_of_the_examples_of_nist'] = function()
    for text, hex in pairs(vectors) do
      expect.equal(crypto[name](text, 'hex'), hex)
      expect.equal(crypto.hex_encode(crypto[name](text)), hex)
    end
  end
end

function cases.a_million_letters()
  expect.equal(crypto.sha256(('a'):rep(1000000), 'hex'),
    'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0')
end

-- RFC 4231 §4: key, data, and the results of SHA-256 and SHA-512.
local HMACS = {
  { ('\11'):rep(20), 'Hi There',
    'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
    '87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde'
      .. 'daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854' },
  { 'Jefe', 'what do ya want for nothing?',
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    '164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554'
      .. '9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737' },
  { ('\170'):rep(20), ('\221'):rep(50),
    '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe',
    'fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39'
      .. 'bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb' },
  { ('\170'):rep(131), 'Test Using Larger Than Block-Size Key - Hash Key First',
    '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
    '80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352'
      .. '6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598' },
}

function cases.hmac_of_rfc_4231()
  for _, vector in ipairs(HMACS) do
    expect.equal(crypto.hmac('sha256', vector[1], vector[2], 'hex'), vector[3])
    expect.equal(crypto.hmac('sha512', vector[1], vector[2], 'hex'), vector[4])
    expect.equal(crypto.hex_encode(crypto.hmac('sha256', vector[1], vector[2])), vector[3])
  end
  expect.equal(crypto.hmac('sha384', 'Jefe', 'what do ya want for nothing?', 'hex'),
    'af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e'
      .. '8e2240ca5e69e2c78b3239ecfab21649')
end

function cases.hmac_of_rfc_2202()
  expect.equal(crypto.hmac('sha1', 'Jefe', 'what do ya want for nothing?', 'hex'),
    'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79')
end

-- A key that is reused is not mixed up with another, even after a shorter one and an empty one.
function cases.keys_do_not_stay()
  local first = crypto.hmac('sha256', 'a long key', 'data', 'hex')
  expect.equal(crypto.hmac('sha256', '', '', 'hex'),
    'b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad')
  expect.equal(crypto.hmac('sha256', 'a', 'data', 'hex') ~= first, true)
  expect.equal(crypto.hmac('sha256', 'a long key', 'data', 'hex'), first)
end

function cases.encodings_of_digests()
  expect.equal(crypto.sha256('abc', 'base64'), 'ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=')
  expect.equal(crypto.sha256('abc', 'base64url'), 'ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0')
  expect.raises("the encoding has to be 'hex', 'base64' or 'base64url', or nil for bytes, not HEX",
    crypto.sha256, 'abc', 'HEX')
end

local TEXTS = {
  { '', '', '' },
  { 'f', 'Zg==', 'Zg' }, { 'fo', 'Zm8=', 'Zm8' }, { 'foo', 'Zm9v', 'Zm9v' },
  { 'foob', 'Zm9vYg==', 'Zm9vYg' }, { 'fooba', 'Zm9vYmE=', 'Zm9vYmE' },
  { 'foobar', 'Zm9vYmFy', 'Zm9vYmFy' }, { '\251\255\254', '+//+', '-__-' },
}

function cases.base64_of_rfc_4648()
  for _, text in ipairs(TEXTS) do
    expect.equal(crypto.base64_encode(text[1]), text[2])
    expect.equal(crypto.base64_decode(text[2]), text[1])
    expect.equal(crypto.base64url_encode(text[1]), text[3])
    expect.equal(crypto.base64url_decode(text[3]), text[1])
  end
end

function cases.texts_that_an_encoder_would_not_make_are_refused()
  local at = 'wrong character at position '
  for text, problem in pairs {
    ['Zg'] = 'ends too early', ['Zg='] = 'ends too early', ['Z'] = 'ends too early',
    ['Zg=='] = false, ['Zh=='] = at .. 2, ['Zm9='] = at .. 3, ['Zg==Zg=='] = at .. 3,
    ['===='] = at .. 1, ['Zm9v\n'] = at .. 5, ['Zm 9'] = at .. 3, ['Zm9-'] = at .. 4,
    ['Zm9v='] = 'ends too early', ['Zm9v===='] = at .. 5, ['A==='] = at .. 2, ['\0AAA'] = at .. 1,
    ['Zm9\255'] = at .. 4,
  } do
    if problem then
      expect.failure(problem, crypto.base64_decode(text))
    else
      expect.equal(crypto.base64_decode(text), 'f')
    end
  end
  for text, problem in pairs { ['Zg=='] = at .. 3, ['Zh'] = at .. 2, ['A'] = 'ends too early',
    ['Zm9+'] = at .. 4, ['Zm9/'] = at .. 4 } do
    expect.failure(problem, crypto.base64url_decode(text))
  end
  for text, problem in pairs { ['0'] = 'ends too early', ['0g'] = at .. 2, ['00 '] = at .. 3 } do
    expect.failure(problem, crypto.hex_decode(text))
  end
end

function cases.hex_in_both_cases()
  expect.equal(crypto.hex_encode '\0\1\171\255', '0001abff')
  expect.equal(crypto.hex_decode '0001aBFf', '\0\1\171\255')
  expect.equal(crypto.hex_decode '', '')
end

function cases.what_was_encoded_is_decoded()
  for length = 0, 300 do
    local data = crypto.random(length)
    expect.equal(#data, length)
    for _, name in ipairs { 'hex', 'base64', 'base64url' } do
      expect.equal(crypto[name .. '_decode'](crypto[name .. '_encode'](data)), data)
      expect.equal(crypto[name .. '_decode'](crypto.random(length, name)) ~= nil, true)
    end
  end
end

function cases.random_differs()
  local seen = {}
  for _ = 1, 1000 do
    local text = crypto.random(16)
    expect.equal(seen[text], nil)
    seen[text] = true
  end
  expect.equal(#crypto.random(1024 * 1024), 1024 * 1024)
  for _, length in ipairs { -1, 1.5, 1024 * 1024 + 1, '16', 0 / 0, {} } do
    expect.raises('crypto.random: the length has to be a whole number from 0 to 1048576',
      crypto.random, length)
  end
end

function cases.equal()
  expect.equal(crypto.equal('', ''), true)
  expect.equal(crypto.equal('abc', 'abc'), true)
  expect.equal(crypto.equal('abc', 'abd'), false)
  expect.equal(crypto.equal('abc', 'abcd'), false)
  expect.equal(crypto.equal('a\0b', 'a\0c'), false)
  expect.raises('crypto.equal: the second value has to be a string, not nil', crypto.equal, 'a')
end

function cases.uuids()
  local seen = {}
  for _ = 1, 1000 do
    local uuid = crypto.uuid4()
    expect.equal(#uuid, 36)
    expect.equal(uuid:match '^%x+%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x+$', uuid)
    expect.equal(seen[uuid], nil)
    seen[uuid] = true
  end
end

function cases.uuids_of_version_7_are_in_order()
  local before = os.time() * 1000
  local last = ''
  for _ = 1, 20000 do -- more than 4096 per millisecond
    local uuid = crypto.uuid7()
    if uuid <= last then
      error(uuid .. ' follows ' .. last)
    end
    last = uuid
  end
  expect.equal(last:match '^%x+%-%x%x%x%x%-7%x%x%x%-[89ab]%x%x%x%-%x+$', last)
  local ms = tonumber(last:sub(1, 8) .. last:sub(10, 13), 16)
  expect.equal(ms >= before and ms < before + 60000, true)
end

function cases.arguments_of_the_wrong_type_name_the_function()
  local message = expect.raises('crypto.sha256: the data has to be a string, not nil', function()
    crypto.sha256()
  end)
  expect.equal(message:match '^[^:]*test_crypto%.lua:%d+:' ~= nil, true)
  expect.raises('crypto.sha1: the data has to be a string, not a number', crypto.sha1, 1)
  expect.raises('crypto.hmac: the key has to be a string, not nil', crypto.hmac, 'sha256', nil, 'a')
  expect.raises('crypto.hmac: the data has to be a string, not a table', crypto.hmac, 'sha256', 'k',
    {})
  expect.raises("the algorithm has to be 'sha1', 'sha256', 'sha384' or 'sha512', not md5",
    crypto.hmac, 'md5', 'key', 'data')
  expect.raises('crypto.base64_decode: the text has to be a string, not a boolean',
    crypto.base64_decode, true)
end

return cases
