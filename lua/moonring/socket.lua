-- Outbound sockets for handlers: TCP and Unix sockets that suspend the task instead of the reactor.
-- C does the work (net/hs_socket.h); a call that cannot finish at once waits for its id, which C wakes.
local ffi = require 'ffi'
local members = require 'moonring.members'
local native = require 'moonring.native'
local scheduler = require 'moonring.scheduler'

local VERSION = 8

ffi.cdef(native.socket_abi)

local api = ffi.cast('hs_lua_socket_api_t *', native.sockets)
if api.version ~= VERSION then
  error(('the Lua runtime speaks socket ABI %d, the server %d: install them from one version'):format(
    VERSION, api.version))
end

local ffi_string, fill = ffi.string, ffi.fill
local error, type, tostring, pairs, next, pcall, select = error, type, tostring, pairs, next, pcall,
  select
local tonumber = tonumber
local setmetatable, getmetatable, format = setmetatable, getmetatable, string.format
local floor, concat = math.floor, table.concat
local running, wait = scheduler.running, scheduler.wait
local raise = require('moonring.failure').raise

local _M = {}

local READ, WRITE = 0, 1
-- Kinds of receive, as in net/hs_socket.h.
local BYTES, LINE, ANY, UNTIL = 0, 1, 2, 3 -- and MORE, 4
local PATTERN_MAX = 128

local CONNECT_TIMEOUT_MS = 10000
local IO_TIMEOUT_MS = 60000
local POOL_SIZE = 32
local POOL_IDLE_MS = 60000
local MS_MAX = 2 ^ 31

local Socket = {}
local socket_type = { __index = Socket }

local Udp = { is_udp = true }
local udp_type = { __index = Udp }

-- ---- Ids, used again: a wake that comes late finds a call that still waits, which waits on. ----

local free_ids, free_count = {}, 0

local function take_id()
  if free_count == 0 then
    return scheduler.id()
  end
  local id = free_ids[free_count]
  free_ids[free_count] = nil
  free_count = free_count - 1
  return id
end

local function give_id(id)
  if id == 0 then
    return
  end
  free_count = free_count + 1
  free_ids[free_count] = id
end

local function collect(handle)
  give_id(handle.ids[READ])
  give_id(handle.ids[WRITE])
  api.free(handle)
end

local function collect_udp(handle)
  give_id(handle.ids[READ])
  api.udp_free(handle)
end

-- Closed sockets, with their ids, for reuse.
local idle, idle_count = {}, 0
local IDLE_MAX = 256

-- The descriptor is already closed, or the connection kept. A side that a task waits for keeps its id until
-- that task resumes.
local function release(sock)
  local handle = sock.handle
  sock.handle = nil
  local mine = sock.mine
  if mine then
    mine[sock] = nil
    sock.mine = nil
  end
  if not (sock.is_udp or sock[READ] or sock[WRITE]) and idle_count < IDLE_MAX
    and api.reset(handle) ~= 0 then
    idle_count = idle_count + 1
    idle[idle_count] = handle
    return
  end
  for side = READ, WRITE do
    if not sock[side] then
      give_id(handle.ids[side])
    end
  end
  ffi.gc(handle, nil)
  if sock.is_udp then
    api.udp_free(handle)
  else
    api.free(handle)
  end
end

-- ---- Whose a socket is. ----

local weak_keys = { __mode = 'k' }

local function release_all(root)
  local mine = root.sockets
  root.sockets = nil
  for sock in next, mine do
    release(sock)
  end
end

-- The sockets of a request, or of a detached task: closed when it ends.
local function sockets_of(root)
  local mine = root.sockets
  if not mine then
    mine = setmetatable({}, weak_keys)
    root.sockets = mine
    scheduler.on_end(release_all)
  end
  return mine
end

local function name_of(request)
  return request and format('request %s', tostring(request.base or request)) or 'a task of no request'
end

