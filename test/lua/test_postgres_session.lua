-- A connection of moonring.postgres to servers that are slow, disconnect, or are hostile: their bytes
-- are a script. Whatever arrives, a call returns a value, or nil and an error.
local expect = require 'expect'

-- ---- A socket whose peer sends the bytes of the script, in pieces. ----

local Socket = {}
Socket.__index = Socket

local function next_piece(sock)
  local piece = sock.pieces[sock.at]
  sock.at = sock.at + 1
  return piece
end

function Socket.receive(sock, how)
  if how == 'any' then
    local piece = next_piece(sock)
    if piece then
      return piece
    end
    return nil, 'closed', ''
  end
  local data = ''
  while #data < how do
    local piece = next_piece(sock)
    if not piece then
      return nil, 'closed', data
    end
    data = data .. piece
  end
  sock.at = sock.at - 1
  sock.pieces[sock.at] = data:sub(how + 1)
  if #data == how then
    sock.at = sock.at + 1
  end
  return data:sub(1, how)
end

function Socket.send(sock, data)
  assert(type(data) == 'string')
  sock.sent = sock.sent .. data
  return true
end

function Socket.settimeouts() end

function Socket.tlsbinding() end

function Socket.close(sock)
  sock.is_closed = true
end

function Socket.starttls(sock)
  sock.has_tls = true
  return nil, 'TLS: unencrypted bytes before the handshake'
end

local pieces, made

