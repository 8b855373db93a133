-- One connection to PostgreSQL: its login, its prepared statements, and the exchanges on it. Used by one task
-- at a time. `pending` counts the ReadyForQuery messages still expected: while there are any, or if it is
-- `broken`, the connection cannot be used for anything else.
local auth = require 'moonring.postgres_auth'
local crypto = require 'moonring.crypto'
local errors = require 'moonring.postgres_error'
local failure = require 'moonring.failure'
local scheduler = require 'moonring.scheduler'
local socket = require 'moonring.socket'
local table_new = require 'table.new'
local types = require 'moonring.postgres_types'
local wire = require 'moonring.postgres_wire'

local error, pairs, pcall, setmetatable = error, pairs, pcall, setmetatable
local find, format, sub = string.find, string.format, string.sub
local concat, max = table.concat, math.max
local now = scheduler.now
local wire_row = wire.row

local AUTHENTICATION, BACKEND_KEY, BIND_COMPLETE = wire.AUTHENTICATION, wire.BACKEND_KEY,
  wire.BIND_COMPLETE
local CLOSE_COMPLETE, COMMAND_COMPLETE = wire.CLOSE_COMPLETE, wire.COMMAND_COMPLETE
local COPY_BOTH, COPY_DATA, COPY_DONE, COPY_IN, COPY_OUT = wire.COPY_BOTH, wire.COPY_DATA,
  wire.COPY_DONE, wire.COPY_IN, wire.COPY_OUT
local DATA_ROW, EMPTY_QUERY, ERROR = wire.DATA_ROW, wire.EMPTY_QUERY, wire.ERROR
local NEGOTIATE, NO_DATA, NOTICE, NOTIFICATION = wire.NEGOTIATE, wire.NO_DATA, wire.NOTICE,
  wire.NOTIFICATION
local PARAMETERS, PARAMETER_STATUS, PARSE_COMPLETE = wire.PARAMETERS, wire.PARAMETER_STATUS,
  wire.PARSE_COMPLETE
local READY, ROW_DESCRIPTION = wire.READY, wire.ROW_DESCRIPTION

local _M = {}

-- The largest process number on Linux: a larger one was made up by a pooler in between.
local PID_MAX = 4194304
-- After this many unknown statements on a pool's connections, we assume a pooler in between.
local LOST_MAX = 3
-- Cached descriptions of results and parameters for unnamed statements, per pool.
local REMEMBERED = 1000
-- The rest of a message is received in one piece if it is at least this long.
local PIECE = 16 * 1024
-- A separate task sends longer pipelines, since the server may stop reading until its results are read.
local SENT_AT_ONCE = 32 * 1024
-- The longest message while only short ones are expected.
local LOGIN_MESSAGE_MAX = 64 * 1024
-- Seconds for connecting and for sending a cancel request.
local CANCEL_TIMEOUT = 1

local Connection = {}
Connection.__index = Connection

-- ---- Bytes. ----

local function break_off(conn, problem)
  conn.broken = conn.broken or problem
  return nil, problem
end

local function malformed(conn, what)
  return break_off(conn, errors.new('protocol', 'the server has sent a malformed message: ' .. what))
end

-- Milliseconds until the deadline of the connection; 0: none. nil: it has passed.
local function left_ms(conn)
  local deadline = conn.deadline
  if not deadline then
    return 0
  end
  local ms = (deadline - now()) * 1000
  return ms > 0 and max(ms, 1) or nil
end

local function timed_out(conn)
  return nil, errors.new('timeout', format('no response within %g seconds', conn.seconds or 0))
end

local function send(conn, data)
  local ms = left_ms(conn)
  if not ms then
    return timed_out(conn)
  end
  local sock = conn.sock
  sock.send_ms = ms
  local ok, problem = sock:send(data)
  if ok then
    return true
  elseif problem == 'timeout' then
    conn.broken = conn.broken or errors.of_socket 'closed'
    return timed_out(conn)
  end
  return break_off(conn, errors.of_socket(problem))
end