-- Checks that the running task may use the socket: it belongs to the same request.
local function check_owner(sock, what)
  local class = getmetatable(sock)
  if class ~= socket_type and class ~= udp_type then
    error(what .. ': methods are called with a colon, sock:method(...)', 3)
  end
  local request = running(what).request
  if sock.request ~= request and not sock.is_shared then
    error(format('%s: this socket belongs to %s, not to %s: each opens its own', what,
      name_of(sock.request), name_of(request)), 3)
  end
end

-- ---- Waiting. ----

-- Waits until the call on `side` has ended. False: the socket was closed meanwhile.
local function await(sock, side, what)
  local handle = sock.handle
  local id = handle.ids[side]
  sock[side] = true
  while handle and handle.waits[side] ~= 0 do
    local ok, failure = pcall(wait, id, nil, what)
    handle = sock.handle
    if not ok then
      sock[side] = nil
      if handle and sock.is_shared then
        error(failure, 0) -- it belongs to no task: its users close it
      elseif handle then
        release(sock) -- in the middle of a message: of no use to anything else
      else
        give_id(id)
      end
      error(failure, 0)
    end
  end
  sock[side] = nil
  if not handle then
    give_id(id)
  end
  return handle
end

-- `result` when the connection or its handshake is ready; nil and why not.
local function opened(sock, handle, what, result)
  if handle.waits[READ] ~= 0 then
    handle = await(sock, READ, what)
    if not handle then
      return nil, 'closed'
    end
  end
  if handle.failed[READ] ~= 0 then
    local failure = ffi_string(api.failure(handle, READ))
    release(sock)
    return nil, failure
  end
  return result
end

-- ---- Arguments. ----

local function milliseconds(seconds, default, what, level)
  if seconds == nil then
    return default
  end
  if type(seconds) ~= 'number' or not (seconds >= 0) then
    error(format('%s: seconds are a number, 0 (no limit) or more, not %s', what, tostring(seconds)),
      level + 1)
  end
  local ms = seconds * 1000
  if ms >= MS_MAX then
    return 0
  end
  return ms > 0 and ms < 1 and 1 or floor(ms)
end

local function count_of(value, default, name)
  if value == nil then
    return default
  end
  if type(value) ~= 'number' or value < 0 or value ~= floor(value) or value >= MS_MAX then
    error(format('socket.connect: %s is a whole number, 0 or more, not %s', name, tostring(value)), 4)
  end
  return value
end

local function string_of(value, name)
  if value == nil then
    return nil
  end
  if type(value) ~= 'string' or value == '' or value:find('\0', 1, true) then
    error(format('socket.connect: %s is a string without NUL, not %s', name, tostring(value)), 4)
  end
  return value
end

local KNOWN = { host = true, port = true, path = true, tls = true, pool = true, timeout = true }
local KNOWN_TLS = { verify = true, ca = true, sni = true, cert = true, key = true, alpn = true }
local KNOWN_POOL = { size = true, max = true, queue = true, idle = true, max_age = true,
  name = true }

local function check_names(options, known, what)
  for name in next, options do
    if not known[name] then
      raise(members.unknown(what, name, { known }))
    end
  end
end

local function set_address(target, options)
  local path, host, port = options.path, options.host, options.port
  target.path, target.host = string_of(path, 'path'), string_of(host, 'host')
  if path ~= nil and host ~= nil then
    error('socket.connect: either host and port or path', 3)
  elseif path == nil and host == nil then
    error('socket.connect: host and port, or path, are missing', 3)
  elseif path == nil then
    if type(port) ~= 'number' or port < 1 or port > 65535 or port ~= floor(port) then
      error('socket.connect: port is a number from 1 to 65535, not ' .. tostring(port), 3)
    end
    target.port = port
  end
end

