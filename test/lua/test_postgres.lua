-- moonring.postgres without a server: options, values, messages, logins.
local auth = require 'moonring.postgres_auth'
local errors = require 'moonring.postgres_error'
local expect = require 'expect'
local json = require 'moonring.json'
local options_of = require 'moonring.postgres_options'
local postgres = require 'moonring.postgres'
local types = require 'moonring.postgres_types'
local wire = require 'moonring.postgres_wire'

local cases = {}

-- ---- Options. ----

local function read(options)
  local all = options_of.read(options)
  return { all.user, all.password, all.host, all.port, all.path, all.database, all.sslmode }
end

function cases.urls()
  expect.equal(read 'postgres://u:p%40x@db.example:6432/app?sslmode=require',
    { 'u', 'p@x', 'db.example', 6432, nil, 'app', 'require' })
  expect.equal(read 'postgresql://u@[::1]/', { 'u', nil, '::1', 5432, nil, 'u', 'disable' })
  expect.equal(read 'postgres://u:@h', { 'u', '', 'h', 5432, nil, 'u', 'verify-full' })
  expect.equal(read 'postgres://u@/app?host=/run/postgresql&port=5433',
    { 'u', nil, 'localhost', 5433, '/run/postgresql/.s.PGSQL.5433', 'app', 'disable' })
  expect.equal(read 'postgres://u@%2Frun%2Fpg/app',
    { 'u', nil, 'localhost', 5432, '/run/pg/.s.PGSQL.5432', 'app', 'disable' })
  local all = options_of.read('postgres://u@h/?sslrootcert=/ca.pem&pool_size=3&timeout=2.5'
    .. '&search_path=a%20b&prepare=false&connect_timeout=1')
  expect.equal({ all.tls, all.pool.size, all.timeout, all.parameters, all.prepare,
    all.connect_timeout }, { { ca = '/ca.pem' }, 3, 2.5, { search_path = 'a b' }, false, 1 })
end

function cases.tls_is_verified_unless_it_is_said_otherwise()
  local function tls(query)
    local all = options_of.read('postgres://u@h/' .. query)
    return { all.sslmode, all.tls }
  end
  expect.equal(tls '', { 'verify-full', {} })
  expect.equal(tls '?sslmode=verify-ca', { 'verify-ca', {} })
  expect.equal(tls '?sslmode=require', { 'require', { verify = false } })
  expect.equal(tls '?sslmode=require&sslrootcert=/ca', { 'require', { verify = true, ca = '/ca' } })
  expect.equal(tls '?sslmode=prefer', { 'prefer', { verify = false } })
  expect.equal(tls '?sslmode=disable', { 'disable', nil })
end

function cases.mistakes_in_options_are_raised()
  for words, options in pairs {
    ['begins with postgres://'] = 'mysql://u@h/d',
    ['no host or port that is one'] = 'postgres://u@h:port/d',
    ['no name=value'] = 'postgres://u@h/d?x',
    ['a table of options, not a number'] = 5,
    ['did you mean "password"'] = { user = 'u', pasword = 'x' },
    ['did you mean "max_age"'] = { user = 'u', pool = { maxage = 1 } },
    ['port is a number from 1 to 65535'] = { user = 'u', port = 70000 },
    ['the user is missing'] = { host = 'h' },
    ['pool.size is 1 or more'] = { user = 'u', pool = { size = 0 } },
    ['timeout is a number, 0 or more, not -1'] = { user = 'u', timeout = -1 },
    ['max_rows is a whole number'] = { user = 'u', max_rows = 1.5 },
    ['sslmode is disable'] = { user = 'u', sslmode = 'allow' },
    ['user holds a NUL byte'] = { user = 'u\0database\0x' },
    ['parameters has names and values'] = { user = 'u', parameters = { a = 1 } },
    ["prepare is 'auto'"] = { user = 'u', prepare = 'x' },
    ['the password in the URL is not percent-encoded'] = 'postgres://u:%zz@h/d',
    ['tls has no member "verify"'] = { user = 'u', tls = { verify = false } },
    ['tls.ca is a string, not a boolean'] = { user = 'u', tls = { ca = true } },
  } do
    expect.raises(words, postgres.connect, options)
    local _, problem = pcall(function()
      local pool = postgres.connect(options)
      return pool, 1
    end)
    expect.equal(problem:match '^[^:]*test_postgres.lua:%d+: postgres.connect: ' ~= nil, true)
  end