local function receive(conn, missing)
  local ms = left_ms(conn)
  if not ms then
    return timed_out(conn)
  end
  local sock = conn.sock
  sock.read_ms = ms
  local data, problem, partial
  if missing > PIECE then
    data, problem, partial = sock:receive(missing)
  else
    data, problem, partial = sock:receive 'any'
  end
  if data then
    conn.reader:feed(data)
    return true
  end
  if partial and partial ~= '' then
    conn.reader:feed(partial) -- what it had to say before it closed
  end
  if problem == 'timeout' then
    return timed_out(conn)
  end
  return break_off(conn, errors.of_socket(problem))
end

local function too_long(conn)
  return break_off(conn, errors.new('too long', format(
    'the server has sent a message of more than max_row = %d bytes', conn.reader.max)))
end

-- The next message other than asynchronous ones: its kind, and its position in reader.data. nil and an error.
local function next_message(conn)
  local reader = conn.reader
  while true do
    local kind, from, last = reader:next()
    if kind == NOTIFICATION then
      local pid, channel, payload = wire.notification(reader.data, from, last)
      if not pid then
        return malformed(conn, 'a notification')
      end
      if conn.on_notification then
        conn.on_notification(channel, payload, pid)
      end
    elseif kind == PARAMETER_STATUS then
      if not wire.parameter_status(reader.data, from, last) then
        return malformed(conn, 'a parameter')
      end
    elseif kind and kind ~= NOTICE then
      return kind, from, last
    elseif not kind then
      if not from and last == 'too long' then
        return too_long(conn)
      elseif not from then
        return malformed(conn, last)
      end
      local ok, problem = receive(conn, from)
      if not ok then
        -- A server that shuts down says why, and closes.
        local final, at, ends = reader:next()
        if final == ERROR and conn.broken then
          local fields = wire.error_fields(reader.data, at, ends)
          problem = fields and errors.of_server(fields) or problem
        end
        return nil, problem
      end
    end
  end
end

local function error_of(conn, from, last)
  local fields = wire.error_fields(conn.reader.data, from, last)
  if not fields then
    return nil, malformed(conn, 'an error')
  end
  local problem = errors.of_server(fields)
  if fields.severity == 'FATAL' or fields.severity == 'PANIC' then
    conn.broken = conn.broken or problem
  end
  return problem
end

local function take_ready(conn, from, last)
  local status = wire.ready(conn.reader.data, from, last)
  if not status then
    return malformed(conn, 'ready for query')
  end
  conn.status = status
  conn.pending = conn.pending - 1
  return true
end

local function unexpected(conn, kind)
  return malformed(conn, format('kind %q was not expected', string.char(kind)))
end

-- Reads until the connection is ready again. nil and an error: it never will be.
local function drain(conn)
  while conn.pending > 0 do
    local kind, from, last = next_message(conn)
    if not kind then
      return nil, from
    elseif kind == READY then
      local ok, problem = take_ready(conn, from, last)
      if not ok then
        return nil, problem
      end
    end
  end
  return true
end

-- ---- Login. ----