-- Returns the values to keep alive until the target was copied.
local function set_tls(target, tls)
  if tls == nil or tls == false then
    return nil
  elseif tls == true then
    tls = {}
  elseif type(tls) ~= 'table' then
    error('socket.connect: tls is true or a table, not ' .. tostring(tls), 3)
  end
  check_names(tls, KNOWN_TLS, 'socket.connect: tls')
  if tls.verify ~= nil and type(tls.verify) ~= 'boolean' then
    error('socket.connect: tls.verify is true or false, not ' .. tostring(tls.verify), 3)
  elseif tls.key ~= nil and tls.cert == nil then
    error('socket.connect: tls.key belongs to tls.cert, which is missing', 3)
  end
  local alpn = tls.alpn
  if type(alpn) == 'table' then
    alpn = concat(alpn, ',')
  end
  target.is_secure = 1
  target.verifies = tls.verify == false and 0 or 1
  target.server_name = string_of(tls.sni, 'tls.sni')
  target.ca = string_of(tls.ca, 'tls.ca')
  target.cert, target.key = string_of(tls.cert, 'tls.cert'), string_of(tls.key, 'tls.key')
  target.alpn = string_of(alpn, 'tls.alpn')
  return alpn
end

local function set_pool(target, pool)
  if pool == false then
    target.is_pooled = 0
    return
  end
  if pool == nil or pool == true then
    pool = {}
  elseif type(pool) ~= 'table' then
    error('socket.connect: pool is a table or false, not ' .. tostring(pool), 3)
  end
  check_names(pool, KNOWN_POOL, 'socket.connect: pool')
  target.is_pooled = 1
  target.pool = string_of(pool.name, 'pool.name')
  target.pool_size = count_of(pool.size, POOL_SIZE, 'pool.size')
  target.pool_max = count_of(pool.max, 0, 'pool.max')
  target.pool_queue = count_of(pool.queue, 0, 'pool.queue')
  target.pool_idle_ms = milliseconds(pool.idle, POOL_IDLE_MS, 'socket.connect: pool.idle', 3)
  target.pool_max_age_ms = milliseconds(pool.max_age, 0, 'socket.connect: pool.max_age', 3)
end

-- ---- The calls. ----

-- Filled for each call of connect, and read by it before it returns.
local target = ffi.new 'hs_lua_socket_target_t'
local target_size = ffi.sizeof(target)

local function open(what)
  if idle_count > 0 then
    local handle = idle[idle_count]
    idle[idle_count] = nil
    idle_count = idle_count - 1
    return handle
  end
  local read_id, write_id = take_id(), take_id()
  local handle = api.open(api.self, read_id, write_id)
  if handle == nil then
    give_id(read_id)
    give_id(write_id)
    error(what .. ': this thread has no event loop, or no memory', 3)
  end
  return ffi.gc(handle, collect)
end

function _M.connect(options)
  if type(options) ~= 'table' then
    error('socket.connect takes a table of options, not ' .. type(options), 2)
  end
  check_names(options, KNOWN, 'socket.connect: the table of options')
  fill(target, target_size)
  set_address(target, options)
  local alpn = set_tls(target, options.tls)
  set_pool(target, options.pool)
  target.timeout_ms = milliseconds(options.timeout, CONNECT_TIMEOUT_MS, 'socket.connect: timeout', 2)
  local task = running('socket.connect')
  local handle = open('socket.connect')
  local mine = sockets_of(task.request or task)
  local sock = setmetatable({ handle = handle, request = task.request, mine = mine,
    send_ms = IO_TIMEOUT_MS, read_ms = IO_TIMEOUT_MS, wanted_alpn = alpn,
    is_secure = target.is_secure ~= 0 }, socket_type)
  mine[sock] = true
  api.connect(handle, target)
  return opened(sock, handle, 'socket.connect', sock)
end