end

-- ---- Values. ----

local function decoded(oid, shown, is_binary)
  local read_value = types.reader(oid, is_binary)
  -- In the middle of other bytes, as in a row.
  return read_value('??' .. shown .. '??', 3, 2 + #shown)
end

function cases.values_as_text()
  for _, case in ipairs {
    { 16, 't', true }, { 16, 'f', false }, { 21, '-7', -7 }, { 20, '9007199254740991', 2 ^ 53 - 1 },
    { 20, '9007199254740992', '9007199254740992' }, { 20, '-9007199254740993', '-9007199254740993' },
    { 701, '-Infinity', -math.huge },
    { 701, '1e300', 1e300 }, { 1700, '1.10', '1.10' }, { 25, '', '' }, { 17, '\\x00ff', '\0\255' },
    { 17, 'a\\\\b\\001', 'a\\b\1' }, { 114, '{"a":[]}', { a = {} } }, { 1184, 'infinity', 'infinity' },
    { 99999, 'own', 'own' },
  } do
    expect.equal(decoded(case[1], case[2]), case[3])
  end
  expect.equal(decoded(20, '9223372036854775807'), '9223372036854775807')
  expect.equal(decoded(20, '-9223372036854775808'), '-9223372036854775808')
  local nan = decoded(701, 'NaN')
  expect.equal(nan ~= nan, true)
  for _, case in ipairs { { 16, 'x' }, { 23, '1x' }, { 20, '' }, { 17, '\\xz' }, { 114, '{' } } do
    expect.equal((decoded(case[1], case[2])), nil)
  end
end

function cases.values_in_binary()
  local ones, top = ('\255'):rep(8), '\127' .. ('\255'):rep(7)
  for _, case in ipairs {
    { 16, '\1', true }, { 16, '\0', false }, { 21, '\255\254', -2 }, { 21, '\1\2', 258 },
    { 23, '\255\255\255\255', -1 }, { 23, '\127\255\255\255', 2147483647 },
    { 26, '\255\255\255\255', 4294967295 }, { 20, ones, -1 },
    { 20, '\0\31' .. ('\255'):rep(6), 2 ^ 53 - 1 }, { 20, '\255\224' .. ('\0'):rep(6), '-9007199254740992' },
    { 20, '\0\32' .. ('\0'):rep(6), '9007199254740992' },
    { 20, top, '9223372036854775807' }, { 20, '\128' .. ('\0'):rep(7), '-9223372036854775808' },
    { 701, '\63\240\0\0\0\0\0\0', 1 }, { 701, '\127\240\0\0\0\0\0\0', math.huge },
    { 17, '\0x', '\0x' },
  } do
    expect.equal(decoded(case[1], case[2], true), case[3])
  end
  local nan = decoded(701, '\127\248' .. ('\0'):rep(6), true)
  expect.equal(nan ~= nan, true)
  for _, oid in ipairs { 16, 20, 21, 23, 26, 701 } do
    expect.equal(decoded(oid, '\1\2\3', true), nil)
    expect.equal(decoded(oid, '', true), nil)
  end
end

function cases.arrays()
  local null = postgres.null
  for _, case in ipairs {
    { 1007, '{}', {} }, { 1007, '{1,NULL,-3}', { 1, null, -3 } },
    { 1007, '{{1,2},{3,4}}', { { 1, 2 }, { 3, 4 } } }, { 1007, '[0:1]={1,2}', { 1, 2 } },
    { 1009, '{a,"b,c","d\\"e\\\\","",NULL,"NULL"}', { 'a', 'b,c', 'd"e\\', '', null, 'NULL' } },
    { 1000, '{t,f}', { true, false } }, { 3807, '{"{\\"a\\": 1}"}', { { a = 1 } } },
    { 1231, '{1.10}', { '1.10' } }, { 1001, '{"\\\\x00"}', { '\0' } },
  } do
    expect.equal(decoded(case[1], case[2]), case[3])
  end
  expect.equal(json.encode(decoded(1007, '{}')), '[]')
  for _, wrong in ipairs { '', '{', '{1', '{1,', '{1,}', '{1}x', '{{1}', '1', '{"a}', '{"a\\', '[', '{,}',
    ('{'):rep(1000), ('{'):rep(7) .. '1' .. ('}'):rep(7) } do
    expect.equal((decoded(1007, wrong)), nil)
  end
end

function cases.parameters()
  for _, case in ipairs {
    { 1, 23, '1' }, { 2 ^ 53, 20, '9007199254740992' }, { 1e15, 20, '1000000000000000' },
    { -2 ^ 63, 20, '-9223372036854775808' }, { 1e30, 1700, '1e+30' },
    { { n = 3, 1, nil, 3 }, 1007, '{"1",NULL,"3"}' }, { 0.1, 701, '0.1' }, { true, 16, 'true' },
    { 'x', 25, 'x' }, { nil, 25, false }, { postgres.null, 25, false }, { -1 / 0, 701, '-Infinity' },
    { 9223372036854775807LL, 20, '9223372036854775807' }, { '\0', 17, '\0' },
    { { a = 1 }, 3802, '{"a":1}' }, { '{"raw":1}', 3802, '{"raw":1}' }, { 5, 114, '5' },
    { { 1, 2 }, 1007, '{"1","2"}' }, { { 'a"b', 'c\\', postgres.null }, 1009, '{"a\\"b","c\\\\",NULL}' },
    { { { 1 }, { 2 } }, 1007, '{{"1"},{"2"}}' }, { {}, 1009, '{}' },
    { postgres.array { 'happy' }, 99999, '{"happy"}' }, { postgres.json 'x', 25, '"x"' },
    { postgres.bytea '\255', 25, '\\xff' }, { postgres.bytea '\255', 17, '\255' },
    { { '\0' }, 1001, '{"\\\\x00"}' }, { { { a = 1 } }, 3807, '{"{\\"a\\":1}"}' },
  } do
    expect.equal(types.encode(case[1], case[2]), case[3])
  end
  local loop = {}
  loop[1] = loop
  for _, case in ipairs { { {}, 25 }, { print, 25 }, { 5, 17 }, { loop, 1007 }, { { print }, 1007 },
    { { a = print }, 114 }, { postgres.bytea(5), 17 }, { { a = 1 }, 1007 }, { { 1, nil, 3 }, 1007 },
    { { 1, x = 2 }, 1007 }, { { [0.5] = 1 }, 1007 }, { postgres.array(5), 1007 } } do
    local value, problem = types.encode(case[1], case[2])
    expect.equal({ value, type(problem) }, { nil, 'string' })
  end
end

function cases.what_an_array_becomes_is_what_it_was()
  local seed = 7
  local function random(limit)
    seed = (seed * 16807) % 2147483647
    return seed % limit + 1
  end
  local bytes = { '"', '\\', ',', '{', '}', 'a', ' ', 'NULL', '\n', 'é' }
  for _ = 1, 5000 do
    local list = {}
    for i = 1, random(4) do
      local parts = {}
      for j = 1, random(4) - 1 do
        parts[j] = bytes[random(#bytes)]
      end
      list[i] = table.concat(parts)
    end
    expect.equal(decoded(1009, types.encode(list, 1009)), list)
  end
end

function cases.times()
  for shown, seconds in pairs {
    ['1970-01-01'] = 0, ['2000-03-01'] = 951868800, ['1969-12-31 23:59:59'] = -1,
    ['2026-01-02 03:04:05.678+00'] = 1767323045.678, ['2026-01-02 03:04:05+05:30'] = 1767303245,
    ['2026-01-02T03:04:05-02'] = 1767330245, ['1900-01-01 00:00:00+00:53:28'] = -2208992008,
  } do
    expect.equal(postgres.epoch(shown), seconds)
  end
  for _, shown in ipairs { 'infinity', '', '2026-01', '2026-01-02 25', '2026-01-02 03:04:05+x' } do
    expect.equal(postgres.epoch(shown), nil)
  end
  expect.equal(postgres.timestamp(1767323045.678), '2026-01-02 03:04:05.678000+00')
  expect.equal(postgres.timestamp(-1), '1969-12-31 23:59:59.000000+00')
  expect.equal(postgres.timestamp(-62135596800), '0001-01-01 00:00:00.000000+00')
  for _, wrong in ipairs { 0 / 0, 1 / 0, 1e12, -62135596801, 'x' } do
    expect.raises('takes seconds since 1970', postgres.timestamp, wrong)
  end
  for seconds = -3e10, 3e10, 86400 * 997.123 do
    local back = postgres.epoch(postgres.timestamp(seconds))
    expect.equal(math.abs(back - seconds) < 1e-4, true)
  end
end

function cases.what_takes_no_parameter_is_quoted()
  expect.equal(postgres.quote_name 'a"b', '"a""b"')
  expect.equal(postgres.quote_text "it's", "'it''s'")
  expect.equal(postgres.quote_text "a\\'", " E'a\\\\'''")
  expect.raises('takes a name', postgres.quote_name, '')
  expect.raises('without NUL', postgres.quote_text, 'a\0')
end

-- ---- Messages. ----

local function message(kind, content)
  return kind .. wire.int32(#content + 4) .. content
end

function cases.messages_are_found_at_every_split_point()
  local stream = message('Z', 'I') .. message('C', 'SELECT 1\0') .. message('D', ('x'):rep(300))
    .. message('n', '')
  local function read_all(pieces)
    local reader, found = wire.reader(1000), {}
    for _, piece in ipairs(pieces) do
      reader:feed(piece)
      while true do
        local kind, from, last = reader:next()
        if not kind then
          assert(from and from > 0, last)
          break
        end
        found[#found + 1] = string.char(kind) .. reader.data:sub(from, last)
      end
    end
    expect.equal(reader:unread(), 0)
    return found
  end
  local expected = { 'ZI', 'CSELECT 1\0', 'D' .. ('x'):rep(300), 'n' }
  for split = 0, #stream do
    expect.equal(read_all { stream:sub(1, split), stream:sub(split + 1) }, expected)
  end
  local bytes = {}
  for i = 1, #stream do
    bytes[i] = stream:sub(i, i)
  end
  expect.equal(read_all(bytes), expected)
end

function cases.what_is_missing_of_a_message_is_known()
  local reader = wire.reader(100)
  expect.equal({ reader:next() }, { nil, 5 })
  reader:feed 'D'
  expect.equal({ reader:next() }, { nil, 4 })
  reader:feed(wire.int32(50) .. 'ab')
  expect.equal({ reader:next() }, { nil, 44 })
end

function cases.lengths_have_bounds()
  for _, case in ipairs { { 3, 'a message is shorter than its head' }, { 0, 'a message is shorter than its head' },
    { 101, 'too long' }, { -1, 'too long' } } do
    local reader = wire.reader(100)
    reader:feed('D' .. wire.int32(case[1]))
    expect.equal({ select(3, reader:next()) }, { case[2] })
  end
end

function cases.an_error_has_its_fields()
  local content = 'SERROR\0VERROR\0C23505\0Mduplicate\0Ddetail\0nconstraint_1\0P7\0Zx\0\0'
  local failure = errors.of_server(wire.error_fields(content, 1, #content))
  expect.equal({ failure.code, failure.sqlstate, failure.message, failure.detail,
    failure.constraint, failure.position, failure.severity }, { 'unique_violation', '23505', 'duplicate', 'detail',
    'constraint_1', 7, 'ERROR' })
  expect.equal(tostring(failure), 'postgres: duplicate (unique_violation, 23505, at character 7)')
  expect.equal(postgres.is_error(failure), true)
  expect.equal(postgres.is_error 'x', false)
  expect.equal(tostring(errors.of_socket 'certificate: expired'), 'postgres: certificate: expired')
  expect.equal(errors.of_socket('certificate: expired').code, 'certificate')
end

-- Every function that parses content, with valid content.
local PARSERS = {
  { wire.row_description, wire.int16(1) .. 'n\0' .. wire.int32(1) .. wire.int16(1) .. wire.int32(23)
    .. wire.int16(4) .. wire.int32(-1) .. wire.int16(1) },
  { wire.parameters, wire.int16(2) .. wire.int32(23) .. wire.int32(25) },
  { wire.error_fields, 'SERROR\0C42601\0Mno\0\0' },
  { wire.command_complete, 'INSERT 0 5\0' },
  { wire.authentication, wire.int32(5) .. 'salt' },
  { wire.backend_key, wire.int32(77) .. 'key!' },
  { wire.parameter_status, 'name\0value\0' },
  { wire.notification, wire.int32(1) .. 'channel\0payload\0' },
  { wire.ready, 'T' },
  { function(data, from, to)
    return wire.mechanisms(data:sub(from, to))
  end, 'SCRAM-SHA-256\0\0' },
  { function(data, from, to)
    return wire.row(data, from, to, { types.reader(23, true), types.reader(25) }, { 'a', 'b' }, nil, {})
  end, wire.int16(2) .. wire.int32(4) .. '\0\0\0\5' .. wire.int32(-1) },
}

function cases.content_is_taken_apart()
  local found = {}
  for i, case in ipairs(PARSERS) do
    found[i] = { case[1]('?' .. case[2] .. '?', 2, 1 + #case[2]) }
  end
  expect.equal(found, {
    { { { name = 'n', oid = 23, format = 1 } } }, { { 23, 25 } },
    { { severity_shown = 'ERROR', sqlstate = '42601', message = 'no' } }, { 'INSERT', 5 },
    { 5, 'salt' }, { 77, wire.int32(77) .. 'key!' }, { 'name', 'value' },
    { 1, 'channel', 'payload' }, { 'T' }, { { ['SCRAM-SHA-256'] = true } }, { { a = 5 } },
  })
end

-- Truncated, extended, with any byte changed: a value or nil, never a Lua error, and never
-- a byte from outside the content.
function cases.content_that_is_malformed_is_refused()
  for i, case in ipairs(PARSERS) do
    local content = case[2]
    local function try(changed)
      local ok, problem = pcall(case[1], '\0\0\0\0' .. changed .. '\0\0\0\0', 5, 4 + #changed)
      if not ok then
        error(('parser %d on %q: %s'):format(i, changed, tostring(problem)), 2)
      end
      return problem
    end
    for cut = 0, #content - 1 do
      local value = try(content:sub(1, cut))
      if value and case[1] ~= wire.authentication then
        error(('parser %d takes %q'):format(i, content:sub(1, cut)))
      end
    end
    for at = 1, #content do
      for code = 0, 255 do
        try(content:sub(1, at - 1) .. string.char(code) .. content:sub(at + 1))
      end
    end
  end
end

function cases.commands_say_how_many_rows()
  for tag, expected in pairs { ['SELECT 5'] = { 'SELECT', 5 }, ['INSERT 0 3'] = { 'INSERT', 3 },
    ['CREATE TABLE'] = { 'CREATE', nil }, ['COPY 12'] = { 'COPY', 12 }, ['BEGIN'] = { 'BEGIN', nil } } do
    expect.equal({ wire.command_complete(tag .. '\0', 1, #tag + 1) }, expected)
  end
end

function cases.messages_to_the_server()
  expect.equal(wire.SYNC, 'S\0\0\0\4')
  expect.equal(wire.SSL_REQUEST, '\0\0\0\8\4\210\22\47')
  expect.equal(wire.startup { 'user', 'u', 'database', 'd' }, '\0\0\0\27\0\3\0\0user\0u\0database\0d\0\0' )
  expect.equal(wire.cancel 'pidpkey!', '\0\0\0\16\4\210\22\46pidpkey!')
  expect.equal(wire.parse('s', 'x', { 23 }), 'P\0\0\0\14s\0x\0\0\1\0\0\0\23')
  local head, tail = wire.bind_frame('s', { 0, 1 }, 2, { 1 })
  expect.equal(wire.bind(head, tail, { 'ab', false }, 2),
    'B\0\0\0\29\0s\0\0\2\0\0\0\1\0\2\0\0\0\2ab\255\255\255\255\0\1\0\1')
  head, tail = wire.bind_frame('', {}, 1, {})
  expect.equal(wire.bind(head, tail, { 'ab' }, 1), 'B\0\0\0\18\0\0\0\0\0\1\0\0\0\2ab\0\0')
  head, tail = wire.bind_frame('', {}, 0, {})
  expect.equal(wire.bind(head, tail, {}, 0), 'B\0\0\0\12\0\0\0\0\0\0\0\0')
end

-- ---- Logins. ----

function cases.md5()
  for text, digest in pairs { [''] = 'd41d8cd98f00b204e9800998ecf8427e',
    abc = '900150983cd24fb0d6963f7d28e17f72', [('1234567890'):rep(8)] = '57edf4a22be3c955ac49da2e2107b67a' } do
    expect.equal(auth.md5(text), digest)
  end
  expect.equal(auth.md5_password('user', 'password', '\1\2\3\4'), 'md5' .. auth.md5(
    auth.md5 'passworduser' .. '\1\2\3\4'))
end

-- The example of RFC 7677, which has a user name in its first message.
function cases.scram()
  local first, state = auth.begin('n,,', '', 'rOprNGfwEbeRWgbNEkqO')
  expect.equal(first, 'n,,n=,r=rOprNGfwEbeRWgbNEkqO')
  state.bare = 'n=user,r=rOprNGfwEbeRWgbNEkqO'
  local challenge = 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'
  local known, scheduler = {}, require 'moonring.scheduler'
  local sleep = scheduler.sleep
  scheduler.sleep = function() end -- nothing waits in this program
  expect.equal(auth.respond(state, challenge, 'pencil', known),
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=')
  scheduler.sleep = sleep
  expect.equal(auth.is_genuine(state, 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='), true)
  expect.equal(auth.is_genuine(state, 'v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='), false)
  for _, final in ipairs { '', 'v=', 'v=!', 'e=other-error' } do
    expect.equal(auth.is_genuine(state, final), false)
  end
end

function cases.servers_that_do_not_speak_scram_are_refused()
  local function refused(challenge)
    local _, state = auth.begin('n,,', '', 'abc')
    return select(2, auth.respond(state, challenge, 'pencil', {}))
  end
  for _, challenge in ipairs { '', 'r=abc,s=AAAA,i=1', 'r=xyzabc,s=AAAA,i=1', 'r=abcd,s=!,i=1', 'r=abcd,s=AAAA',
    'r=abcd,s=AAAA,i=x' } do
    expect.equal(refused(challenge), 'the server has not answered as SCRAM says')
  end
  expect.equal(refused 'r=abcd,s=AAAA,i=99999999999', 'the server asks for 99999999999 rounds of SCRAM: 1000000 is the most')
  expect.equal(refused 'r=abcd,s=AAAA,i=0', 'the server asks for 0 rounds of SCRAM: 1000000 is the most')
end

return cases