local function startup_settings(options)
  local list = { 'user', options.user, 'database', options.database, 'client_encoding', 'UTF8',
    'DateStyle', 'ISO' }
  if options.application_name ~= '' then
    list[#list + 1], list[#list + 2] = 'application_name', options.application_name
  end
  for name, value in pairs(options.parameters or {}) do
    list[#list + 1], list[#list + 2] = name, value
  end
  return list
end

-- TLS, if the options ask for it and the server supports it.
local function secure(sock, options, seconds)
  if options.sslmode == 'disable' then
    return true
  end
  sock:settimeouts(nil, seconds, seconds)
  local ok, problem = sock:send(wire.SSL_REQUEST)
  local reply
  if ok then
    reply, problem = sock:receive(1)
  end
  if not reply then
    return nil, errors.of_socket(problem)
  elseif reply == 'S' then
    ok, problem = sock:starttls(options.tls, seconds)
    return ok, not ok and errors.of_socket(problem) or nil
  elseif reply == 'N' and options.sslmode == 'prefer' then
    return true
  elseif reply == 'N' then
    return nil, errors.new('no TLS', 'the server has no TLS, which sslmode = '
      .. options.sslmode .. ' asks for')
  end
  return nil, errors.new('protocol', 'the server has not answered the request for TLS')
end

local function connect(options, seconds)
  local sock, problem = socket.connect {
    host = not options.path and options.host or nil,
    port = not options.path and options.port or nil, path = options.path, pool = false,
    timeout = seconds,
  }
  if not sock then
    return nil, errors.of_socket(problem)
  end
  local ok
  ok, problem = secure(sock, options, seconds)
  if not ok then
    sock:close()
    return nil, problem
  end
  return socket.share(sock)
end

local function refuse(words)
  return nil, errors.new('authentication', words)
end

local function no_password(options)
  if options.password == nil then
    return refuse 'the server asks for a password, and there is none'
  end
end

local function begin_scram(conn, options, mechanisms)
  local names = wire.mechanisms(mechanisms)
  if not names then
    return malformed(conn, 'the list of mechanisms')
  elseif not (names['SCRAM-SHA-256'] or names['SCRAM-SHA-256-PLUS']) then
    return refuse 'the server wants a login that is not SCRAM-SHA-256'
  end
  local _, problem = no_password(options)
  if problem then
    return nil, problem
  end
  local binding = conn.sock:tlsbinding()
  local header, mechanism = 'n,,', 'SCRAM-SHA-256'
  if binding and names['SCRAM-SHA-256-PLUS'] then
    header, mechanism = 'p=tls-server-end-point,,', 'SCRAM-SHA-256-PLUS'
  elseif not names['SCRAM-SHA-256'] then
    return refuse 'the server wants SCRAM-SHA-256-PLUS, which needs TLS'
  elseif binding then
    header, binding = 'y,,', nil
  end
  local first
  first, conn.scram = auth.begin(header, binding or '')
  return send(conn, wire.sasl_first(mechanism, first))
end

local function answer_login(conn, options, code, rest, known)
  if code == 3 then
    if not (conn.sock.is_secure or options.path or options.allow_cleartext) then
      return refuse('the server asks for the password in the clear: use TLS, SCRAM-SHA-256, or '
        .. 'allow_cleartext = true')
    end
    local _, problem = no_password(options)
    if problem then
      return nil, problem
    end
    return send(conn, wire.password(options.password))
  elseif code == 5 and #rest == 4 then
    local _, problem = no_password(options)
    if problem then
      return nil, problem
    end
    return send(conn, wire.password(auth.md5_password(options.user, options.password, rest)))
  elseif code == 10 and not conn.scram then
    return begin_scram(conn, options, rest)
  elseif code == 11 and conn.scram then
    local reply, problem = auth.respond(conn.scram, rest, options.password, known)
    if not reply then
      return refuse(problem)
    end
    return send(conn, wire.sasl_next(reply))
  elseif code == 12 and conn.scram then
    if not auth.is_genuine(conn.scram, rest) then
      return refuse 'the server does not know the password'
    end
    conn.scram.is_over = true
    return true
  elseif code == 0 then
    if conn.scram and not conn.scram.is_over then
      return refuse 'the server has not shown that it knows the password'
    end
    return true
  end
  return refuse(format('the server wants a login of kind %d, which is not known here', code))
end

local function log_in(conn, options, known)
  local ok, problem = send(conn, wire.startup(startup_settings(options)))
  conn.pending = 1
  while ok do
    local kind, from, last = next_message(conn)
    local data = conn.reader.data
    if not kind then
      return nil, from
    elseif kind == AUTHENTICATION then
      local code, rest = wire.authentication(data, from, last)
      if not code then
        return malformed(conn, 'the login')
      end
      ok, problem = answer_login(conn, options, code, rest, known)
    elseif kind == BACKEND_KEY then
      conn.pid, conn.key = wire.backend_key(data, from, last)
      if not conn.pid then
        return malformed(conn, 'the key')
      end
    elseif kind == ERROR then
      return nil, (error_of(conn, from, last))
    elseif kind == READY then
      if conn.scram and not conn.scram.is_over then
        return refuse 'the server has not shown that it knows the password'
      end
      conn.scram = nil
      return take_ready(conn, from, last)
    elseif kind ~= NEGOTIATE then
      return unexpected(conn, kind)
    end
  end
  return nil, problem
end

-- Connects and logs in: a connection, or nil and an error. `known` is a table shared by the connections of a
-- pool.
function _M.open(options, known)
  local began, seconds = now(), options.connect_timeout
  local sock, problem = connect(options, seconds)
  if not sock then
    return nil, problem
  end
  local conn = setmetatable({ sock = sock, reader = wire.reader(LOGIN_MESSAGE_MAX), status = 'I',
    pending = 0, statements = {}, statement_count = 0, tick = 0,
    options = options, known = known, made_at = began, seconds = seconds,
    deadline = seconds > 0 and began + seconds or nil, broken = false, is_busy = false,
    prefix = 'm' .. crypto.random(6, 'hex'), named = 0, closing = '' }, Connection)
  local ran, ok
  ran, ok, problem = pcall(log_in, conn, options, known)
  if ran and ok then
    conn.reader.max = options.max_row
    if options.prepare == 'auto' then
      conn.is_unnamed = (conn.pid or 0) > PID_MAX
    else
      conn.is_unnamed = not options.prepare
    end
    conn.is_unnamed = conn.is_unnamed or options.statements == 0
    return conn
  end
  sock:close()
  if not ran then
    error(ok, 0)
  end
  return nil, problem
end

-- Asks the server to cancel the query of the connection with this key. Returns when the request was sent, or
-- after about `seconds`.
function _M.cancel(options, key, seconds)
  local sock = connect(options, CANCEL_TIMEOUT)
  if not sock then
    return
  end
  sock:settimeouts(nil, CANCEL_TIMEOUT, seconds)
  if sock:send(wire.cancel(key)) then
    sock:receive 'any' -- it closes
  end
  sock:close()
end

-- ---- What can be asked of a connection. ----

-- Whether it can be reused: nothing is in progress, and nothing from the server is unread.
function Connection.is_clean(conn)
  return conn.pending == 0 and not conn.broken and conn.status == 'I' and not conn.is_busy
    and conn.reader:unread() == 0
end

function Connection.is_alive(conn)
  return socket.is_alive(conn.sock)
end

function Connection.close(conn)
  local sock = conn.sock
  if not conn.broken and conn.pending == 0 then
    sock.send_ms = 1000
    pcall(sock.send, sock, wire.TERMINATE)
  end
  conn.broken = conn.broken or errors.of_socket 'closed'
  sock:close()
end

-- Closes outside a task, without notifying the server.
function Connection.drop(conn)
  conn.broken = conn.broken or errors.of_socket 'closed'
  socket.drop(conn.sock)
end

-- Sets the deadline of what follows, in seconds from now; 0: no limit.
function Connection.limit(conn, seconds)
  conn.seconds = seconds
  conn.deadline = seconds > 0 and now() + seconds or nil
end

-- ---- Statements. ----

-- The row format in a description of a result.
local function shape_of(columns, formats)
  local shape = { columns = columns, names = {}, decoders = {} }
  for i = 1, #columns do
    local column = columns[i]
    local format_code = formats and formats[i] or column.format
    shape.names[i] = column.name
    column.format = nil
    shape.decoders[i] = types.reader(column.oid, format_code == 1)
    if not shape.decoders[i] then
      return nil
    end
  end
  return shape
end

local NO_SHAPE = { columns = {}, names = {}, decoders = {} }

local function remember(known, what, key, value)
  local count = known[what .. '_count'] or 0
  if count >= REMEMBERED then
    known[what], count = {}, 0
  end
  known[what] = known[what] or {}
  known[what][key] = value
  known[what .. '_count'] = count + 1
end

-- The row format of a result whose formats are given by the server.
local function described_shape(conn, from, last)
  local raw = sub(conn.reader.data, from, last)
  local known = conn.known.shapes
  local shape = known and known[raw]
  if shape then
    return shape
  end
  local columns = wire.row_description(raw, 1, #raw)
  shape = columns and shape_of(columns)
  if not shape then
    return nil
  end
  remember(conn.known, 'shapes', raw, shape)
  return shape
end

local function frame(statement, name, oids, shape)
  local formats, parameter_formats = {}, {}
  local is_binary = false
  for i = 1, #oids do
    parameter_formats[i] = types.parameter_format(oids[i])
    is_binary = is_binary or parameter_formats[i] == 1
  end
  local has_binary = false
  if shape then
    for i = 1, #shape.columns do
      formats[i] = types.format_of(shape.columns[i].oid)
      has_binary = has_binary or formats[i] == 1
    end
  end
  statement.head, statement.tail = wire.bind_frame(name, is_binary and parameter_formats or {},
    #oids, has_binary and formats or {})
  return has_binary and formats or nil
end

local function forget_statement(conn, statement)
  if statement.name == '' then
    conn.known.parameters[statement.sql] = nil
  elseif conn.statements[statement.sql] == statement then
    conn.statements[statement.sql] = nil
    conn.statement_count = conn.statement_count - 1
    conn.closing = conn.closing .. wire.close('S', statement.name)
  end
end

-- Makes room for one, but evicts none used since `since`: those will run together with the new one.
local function evict(conn, since)
  local oldest
  for _, statement in pairs(conn.statements) do
    if statement.used <= since and (not oldest or statement.used < oldest.used) then
      oldest = statement
    end
  end
  if oldest then
    forget_statement(conn, oldest)
  end
end

local function use(conn, statement)
  local tick = conn.tick + 1
  conn.tick, statement.used = tick, tick
end

-- The messages that ask the server to describe a statement, and the object to fill.
local function ask_about(conn, sql, since)
  local statement = { sql = sql, name = '', oids = false, shape = NO_SHAPE }
  local closing = ''
  use(conn, statement)
  if not conn.is_unnamed then
    if conn.statement_count >= conn.options.statements then
      evict(conn, since)
    end
    closing, conn.closing = conn.closing, ''
    conn.named = conn.named + 1
    statement.name = conn.prefix .. conn.named
  end
  return closing .. wire.parse(statement.name, sql) .. wire.describe('S', statement.name), statement
end

-- Reads what the server says about `statement`. nil and an error.
local function hear_about(conn, statement)
  while true do
    local kind, from, last = next_message(conn)
    local data = conn.reader.data
    if not kind then
      return nil, from
    elseif kind == PARAMETERS then
      statement.oids = wire.parameters(data, from, last)
      if not statement.oids then
        return malformed(conn, 'the parameters of a statement')
      end
    elseif kind == ROW_DESCRIPTION or kind == NO_DATA then
      if not statement.oids then
        return malformed(conn, 'a statement without parameters')
      end
      local columns
      if kind == ROW_DESCRIPTION then
        columns = wire.row_description(data, from, last)
        if not columns then
          return malformed(conn, 'the columns of a statement')
        end
      end
      local formats = frame(statement, statement.name, statement.oids,
        columns and statement.name ~= '' and { columns = columns } or nil)
      if columns then
        statement.shape = shape_of(columns, formats)
      end
      return true
    elseif kind == ERROR then
      return nil, (error_of(conn, from, last))
    elseif kind ~= PARSE_COMPLETE and kind ~= CLOSE_COMPLETE then
      return unexpected(conn, kind)
    end
  end
end

local function keep_statement(conn, statement)
  if statement.name == '' then
    remember(conn.known, 'parameters', statement.sql, statement)
  else
    conn.statements[statement.sql] = statement
    conn.statement_count = conn.statement_count + 1
  end
end

local function find_statement(conn, sql)
  if conn.is_unnamed then
    local known = conn.known.parameters
    return known and known[sql]
  end
  local statement = conn.statements[sql]
  if statement then
    use(conn, statement)
  end
  return statement
end

-- After an error in an exchange without a Sync so far.
local function resynchronise(conn)
  if conn.broken then
    return
  end
  local ok = send(conn, wire.SYNC)
  if ok then
    drain(conn)
  end
end

-- Describes the unknown ones in `list` (texts and parameters), in one round trip. Returns their statements;
-- nil, an error and which.
local function prepare_all(conn, list)
  local statements, messages, fresh = {}, nil, nil
  local since = conn.tick
  for i = 1, #list do
    local sql = list[i].sql
    local statement = find_statement(conn, sql)
    if not statement then
      for j = 1, fresh and #fresh or 0 do
        if fresh[j].sql == sql then
          statement = fresh[j]
        end
      end
    end
    if not statement then
      local asked
      asked, statement = ask_about(conn, sql, since)
      messages, fresh = (messages or '') .. asked, fresh or {}
      fresh[#fresh + 1] = statement
      statement.place = i
      if not conn.is_unnamed then
        keep_statement(conn, statement)
      end
    end
    statements[i] = statement
  end
  if not fresh then
    return statements
  end
  conn.pending = conn.pending + 1
  conn.is_open = true
  local ok, problem = send(conn, messages .. wire.FLUSH)
  for i = 1, ok and #fresh or 0 do
    local statement = fresh[i]
    ok, problem = hear_about(conn, statement)
    if not ok then
      for j = i, #fresh do
        if fresh[j].name ~= '' then
          forget_statement(conn, fresh[j])
        end
      end
      conn.is_open = false
      if not conn.broken and errors.is(problem) and problem.sqlstate then
        resynchronise(conn)
      end
      return nil, problem, statement.place
    elseif statement.name == '' then
      keep_statement(conn, statement)
    end
  end
  if not ok then
    return nil, problem, 1
  end
  return statements
end

-- The messages that run a statement, without a Sync. nil and what is wrong with a parameter.
local function run_messages(statement, item)
  local oids, count = statement.oids, item.count
  if count ~= #oids then
    return nil, format('the statement takes %d parameter%s, not %d', #oids, #oids == 1 and '' or 's',
      count)
  end
  local values, encode = {}, types.encode
  for i = 1, count do
    local value, problem = encode(item[i], oids[i])
    if value == nil then
      return nil, format('parameter %d: %s', i, problem)
    end
    values[i] = value
  end
  local bind = wire.bind(statement.head, statement.tail, values, count)
  if statement.name == '' then
    return wire.parse('', statement.sql, oids) .. bind .. wire.DESCRIBE_PORTAL .. wire.EXECUTE
  end
  return bind .. wire.EXECUTE
end

-- ---- Results. ----

local function too_large(conn, words)
  return nil, errors.new('result too large', format('the result has more than %s', words(conn.options)))
end

local function rows_limit(options)
  return format('max_rows = %d rows', options.max_rows)
end

local function bytes_limit(options)
  return format('max_bytes = %d bytes', options.max_bytes)
end

-- COPY needs its own calls.
local function refuse_copy(conn, kind, is_simple)
  if kind == COPY_IN then
    -- The server ignored the Sync that arrived while it waited for data.
    send(conn, wire.copy_fail 'use db:copy_in' .. (is_simple and '' or wire.SYNC))
    return errors.new('copy', 'COPY … FROM STDIN is sent by db:copy_in')
  end
  return errors.new('copy', 'COPY … TO STDOUT is read by db:copy_out')
end

-- Reads results until the connection is ready. `statements`: what was run, whose rows go into
-- `results` and whose counts into `infos`; nil: a text of the simple protocol, whose rows are only
-- counted. True; nil, an error and which statement it is about.
local function read_results(conn, statements, results, infos)
  local reader, options = conn.reader, conn.options
  local max_rows, max_bytes, null = options.max_rows, options.max_bytes, options.null
  local at, rows, count, bytes = 1, {}, 0, 0
  local shape = statements and statements[1].shape or NO_SHAPE
  local problem, place
  while true do
    local kind, from, last = next_message(conn)
    if not kind then
      return nil, from, at
    elseif kind == DATA_ROW then
      count = count + 1
      if statements and not problem then
        bytes = bytes + last - from + 1
        if bytes > max_bytes then
          return too_large(conn, bytes_limit)
        elseif count > max_rows then
          return too_large(conn, rows_limit)
        end
        local row, wrong = wire_row(reader.data, from, last, shape.decoders, shape.names, null,
          table_new(0, #shape.names))
        if row == nil then
          return malformed(conn, 'a row')
        elseif row then
          rows[count] = row
        else
          problem, place = errors.new('bad value', 'column ' .. wrong), at
        end
      end
    elseif kind == COMMAND_COMPLETE or kind == EMPTY_QUERY then
      local command, affected = '', nil
      if kind == COMMAND_COMPLETE then
        command, affected = wire.command_complete(reader.data, from, last)
        if not command then
          return malformed(conn, 'the end of a command')
        end
      end
      infos[at] = { command = command, count = affected or count, columns = shape.columns }
      results[at] = rows
      at, rows, count = at + 1, {}, 0
      local following = statements and statements[at]
      shape = following and following.shape or NO_SHAPE
    elseif kind == ERROR then
      local said, wrong = error_of(conn, from, last)
      if not said then
        return nil, wrong
      end
      problem, place = problem or said, place or at
    elseif kind == READY then
      local ok, wrong = take_ready(conn, from, last)
      if not ok then
        return nil, wrong
      elseif conn.pending == 0 then
        if problem then
          return nil, problem, place
        elseif statements and at <= #statements then
          return malformed(conn, 'ready without a result')
        end
        return true
      end
    elseif kind == ROW_DESCRIPTION then
      shape = statements and described_shape(conn, from, last) or shape
      if statements and shape == NO_SHAPE then
        return malformed(conn, 'the columns of a result')
      end
    elseif kind == COPY_IN or kind == COPY_OUT or kind == COPY_BOTH then
      problem, place = refuse_copy(conn, kind, not statements), at
      if kind ~= COPY_IN then
        return nil, problem, place
      end
    elseif kind ~= BIND_COMPLETE and kind ~= PARSE_COMPLETE and kind ~= CLOSE_COMPLETE
      and kind ~= NO_DATA then
      return unexpected(conn, kind)
    end
  end
end

-- Sends `data` while the results are read, if it is long.
local function send_beside(conn, data, count)
  if count == 1 or #data <= SENT_AT_ONCE then
    return send(conn, data)
  end
  scheduler.spawn(function()
    send(conn, data) -- if it fails, so does the receive
  end)
  return true
end

local function run_once(conn, list, results, infos)
  conn.is_open = false
  local statements, problem, place = prepare_all(conn, list)
  if not statements then
    return nil, problem, place
  end
  local parts = {}
  for i = 1, #list do
    local message, wrong = run_messages(statements[i], list[i])
    if not message then
      if conn.is_open then
        resynchronise(conn)
      end
      failure.raise('postgres: ' .. wrong .. (#list > 1 and format(' (statement %d)', i) or ''))
    end
    parts[i] = message
  end
  parts[#list + 1] = wire.SYNC
  if not conn.is_open then
    conn.pending = conn.pending + 1
  end
  conn.is_open = false
  local ok
  ok, problem = send_beside(conn, concat(parts), #list)
  if not ok then
    return nil, problem, 1
  end
  ok, problem, place = read_results(conn, statements, results, infos)
  return ok, problem, place, statements
end

-- The server no longer knows a statement, or its result has changed.
local function has_gone_stale(conn, problem, statement)
  local sqlstate = problem.sqlstate
  if sqlstate == '26000' and not conn.is_unnamed then
    local known = conn.known
    known.lost = (known.lost or 0) + 1
    known.is_pooled = known.lost >= LOST_MAX and conn.options.prepare == 'auto'
    conn.statements, conn.statement_count = {}, 0
    return true
  end
  return sqlstate == '0A000' and statement and find(problem.message, 'cached plan', 1, true)
end

-- Runs the statements of `list`, { sql = …, count = parameters, … }, in one transaction unless one is already
-- open. True, or nil, an error and which statement it is about.
function Connection.run(conn, list, results, infos)
  conn.is_busy = true
  local was_unnamed = conn.is_unnamed or conn.known.is_pooled
  conn.is_unnamed = was_unnamed
  local began_idle = conn.status == 'I'
  local ok, problem, place, statements = run_once(conn, list, results, infos)
  if not ok and statements and problem.sqlstate then
    local statement = statements[place]
    local is_stale = has_gone_stale(conn, problem, statement)
    if statement and (is_stale or statement.name == '' or sub(problem.sqlstate, 1, 2) == '42') then
      forget_statement(conn, statement) -- types of parameters may have changed with the tables
    end
    if is_stale and began_idle and conn.status == 'I' and conn.pending == 0 and not conn.broken then
      -- Nothing has been done, since all of it is one transaction.
      conn.is_unnamed = was_unnamed or conn.options.prepare == 'auto'
      ok, problem, place = run_once(conn, list, results, infos)
      conn.is_unnamed = was_unnamed
    end
  end
  conn.is_busy = false
  return ok, problem, place
end

-- One text that may hold several commands, with the simple protocol: the result of the last one.
function Connection.simple(conn, sql)
  conn.is_busy = true
  local infos = {}
  local ok, problem = send(conn, wire.query(sql))
  conn.pending = conn.pending + 1
  if ok then
    ok, problem = read_results(conn, nil, {}, infos)
  end
  conn.is_busy = false
  if not ok then
    return nil, problem
  end
  local last = infos[#infos]
  return last and last.count or 0, last and last.command
end

-- ---- COPY. ----

-- Sends a COPY command; true when the server is in that mode (`kind`: COPY_OUT or COPY_IN).
local function begin_copy(conn, sql, wanted)
  local ok, problem = send(conn, wire.query(sql))
  conn.pending = conn.pending + 1
  while ok do
    local kind, from, last = next_message(conn)
    if not kind then
      return nil, from
    elseif kind == wanted then
      return true
    elseif kind == ERROR then
      problem = problem or (error_of(conn, from, last))
    elseif kind == READY then
      take_ready(conn, from, last)
      return nil, problem or errors.new('copy', 'the command is no COPY in this direction')
    elseif kind == COPY_IN then
      send(conn, wire.copy_fail 'this is no COPY TO')
      problem = errors.new('copy', 'the command is no COPY in this direction')
    elseif kind == COPY_OUT or kind == COPY_BOTH then
      return nil, errors.new('copy', 'the command is no COPY in this direction')
    end
  end
  return nil, problem
end

-- Reads until it is ready: the number of rows; nil and an error.
local function end_copy(conn)
  local infos = {}
  local ok, problem = read_results(conn, nil, {}, infos)
  if not ok then
    return nil, problem
  end
  return infos[1] and infos[1].count or 0
end

function Connection.begin_copy_out(conn, sql)
  conn.is_busy = true
  local ok, problem = begin_copy(conn, sql, COPY_OUT)
  if not ok then
    conn.is_busy = false
  end
  return ok, problem
end

-- The next piece, usually a row; nil at the end; nil and an error.
function Connection.next_copied(conn)
  local kind, from, last = next_message(conn)
  if not kind then
    return nil, from
  elseif kind == COPY_DATA then
    return sub(conn.reader.data, from, last)
  elseif kind == COPY_DONE then
    local count, problem = end_copy(conn)
    conn.is_busy = false
    return nil, not count and problem or nil
  elseif kind == ERROR then
    local problem = error_of(conn, from, last)
    drain(conn)
    conn.is_busy = false
    return nil, problem
  end
  return unexpected(conn, kind)
end

-- Sends each piece of next_piece() as a message, until nil; the number of rows.
function Connection.copy_in(conn, sql, next_piece)
  conn.is_busy = true
  local ok, problem = begin_copy(conn, sql, COPY_IN)
  if not ok then
    conn.is_busy = false
    return nil, problem
  end
  local ran, piece = pcall(next_piece)
  while ran and piece do
    conn:limit(conn.options.timeout)
    ok, problem = send(conn, wire.copy_data(piece))
    if not ok then
      return nil, problem
    end
    ran, piece = pcall(next_piece)
  end
  ok, problem = send(conn, ran and wire.END_OF_COPY or wire.copy_fail 'the client has failed')
  if not ok then
    return nil, problem
  end
  local count
  count, problem = end_copy(conn)
  conn.is_busy = false
  if not ran then
    error(piece, 0)
  end
  return count, problem
end

-- ---- Notifications. ----

-- Waits for any message; notifications go to conn.on_notification. True, or nil and an error (after 'timeout'
-- it can be called again).
function Connection.hear(conn, until_heard)
  local reader = conn.reader
  while not until_heard() do
    local kind, from, last = reader:next()
    if kind == NOTIFICATION then
      local pid, channel, payload = wire.notification(reader.data, from, last)
      if not pid then
        return malformed(conn, 'a notification')
      end
      conn.on_notification(channel, payload, pid)
    elseif kind == ERROR then
      return nil, (error_of(conn, from, last))
    elseif kind == nil and not from then
      return malformed(conn, last)
    elseif kind == nil then
      local ok, problem = receive(conn, from)
      if not ok then
        return nil, problem
      end
    elseif kind ~= NOTICE and kind ~= PARAMETER_STATUS then
      return unexpected(conn, kind)
    end
  end
  return true
end

return _M