local function what_of(how, max)
  if type(how) == 'number' then
    if how < 0 or how ~= floor(how) then
      error('socket:receive: a number of bytes is whole, 0 or more, not ' .. how, 3)
    end
    return BYTES, how
  elseif how == 'line' or how == nil then
    return LINE, 0
  elseif how == 'any' then
    if max ~= nil and (type(max) ~= 'number' or max < 1) then
      error("socket:receive: 'any' takes a number of bytes, 1 or more, not " .. tostring(max), 3)
    end
    return ANY, max or 0
  elseif type(how) == 'table' and type(how['until']) == 'string' then
    local pattern = how['until']
    if #pattern == 0 or #pattern > PATTERN_MAX then
      error(format('socket:receive: what ends the data has 1 to %d bytes, not %d', PATTERN_MAX,
        #pattern), 3)
    end
    return UNTIL, #pattern, pattern
  end
  error("socket:receive takes a number of bytes, 'line', 'any' or { ['until'] = string }, not "
    .. tostring(how), 3)
end

function Socket.receive(sock, how, max)
  check_owner(sock, 'socket:receive')
  local what, wanted, pattern = what_of(how, max)
  local handle = sock.handle
  if not handle then
    return nil, 'closed', ''
  elseif handle.waits[READ] ~= 0 then
    return nil, 'busy', ''
  end
  api.receive(handle, what, wanted, pattern, sock.read_ms)
  if handle.waits[READ] ~= 0 then
    handle = await(sock, READ, 'socket:receive')
    if not handle then
      return nil, 'closed', ''
    end
  end
  if handle.failed[READ] == 0 then
    return ffi_string(handle.data, handle.len)
  end
  return nil, ffi_string(api.failure(handle, READ)), ffi_string(handle.data, handle.len)
end

function Socket.receive_until(sock, pattern)
  check_owner(sock, 'socket:receive_until')
  return Socket.receive(sock, { ['until'] = pattern })
end

local function put_all(handle, pieces)
  for i = 1, #pieces do
    local piece = pieces[i]
    local kind = type(piece)
    if kind == 'number' then
      piece = tostring(piece)
      kind = 'string'
    end
    if kind == 'string' then
      api.put(handle, piece, #piece)
    elseif kind == 'table' then
      put_all(handle, piece)
    end
  end
end

-- Checks all pieces before queueing the first: half a message cannot be taken back.
local function check_pieces(pieces)
  for i = 1, #pieces do
    local kind = type(pieces[i])
    if kind == 'table' then
      check_pieces(pieces[i])
    elseif kind ~= 'string' and kind ~= 'number' then
      error(format('socket:send: element %d of the table is a %s, not a string', i, kind), 3)
    end
  end
end

function Socket.send(sock, data)
  check_owner(sock, 'socket:send')
  local kind = type(data)
  if kind == 'table' then
    check_pieces(data)
  elseif kind == 'number' then
    data = tostring(data)
  elseif kind ~= 'string' then
    error('socket:send takes a string or a table of strings, not ' .. kind, 2)
  end
  local handle = sock.handle
  if not handle then
    return nil, 'closed'
  elseif handle.waits[WRITE] ~= 0 then
    return nil, 'busy'
  end
  if kind == 'table' then
    put_all(handle, data)
  else
    api.put(handle, data, #data)
  end
  api.send(handle, sock.send_ms)
  if handle.waits[WRITE] ~= 0 then
    handle = await(sock, WRITE, 'socket:send')
    if not handle then
      return nil, 'closed'
    end
  end
  if handle.failed[WRITE] == 0 then
    return true
  end
  return nil, ffi_string(api.failure(handle, WRITE))
end

-- Seconds for each later call; nil leaves a limit unchanged, 0 means none. The first is for connect, which is
-- done: accepted for compatibility with other socket libraries.
function Socket.settimeouts(sock, connect, send, read)
  check_owner(sock, 'socket:settimeouts')
  milliseconds(connect, 0, 'socket:settimeouts', 2)
  sock.send_ms = milliseconds(send, sock.send_ms, 'socket:settimeouts', 2)
  sock.read_ms = milliseconds(read, sock.read_ms, 'socket:settimeouts', 2)
end

function Socket.settimeout(sock, seconds)
  Socket.settimeouts(sock, seconds, seconds, seconds)
end

-- True, or nil and why it was closed instead.
function Socket.setkeepalive(sock, idle)
  check_owner(sock, 'socket:setkeepalive')
  local idle_ms = milliseconds(idle, 0, 'socket:setkeepalive', 2)
  local handle = sock.handle
  if not handle then
    return nil, 'closed'
  end
  local is_kept = api.keep(handle, idle_ms) ~= 0
  release(sock)
  if is_kept then
    return true
  end
  return nil, 'not kept'
end

function Socket.close(sock)
  check_owner(sock, 'socket:close')
  if not sock.handle then
    return nil, 'closed'
  end
  release(sock)
  return true
end

-- How many sockets have used the connection before.
function Socket.reused(sock)
  check_owner(sock, 'socket:reused')
  return sock.handle and api.reused(sock.handle) or 0
end

-- True if the last receive failed because the connection was closed, but not by an orderly end: a
-- reset, or TLS without close_notify. The data may be incomplete.
function Socket.truncated(sock)
  check_owner(sock, 'socket:truncated')
  return sock.handle ~= nil and sock.handle.failed[READ] == 2
end

-- Starts TLS, for protocols that begin without it: `tls` as for connect. True; nil and why the socket was
-- closed. It cannot be pooled afterwards.
function Socket.starttls(sock, tls, timeout)
  check_owner(sock, 'socket:starttls')
  fill(target, target_size)
  local alpn = set_tls(target, tls == nil or tls)
  if target.is_secure == 0 then
    error('socket:starttls: tls is true or a table, not false', 2)
  end
  target.timeout_ms = milliseconds(timeout, CONNECT_TIMEOUT_MS, 'socket:starttls: timeout', 2)
  local handle = sock.handle
  if not handle then
    return nil, 'closed'
  elseif handle.waits[READ] ~= 0 or handle.waits[WRITE] ~= 0 or sock.is_secure then
    return nil, 'busy'
  end
  sock.wanted_alpn, sock.is_secure = alpn, true
  api.start_tls(handle, target)
  return opened(sock, handle, 'socket:starttls', true)
end

local binding = ffi.new 'uint8_t[64]'

-- The digest of the peer's certificate (tls-server-end-point of RFC 5929), to bind an
-- authentication to this connection; nil: there is no TLS, or no certificate.
function Socket.tlsbinding(sock)
  check_owner(sock, 'socket:tlsbinding')
  local length = sock.handle and tonumber(api.binding(sock.handle, binding)) or 0
  return length > 0 and ffi_string(binding, length) or nil
end

-- The protocol negotiated by TLS; nil: none.
function Socket.alpn(sock)
  check_owner(sock, 'socket:alpn')
  local name = sock.handle and ffi_string(api.protocol(sock.handle)) or ''
  return name ~= '' and name or nil
end

-- ---- Datagrams. ----

local UDP_TIMEOUT_MS = 5000
local UDP_MAX = 65507
local KNOWN_UDP = { host = true, port = true, timeout = true }

function _M.udp(options)
  if type(options) ~= 'table' then
    error('socket.udp takes a table of options, not ' .. type(options), 2)
  end
  local host, port = options.host, options.port
  if type(host) ~= 'string' or host == '' or host:find('\0', 1, true) then
    error('socket.udp: host is a name or an address, not ' .. tostring(host), 2)
  elseif type(port) ~= 'number' or port < 1 or port > 65535 or port ~= floor(port) then
    error('socket.udp: port is a number from 1 to 65535, not ' .. tostring(port), 2)
  end
  for name in next, options do
    if not KNOWN_UDP[name] then
      error('socket.udp has no option ' .. tostring(name), 2)
    end
  end
  local timeout_ms = milliseconds(options.timeout, UDP_TIMEOUT_MS, 'socket.udp: timeout', 2)
  local task = running('socket.udp')
  local id = take_id()
  local handle = api.udp_open(api.self, id)
  if handle == nil then
    give_id(id)
    error('socket.udp: this thread has no event loop, or no memory', 2)
  end
  ffi.gc(handle, collect_udp)
  local mine = sockets_of(task.request or task)
  local sock = setmetatable({ handle = handle, request = task.request, mine = mine,
    read_ms = timeout_ms }, udp_type)
  mine[sock] = true
  api.udp_connect(handle, host, port, timeout_ms)
  if handle.waits[READ] ~= 0 then
    handle = await(sock, READ, 'socket.udp')
    if not handle then
      return nil, 'closed'
    end
  end
  if handle.failed[READ] ~= 0 then
    local failure = ffi_string(api.udp_failure(handle))
    release(sock)
    return nil, failure
  end
  return sock
end

-- One datagram, at once.
function Udp.send(sock, data)
  check_owner(sock, 'socket:send')
  if type(data) == 'table' then
    data = concat(data)
  elseif type(data) ~= 'string' then
    error('socket:send takes a string or a table of strings, not ' .. type(data), 2)
  end
  local handle = sock.handle
  if not handle then
    return nil, 'closed'
  end
  api.udp_send(handle, data, #data)
  if handle.failed[WRITE] == 0 then
    return true
  end
  return nil, ffi_string(api.udp_failure(handle))
end

function Udp.receive(sock, max)
  check_owner(sock, 'socket:receive')
  if max ~= nil and (type(max) ~= 'number' or max < 1 or max > UDP_MAX) then
    error(format('socket:receive: a datagram has 1 to %d bytes, not %s', UDP_MAX, tostring(max)), 2)
  end
  local handle = sock.handle
  if not handle then
    return nil, 'closed'
  elseif handle.waits[READ] ~= 0 then
    return nil, 'busy'
  end
  api.udp_receive(handle, max or UDP_MAX, sock.read_ms)
  if handle.waits[READ] ~= 0 then
    handle = await(sock, READ, 'socket:receive')
    if not handle then
      return nil, 'closed'
    end
  end
  if handle.failed[READ] == 0 then
    return ffi_string(handle.data, handle.len)
  end
  return nil, ffi_string(api.udp_failure(handle))
end

function Udp.settimeout(sock, seconds)
  check_owner(sock, 'socket:settimeout')
  sock.read_ms = milliseconds(seconds, sock.read_ms, 'socket:settimeout', 2)
end

Udp.close = Socket.close

-- ---- For the modules of the runtime. ----

-- Shares the socket among all tasks of this state. It stays open until it is closed: neither the end of a
-- request nor cancelling a task that waits for it closes it.
local function share(sock)
  sock.is_shared = true
  local mine = sock.mine
  if mine then
    mine[sock] = nil
    sock.mine = nil
  end
  return sock
end

-- Whether the connection is not known to have ended.
local function is_alive(sock)
  return sock.handle ~= nil and api.is_alive(sock.handle) ~= 0
end

-- Closes at once, from anywhere, also outside a task.
local function drop(sock)
  if sock.handle then
    release(sock)
  end
end

_M.share, _M.is_alive, _M.drop = share, is_alive, drop

-- C's calls, for callers that do not suspend a task, and for closing a socket.
_M._api, _M._release = api, release

function socket_type.__tostring(sock)
  return sock.handle and 'socket' or 'socket (closed)'
end

members.class(Socket, 'a socket', { 'receive', 'receive_until', 'send', 'settimeout', 'settimeouts',
  'setkeepalive', 'close', 'reused', 'truncated', 'alpn', 'starttls', 'tlsbinding' },
  { 'handle', 'request', 'mine', 'send_ms', 'read_ms', 'wanted_alpn', 'is_secure', 'is_shared', 'is_udp',
    READ, WRITE })
members.class(Udp, 'a UDP socket', { 'send', 'receive', 'settimeout', 'close' },
  { 'handle', 'request', 'mine', 'read_ms', 'is_shared', READ, WRITE })

return members.strict(_M, 'moonring.socket')
