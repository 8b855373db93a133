-- Cosockets: ngx.socket.tcp, udp and connect on moonring.socket.
-- OpenResty starts TLS on an existing connection, and pools it with its TLS. moonring.socket connects with
-- TLS, so the kind of a pooled connection is known from the start. The first sslhandshake to a destination
-- therefore reconnects with TLS and remembers it: later connects there start with TLS, and sslhandshake has
-- nothing to do. A connection on which bytes were exchanged before, as in protocols with an upgrade, switches
-- to TLS in place; it is not pooled.
local ffi = require 'ffi'
local new_reader = require 'moonring.ngx_reader'
local socket = require 'moonring.socket'

local error, format, pcall, sub = error, string.format, pcall, string.sub
local floor, getmetatable = math.floor, getmetatable
local ipairs, setmetatable, tonumber, tostring, type = ipairs, setmetatable, tonumber, tostring, type

local _M = {}

ffi.cdef 'int access(const char *path, int mode);'
local C = ffi.C

-- lua_socket_…_timeout, lua_socket_pool_size, lua_socket_keepalive_timeout.
local TIMEOUT_S, POOL_SIZE, IDLE_S = 60, 30, 60
-- As of moonring.socket: a line, what ends with a pattern, and a number of bytes.
local LINE_MAX, BYTES_MAX = 1024 * 1024, 256 * 1024 * 1024
-- setkeepalive(0): as long as the peer keeps it.
local IDLE_MAX_S = 86400

-- Error names of moonring.socket -> those of OpenResty.
local PROBLEMS = { refused = 'connection refused', unreachable = 'no route to host',
  ['host not found'] = 'host not found', ['pool queue full'] = 'too many waiting connect operations',
  ['not connected'] = 'closed' }

local function problem_of(problem, action)
  if problem == 'busy' then
    return 'socket busy ' .. action
  end
  return PROBLEMS[problem] or problem
end

-- Milliseconds to seconds; nil: `seconds` unchanged.
local function seconds_of(milliseconds, seconds, what)
  if milliseconds == nil then
    return seconds
  end
  local number = tonumber(milliseconds)
  if not number or number < 0 then
    error(format("bad argument to '%s' (number expected, got %s)", what, tostring(milliseconds)), 3)
  end
  return number == 0 and TIMEOUT_S or number / 1000
end

local Tcp = {}
Tcp.__index = Tcp
-- A connection of a client's (_M.adopt): what is left of Tcp for it.
local Adopted = {}
Adopted.__index = Adopted

function _M.tcp()
  return setmetatable({ connect_s = TIMEOUT_S, send_s = TIMEOUT_S, read_s = TIMEOUT_S }, Tcp)
end

_M.stream = _M.tcp

local function check_self(sock, what)
  local class = getmetatable(sock)
  if class ~= Tcp and class ~= Adopted then
    error(what .. ': methods are called with a colon, sock:' .. what .. '(...)', 3)
  end
end

-- ---- Connecting. ----

-- Destinations whose last connection used TLS -> its options. Bounded: cleared when there are too many, and
-- learnt again.
local tls_places, tls_place_count = {}, 0
local PLACES_MAX = 1024
-- Pools -> their size, as set by setkeepalive.
local pool_sizes, pool_count = {}, 0

local function remember_tls(place, tls)
  if tls_places[place] == nil then
    if tls_place_count == PLACES_MAX then
      tls_places, tls_place_count = {}, 0
    end
    tls_place_count = tls_place_count + 1
  end
  tls_places[place] = tls or false
end

local function open(sock, tls)
  local target = sock.target
  local connected, problem = socket.connect {
    host = target.host, port = target.port, path = target.path, pool = target.pool, tls = tls,
    timeout = sock.connect_s,
  }
  if not connected then
    sock.inner = nil
    if problem == 'refused' and target.path and C.access(target.path, 0) ~= 0 then
      problem = 'no such file or directory'
    end
    return nil, problem_of(problem, 'connecting')
  end
  connected:settimeouts(nil, sock.send_s, sock.read_s)
  sock.inner, sock.tls, sock.reader = connected, tls, nil
  sock.is_used, sock.is_asked = false, false
  return 1
end

local function close_inner(sock)
  local inner = sock.inner
  sock.inner, sock.reader = nil, nil
  if inner then
    inner:close()
  end
end