package.loaded['moonring.socket'] = {
  connect = function()
    made = setmetatable({ pieces = pieces, at = 1, sent = '' }, Socket)
    return made
  end,
  share = function(sock)
    return sock
  end,
  is_alive = function()
    return true
  end,
}
local tasks = {}
package.loaded['moonring.scheduler'] = {
  now = function()
    return 0
  end,
  sleep = function() end,
  spawn = function(fn)
    tasks[#tasks + 1] = fn
    fn()
  end,
}

local connection = require 'moonring.postgres_connection'
local errors = require 'moonring.postgres_error'
local options_of = require 'moonring.postgres_options'
local wire = require 'moonring.postgres_wire'

local cases = {}

local function message(kind, content)
  return kind .. wire.int32(#content + 4) .. content
end

local function column(name, oid)
  return name .. '\0' .. wire.int32(1) .. wire.int16(1) .. wire.int32(oid) .. wire.int16(4)
    .. wire.int32(-1) .. wire.int16(0)
end

local READY = message('Z', 'I')
local LOGIN = message('R', wire.int32(0)) .. message('S', 'server_version\00015\0')
  .. message('K', wire.int32(77) .. 'key!') .. READY
local DESCRIBED = message('1', '') .. message('t', wire.int16(1) .. wire.int32(23))
  .. message('T', wire.int16(3) .. column('id', 23) .. column('name', 25) .. column('list', 1007))
local ROW = message('D', wire.int16(3) .. wire.int32(4) .. '\0\0\0\5' .. wire.int32(3) .. 'Ann'
  .. wire.int32(5) .. '{1,2}')
local RESULT = message('2', '') .. message('N', 'SNOTICE\0Mhello\0\0') .. ROW
  .. message('A', wire.int32(1) .. 'channel\0payload\0') .. ROW .. message('C', 'SELECT 2\0') .. READY

local SESSION = LOGIN .. DESCRIBED .. RESULT

local function options(more)
  local all = { user = 'u', host = '127.0.0.1' }
  for name, value in pairs(more or {}) do
    all[name] = value
  end
  return options_of.read(all)
end

-- The rows of one query with a parameter, or nil and an error.
local function query(conn)
  local results = {}
  local ok, problem = conn:run({ { sql = 'select', count = 1, 5 } }, results, {})
  if ok then
    return results[1]
  end
  return nil, problem
end

-- A login and a query with a server that sends these pieces.
local function converse(said, more)
  pieces = said
  local conn, problem = connection.open(options(more), {})
  if not conn then
    return nil, problem
  end
  return query(conn)
end

local ROWS = { { id = 5, name = 'Ann', list = { 1, 2 } }, { id = 5, name = 'Ann', list = { 1, 2 } } }

function cases.a_session_in_pieces_of_any_size()
  expect.equal(converse { SESSION }, ROWS)
  for split = 1, #SESSION - 1 do
    expect.equal(converse { SESSION:sub(1, split), SESSION:sub(split + 1) }, ROWS)
  end
  for size = 1, 40 do
    local said = {}
    for at = 1, #SESSION, size do
      said[#said + 1] = SESSION:sub(at, at + size - 1)
    end
    expect.equal(converse(said), ROWS)
  end
end

function cases.a_session_that_ends_at_any_byte()
  for cut = 0, #SESSION - 1 do
    local rows, problem = converse { SESSION:sub(1, cut) }
    expect.equal({ rows, errors.is(problem) and problem.code }, { nil, 'closed' })
  end
end

-- A result is the one that was sent, or there is an error; and a connection that may be in the
-- middle of an exchange is not clean.
function cases.a_session_with_any_byte_changed()
  for at = 1, #SESSION do
    for _, code in ipairs { 0, 1, 4, 65, 73, 83, 127, 128, 255 } do
      local changed = SESSION:sub(1, at - 1) .. string.char(code) .. SESSION:sub(at + 1)
      local ok, rows, problem = pcall(converse, { changed })
      if not ok then
        error(('byte %d as %d: %s'):format(at, code, tostring(rows)))
      elseif rows == nil and not errors.is(problem) then
        error(('byte %d as %d: no error'):format(at, code))
      end
    end
  end
end

function cases.a_session_of_random_messages()
  local seed = 3
  local function random(limit)
    seed = (seed * 16807) % 2147483647
    return seed % limit + 1
  end
  local parts = { LOGIN, DESCRIBED, RESULT, ROW, READY, message('E', 'SERROR\0C42601\0Mno\0\0'),
    message('E', 'SFATAL\0C57P01\0Mbye\0\0'), message('G', '\0\0\0'), message('H', '\0\0\0'), message('d', 'x'),
    message('c', ''), message('s', ''), message('I', ''), message('n', ''), message('3', ''), message('1', ''),
    message('2', ''), message('R', wire.int32(3)), message('R', wire.int32(10) .. 'SCRAM-SHA-256\0\0'),
    message('R', wire.int32(11) .. 'r=x'), message('R', wire.int32(12) .. 'v=x'), message('W', '\0\0\0'), 'x', '\0',
    message('C', 'SELECT 1\0'), message('T', wire.int16(0)), message('t', wire.int16(0)), message('D', wire.int16(0)) }
  for _ = 1, 20000 do
    local said = { random(3) > 1 and LOGIN or '' }
    for i = 2, random(12) do
      said[i] = parts[random(#parts)]
    end
    local ok, rows, problem = pcall(converse, { table.concat(said) }, { password = 'x' })
    if not ok and not tostring(rows):find('the statement takes', 1, true) then
      error(('%q: %s'):format(table.concat(said), tostring(rows)))
    elseif ok and rows == nil and not errors.is(problem) then
      error(('%q: no error'):format(table.concat(said)))
    end
  end
end

function cases.connections_in_the_middle_are_not_clean()
  pieces = { LOGIN, DESCRIBED .. message('2', '') .. ROW }
  local conn = assert(connection.open(options(), {}))
  expect.equal(conn:is_clean(), true)
  query(conn)
  expect.equal(conn:is_clean(), false)
  pieces = { LOGIN .. DESCRIBED .. RESULT:sub(1, -2) .. 'T' }
  conn = assert(connection.open(options(), {}))
  expect.equal(query(conn), ROWS)
  expect.equal(conn:is_clean(), false) -- a transaction is open
  pieces = { LOGIN .. DESCRIBED .. RESULT .. READY }
  conn = assert(connection.open(options(), {}))
  expect.equal(query(conn), ROWS)
  expect.equal(conn:is_clean(), false) -- what follows would be taken for another result
end

function cases.what_is_too_much_is_an_error()
  local function code(said, more)
    return select(2, converse({ said }, more)).code
  end
  local start = LOGIN .. DESCRIBED .. message('2', '')
  expect.equal(code(start .. ROW .. ROW, { max_rows = 1 }), 'result too large')
  expect.equal(code(start .. ROW .. ROW, { max_bytes = 50 }), 'result too large')
  expect.equal(code(start .. 'D' .. wire.int32(5000), { max_row = 4999 }), 'too long')
  expect.equal(code('R' .. wire.int32(2 ^ 31 - 1)), 'too long')
  expect.equal(code(start .. 'D' .. wire.int32(3)), 'protocol')
end

function cases.errors_come_before_the_end_of_the_connection()
  local fatal = message('E', 'SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0')
  local _, problem = converse { LOGIN .. fatal }
  expect.equal(problem.code, 'admin_shutdown')
  _, problem = converse { message('E', 'SFATAL\0C28P01\0Mwrong password\0\0') }
  expect.equal(problem.code, 'invalid_password')
end

function cases.tls_is_not_given_up()
  local function code(said, sslmode)
    local _, problem = converse({ said }, { sslmode = sslmode, host = 'db.example' })
    return problem and problem.code or 'ok'
  end
  expect.equal(code('N' .. SESSION, 'require'), 'no TLS')
  expect.equal(code('N' .. SESSION, 'verify-full'), 'no TLS')
  expect.equal(code('N' .. SESSION, nil), 'no TLS')
  expect.equal(code('E' .. SESSION, 'require'), 'protocol')
  expect.equal(code('S' .. SESSION, 'require'), 'TLS')
  expect.equal(code('S' .. SESSION, 'prefer'), 'TLS')
  expect.equal(made.has_tls and made.is_closed, true)
end

function cases.passwords_are_not_given_away()
  local function ask(said, more)
    local all = { password = 'secret', sslmode = 'disable' }
    for name, value in pairs(more or {}) do
      all[name] = value
    end
    local _, problem = converse({ said }, all)
    return problem and problem.code or 'ok', made.sent:find('secret', 1, true) ~= nil
  end
  local clear = message('R', wire.int32(3))
  expect.equal({ ask(clear .. SESSION) }, { 'authentication', false })
  expect.equal({ ask(clear .. SESSION, { allow_cleartext = true }) }, { 'ok', true })
  expect.equal({ ask(message('R', wire.int32(5) .. 'salt') .. SESSION) }, { 'ok', false })
  expect.equal({ ask(message('R', wire.int32(7)) .. SESSION) }, { 'authentication', false })
  local scram = message('R', wire.int32(10) .. 'SCRAM-SHA-256\0\0')
  -- The server stops before it has proved that it knows the password.
  expect.equal({ ask(scram .. SESSION) }, { 'authentication', false })
  expect.equal({ ask(scram .. LOGIN:sub(10)) }, { 'authentication', false })
  expect.equal({ ask(scram .. message('R', wire.int32(12) .. 'v=AAAA') .. SESSION) },
    { 'authentication', false })
  expect.equal({ ask(message('R', wire.int32(10) .. 'OTHER\0\0')) }, { 'authentication', false })
end

function cases.a_pipeline_is_sent_beside_its_results()
  local long = ('x'):rep(40000)
  local result = message('2', '') .. message('C', 'INSERT 0 1\0')
  pieces = { LOGIN .. message('1', '') .. message('t', wire.int16(1) .. wire.int32(25)) .. message('n', '')
    .. result .. result .. READY }
  local conn = assert(connection.open(options(), {}))
  local results, infos = {}, {}
  tasks = {}
  expect.equal(conn:run({ { sql = 'insert', count = 1, long }, { sql = 'insert', count = 1, long } }, results, infos), true)
  expect.equal({ #tasks, infos[1].count, infos[2].count, conn:is_clean() }, { 1, 1, 1, true })
end

return cases