-- Checks port or options; returns the options.
local function pool_of(place, options)
  local size = tonumber(options.pool_size) or pool_sizes[place] or POOL_SIZE
  local backlog = tonumber(options.backlog)
  return { name = options.pool and tostring(options.pool) or nil, size = size, idle = IDLE_S,
    max = backlog and size or nil, queue = backlog }
end

-- connect(host, port, options) or connect('unix:/path', options).
function Tcp.connect(sock, host, port, options)
  check_self(sock, 'connect')
  if type(host) ~= 'string' then
    error(format("bad argument #1 to 'connect' (string expected, got %s)", type(host)), 2)
  end
  close_inner(sock)
  local target = {}
  if sub(host, 1, 5) == 'unix:' then
    target.path = sub(host, 6)
    options = type(port) == 'table' and port or options
  else
    target.host, target.port = host, tonumber(port)
    if not target.port or target.port ~= floor(target.port) or target.port < 0
      or target.port > 65535 then
      return nil, 'bad port number: ' .. tostring(port)
    elseif target.port == 0 then
      return nil, 'connection refused'
    end
    local address = host:match '^%[(.*)%]$'
    target.host = address or host
  end
  if host == '' or target.path == '' then
    return nil, 'failed to parse host name "": no host'
  end
  options = options or {}
  local place = format('%s\0%s\0%s', host, target.port or '', tostring(options.pool))
  target.pool, target.place = pool_of(place, options), place
  sock.target = target
  return open(sock, tls_places[place] or nil)
end

-- Prepares the socket for its first use: an unrequested TLS connection is replaced. nil and an error.
local function ready(sock, action)
  local inner = sock.inner
  if not inner then
    return nil, 'closed'
  end
  if not sock.is_used then
    if sock.tls and not sock.is_asked then
      remember_tls(sock.target.place, nil)
      close_inner(sock)
      local ok, problem = open(sock, nil)
      if not ok then
        return nil, problem
      end
      inner = sock.inner
    end
    sock.is_used = true
  end
  return inner, action
end

-- The same before a receive.
local function ready_to_read(sock)
  if sock.is_reading then
    return nil, 'socket busy reading'
  end
  return ready(sock)
end

local function same_tls(a, b)
  return a and a.verify == b.verify and a.sni == b.sni
end

-- sslhandshake(session, name, verify): true, or a session (also true: sessions are resumed automatically).
-- Certificates are verified only if `verify` is true, as in OpenResty.
function Tcp.sslhandshake(sock, _, name, verify)
  check_self(sock, 'sslhandshake')
  local inner = sock.inner
  if not inner then
    return nil, 'closed'
  end
  local tls = { verify = verify == true, sni = name and tostring(name) or nil }
  if sock.is_used then
    if sock.tls then
      return true
    end
    local ok, problem = inner:starttls(tls, sock.connect_s)
    if not ok then
      sock.inner = nil
      return nil, problem
    end
    sock.tls, sock.is_asked = tls, true
    return true
  end
  if not same_tls(sock.tls, tls) then
    close_inner(sock)
    local ok, problem = open(sock, tls)
    if not ok then
      return nil, problem
    end
    remember_tls(sock.target.place, tls)
  end
  sock.is_asked = true
  return true
end

-- ---- Sending and receiving. ----

-- A table's strings, with other values converted as in OpenResty. Also returns their size.
local function flatten(into, value, total)
  for i = 1, #value do
    local piece = value[i]
    local kind = type(piece)
    if kind == 'table' then
      total = flatten(into, piece, total)
    else
      if kind == 'number' or kind == 'boolean' then
        piece = tostring(piece)
      elseif kind ~= 'string' then
        error(format("bad argument #1 to 'send' (bad data type %s found)", kind), 3)
      end
      into[#into + 1] = piece
      total = total + #piece
    end
  end
  return total
end

-- The number of bytes, or nil and an error.
function Tcp.send(sock, data)
  check_self(sock, 'send')
  local kind = type(data)
  local size
  if kind == 'table' then
    local pieces = {}
    size = flatten(pieces, data, 0)
    data = pieces
  elseif kind == 'string' then
    size = #data
  elseif kind == 'number' or kind == 'boolean' or kind == 'nil' then
    data = tostring(data)
    size = #data
  else
    error(format("bad argument #1 to 'send' (string, number, boolean, nil, or array table expected, "
      .. 'got %s)', kind), 2)
  end
  local inner, problem = ready(sock)
  if not inner then
    return nil, problem
  end
  local ok
  ok, problem = inner:send(data)
  if ok then
    return size
  end
  return nil, problem_of(problem, 'writing')
end

-- Nothing more can be read. A client may still read: that of _M.adopt is closed by sock:close().
local function end_reading(sock)
  if getmetatable(sock) == Tcp then
    close_inner(sock)
  end
end

-- After a failure that ends the connection.
local function failed(sock, problem, partial)
  problem = problem_of(problem, 'reading')
  if problem ~= 'timeout' and problem ~= 'socket busy reading' then
    end_reading(sock)
  end
  return nil, problem, partial
end

-- receive(number), receive '*l' or receive '*a'.
function Tcp.receive(sock, how)
  check_self(sock, 'receive')
  local count = how ~= nil and tonumber(how) or nil
  if count and (count < 0 or count ~= floor(count)) then
    error('bad argument #1 to \'receive\' (bad pattern argument)', 2)
  elseif not count and how ~= nil and how ~= '*l' and how ~= '*a' then
    error(format("bad argument #1 to 'receive' (bad pattern argument: %s)", tostring(how)), 2)
  end
  local inner, problem = ready_to_read(sock)
  if not inner then
    return nil, problem
  end
  local reader = sock.reader
  local data, partial
  if how == '*a' then
    reader = reader or new_reader(function(max)
      return inner:receive('any', max)
    end)
    data, problem, partial = reader:all()
    if data then
      end_reading(sock)
    end
  elseif reader then
    if count and count > BYTES_MAX then
      return nil, 'too long', ''
    elseif count then
      data, problem, partial = reader:bytes(count)
    else
      data, problem, partial = reader:line()
    end
  elseif count == 0 then
    return ''
  else
    data, problem, partial = inner:receive(count or 'line')
  end
  if data then
    return data
  end
  return failed(sock, problem, partial)
end

function Tcp.receiveany(sock, max)
  check_self(sock, 'receiveany')
  local count = tonumber(max)
  if not count or count < 1 then
    error("bad argument #1 to 'receiveany' (bad max argument)", 2)
  end
  local inner, problem = ready_to_read(sock)
  if not inner then
    return nil, problem
  end
  local data, partial
  if sock.reader then
    data, problem, partial = sock.reader:any(count)
  else
    data, problem, partial = inner:receive('any', count)
  end
  if data then
    return data
  end
  return failed(sock, problem, partial)
end

-- An iterator: everything up to `ending` or, with a size, pieces of at most that, and a single nil at the
-- end.
function Tcp.receiveuntil(sock, ending, options)
  check_self(sock, 'receiveuntil')
  if type(ending) ~= 'string' then
    error(format("bad argument #1 to 'receiveuntil' (string expected, got %s)", type(ending)), 2)
  elseif ending == '' then
    return nil, 'pattern is empty'
  end
  local is_inclusive = options and options.inclusive or false
  local state = {}
  return function(size)
    local inner, problem = ready_to_read(sock)
    if not inner then
      return nil, problem
    end
    if (size or is_inclusive or #ending > 128) and not sock.reader then
      sock.reader = new_reader(function(max)
        return inner:receive('any', max)
      end)
    end
    local data, partial
    if sock.reader then
      data, problem, partial = sock.reader:up_to(ending, tonumber(size), state, is_inclusive)
    else
      data, problem, partial = inner:receive_until(ending)
    end
    if data or not problem then
      return data
    end
    return failed(sock, problem, partial)
  end
end

-- ---- Time-outs, options, ends. ----

function Tcp.settimeout(sock, milliseconds)
  Tcp.settimeouts(sock, milliseconds, milliseconds, milliseconds)
end

function Tcp.settimeouts(sock, connect, send, read)
  check_self(sock, 'settimeouts')
  sock.connect_s = seconds_of(connect, sock.connect_s, 'settimeouts')
  sock.send_s = seconds_of(send, sock.send_s, 'settimeouts')
  sock.read_s = seconds_of(read, sock.read_s, 'settimeouts')
  if sock.inner then
    sock.inner:settimeouts(nil, sock.send_s, sock.read_s)
  end
end

-- Options that are always on.
local KNOWN_OPTIONS = { ['tcp-nodelay'] = true, keepalive = true, reuseaddr = true }

function Tcp.setoption(sock, name)
  check_self(sock, 'setoption')
  if not sock.inner then
    return nil, 'closed'
  elseif KNOWN_OPTIONS[name] then
    return true
  end
  return nil, 'unsupported option ' .. tostring(name)
end

-- setkeepalive(milliseconds, size): the size applies from the next connect on.
function Tcp.setkeepalive(sock, milliseconds, size)
  check_self(sock, 'setkeepalive')
  local inner, reader = sock.inner, sock.reader
  if not inner then
    return nil, 'closed'
  end
  local place = sock.target.place
  if size and not pool_sizes[place] then
    if pool_count == PLACES_MAX then
      pool_sizes, pool_count = {}, 0
    end
    pool_count = pool_count + 1
    pool_sizes[place] = tonumber(size)
  end
  if reader and reader.buffer ~= '' then
    close_inner(sock)
    return nil, 'unread data in buffer'
  end
  sock.inner, sock.reader = nil, nil
  local idle = milliseconds == nil and IDLE_S or (tonumber(milliseconds) or 0) / 1000
  local ok = inner:setkeepalive(idle > 0 and idle or IDLE_MAX_S)
  if ok then
    return 1
  end
  return nil, 'connection in dubious state'
end

function Tcp.getreusedtimes(sock)
  check_self(sock, 'getreusedtimes')
  if not sock.inner then
    return nil, 'closed'
  end
  return sock.inner:reused()
end

function Tcp.close(sock)
  check_self(sock, 'close')
  if not sock.inner then
    return nil, 'closed'
  end
  close_inner(sock)
  return 1
end

function Tcp.bind()
  return nil, 'not supported'
end

function Tcp.setclientcert()
  return nil, 'setclientcert is not supported: moonring.socket takes tls.cert and tls.key'
end

for _, name in ipairs { 'send', 'receive', 'receiveany', 'receiveuntil', 'settimeout', 'settimeouts',
  'close' } do
  Adopted[name] = Tcp[name]
end

-- A cosocket over a connection that is there: `inner` has receive('any', max), send, settimeouts and
-- close, as sockets of moonring.socket do.
function _M.adopt(inner)
  local sock = setmetatable({ send_s = TIMEOUT_S, read_s = TIMEOUT_S, inner = inner, is_used = true },
    Adopted)
  inner:settimeouts(nil, TIMEOUT_S, TIMEOUT_S)
  sock.reader = new_reader(function(max)
    sock.is_reading = true
    local ok, data, problem = pcall(inner.receive, inner, 'any', max)
    sock.is_reading = nil
    if not ok then
      error(data, 0)
    end
    return data, problem
  end, LINE_MAX)
  return sock
end

-- connect(host, port, options): a connected socket.
function _M.connect(...)
  local sock = _M.tcp()
  local ok, problem = sock:connect(...)
  if not ok then
    return nil, problem
  end
  return sock
end

-- ---- Datagrams. ----

local Udp = {}
Udp.__index = Udp

local UDP_MAX = 65507

function _M.udp()
  return setmetatable({ read_s = TIMEOUT_S }, Udp)
end

function Udp.setpeername(sock, host, port)
  if type(host) == 'string' and sub(host, 1, 5) == 'unix:' then
    return nil, 'datagrams of Unix sockets are not supported'
  end
  Udp.close(sock)
  local inner, problem = socket.udp { host = host, port = tonumber(port), timeout = sock.read_s }
  if not inner then
    return nil, problem_of(problem, 'connecting')
  end
  sock.inner = inner
  return 1
end

function Udp.send(sock, data)
  if not sock.inner then
    return nil, 'closed'
  end
  if type(data) == 'table' then
    local pieces = {}
    flatten(pieces, data, 0)
    data = pieces
  elseif type(data) ~= 'string' then
    data = tostring(data)
  end
  local ok, problem = sock.inner:send(data)
  if ok then
    return 1
  end
  return nil, problem_of(problem, 'writing')
end

function Udp.receive(sock, max)
  if not sock.inner then
    return nil, 'closed'
  end
  max = tonumber(max) or UDP_MAX
  local data, problem = sock.inner:receive(max < UDP_MAX and max or UDP_MAX)
  if data then
    return data
  end
  return nil, problem_of(problem, 'reading')
end

function Udp.settimeout(sock, milliseconds)
  sock.read_s = seconds_of(milliseconds, sock.read_s, 'settimeout')
  if sock.inner then
    sock.inner:settimeout(sock.read_s)
  end
end

function Udp.close(sock)
  local inner = sock.inner
  if not inner then
    return nil, 'closed'
  end
  sock.inner = nil
  inner:close()
  return 1
end

return _M
