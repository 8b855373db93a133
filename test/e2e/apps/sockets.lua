-- Handlers that connect to the upstream on the port in MOONRING_TEST_UPSTREAM.
local socket = require 'moonring.socket'
local scheduler = require 'moonring.scheduler'

local port = tonumber(os.getenv 'MOONRING_TEST_UPSTREAM')
local kept

local function upstream(options)
  options = options or {}
  options.host, options.port = options.host or '127.0.0.1', options.port or port
  return socket.connect(options)
end

local routes = {}

-- Sends a line to the upstream, receives a line. A plus stands for a space.
function routes.ask(req, res)
  local sock, failure = upstream()
  if not sock then
    return res:status(502):body(failure):send()
  end
  local order = req.url:match '%?(.*)':gsub('+', ' ')
  if order:find '^drip' or order == 'silent' then
    sock:settimeouts(nil, nil, 0.3)
  end
  sock:send { order, '\n' }
  local line, why, partial
  repeat -- the part of a line may come late
    line, why, partial = sock:receive 'line'
  until order == 'silent' or why ~= 'timeout' or partial ~= ''
  local reused = sock:reused()
  if line then
    sock:setkeepalive()
    return res:header('x-reused', tostring(reused)):body(line):send()
  end
  res:status(504):body(why .. ' after "' .. partial .. '"'):send()
end

-- Closes nothing: the end of the request does.
function routes.forget(_, res)
  local sock = assert(upstream { pool = false })
  sock:send 'hold\n'
  res:body(sock:receive 'line'):send()
end

function routes.keep(_, res)
  kept = assert(upstream { pool = false })
  kept:send 'hold\n'
  kept:receive 'line'
  res:body 'kept':send()
end

function routes.steal(_, res)
  res:body(select(2, pcall(kept.send, kept, 'x'))):send()
end

function routes.both(_, res)
  local sock = assert(upstream { pool = false })
  local task = scheduler.spawn(function()
    return sock:receive 'line'
  end)
  sock:send 'slow hello\n'
  res:body(task:wait()):send()
end

function routes.refused(_, res)
  local _, failure = upstream { port = 1 }
  res:body(failure):send()
end

function routes.unknown(_, res)
  local _, failure = upstream { host = 'does-not-exist.invalid' }
  res:body(failure):send()
end

function routes.unix(_, res)
  local _, failure = socket.connect { path = '/nonexistent/socket' }
  res:body(failure):send()
end

-- tls=… given by the test.
function routes.tls(req, res)
  local what = req.url:match '%?(.*)'
  local tls = { sni = 'localhost', ca = os.getenv 'MOONRING_TEST_CA', alpn = { 'http/1.1' } }
  if what == 'system' then
    tls.ca = nil
  elseif what == 'unverified' then
    tls = { verify = false }
  elseif what == 'name' then
    tls.sni = 'elsewhere.test'
  end
  local sock, failure = upstream { tls = tls, port = tonumber(os.getenv 'MOONRING_TEST_TLS') }
  if not sock then
    return res:body(failure):send()
  end
  sock:send 'secret\n'
  local answer = sock:receive 'line' .. ' ' .. tostring(sock:alpn()) .. ' ' .. sock:reused()
  sock:setkeepalive()
  res:body(answer):send()
end

-- TLS started after one line.
function routes.starttls(req, res)
  local sock = assert(upstream { pool = false, port = tonumber(os.getenv 'MOONRING_TEST_TLS') })
  local how = req.url:match '%?(.*)'
  sock:send(how == 'early' and 'early\n' or 'begin\n')
  local line = assert(sock:receive(3))
  if how == 'early' then
    sock:receive(1) -- what came with it is already here
  end
  local ok, failure = sock:starttls { sni = how == 'name' and 'elsewhere.test' or 'localhost',
    ca = os.getenv 'MOONRING_TEST_CA' }
  if not ok then
    local _, after = sock:receive 'line'
    return res:body(failure .. ', ' .. after):send()
  end
  sock:send 'secret\n'
  local _, again = sock:starttls()
  res:body(table.concat({ line, sock:receive 'line', #sock:tlsbinding(), again,
    tostring(select(2, sock:setkeepalive())) }, ' ')):send()
end

-- A datagram there and back; to a port where nothing listens; silence.
function routes.udp(req, res)
  local sock = assert(socket.udp { host = 'localhost', port = tonumber(os.getenv 'MOONRING_TEST_UDP') })
  sock:send { 'data', 'gram' }
  local answer, failure = sock:receive(6)
  sock:settimeout(0.2)
  sock:send 'silence'
  local _, silence = sock:receive()
  sock:close()
  local nothing = assert(socket.udp { host = '127.0.0.1', port = 1 })
  nothing:send 'x'
  local _, refused = nothing:receive()
  res:body(table.concat({ answer or failure, silence, refused, tostring(select(2, sock:receive())) },
    ' ')):send()
end

-- Errors of calls name the line.
function routes.mistakes(_, res)
  local messages = {}
  local function note(...)
    messages[#messages + 1] = tostring(select(2, pcall(...))):gsub('^.*/', '')
  end
  note(socket.connect)
  note(socket.connect, {})
  note(socket.connect, { host = 'a', port = 0 })
  note(socket.connect, { host = 'a', port = 1, prot = 2 })
  note(socket.connect, { host = 'a', port = 1, pool = { sise = 2 } })
  note(socket.connect, { host = 'a', port = 1, timeout = -1 })
  local sock = assert(upstream { pool = false })
  note(sock.receive, sock, 'lines')
  note(sock.receive, sock, -1)
  note(sock.send, sock, { 'a', true })
  note(sock.send, 'a')
  res:body(table.concat(messages, '\n')):send()
end

-- A megabyte to the upstream and back.
function routes.bulk(_, res)
  local sock = assert(upstream { pool = false })
  local data = ('x'):rep(1000000)
  local task = scheduler.spawn(function()
    return sock:receive 'line'
  end)
  sock:send { 'echo ', data, '\n' }
  res:body(task:wait() == data and 'same' or 'different'):send()
end

-- A task that is cancelled while it receives: its socket can no longer be used.
function routes.cancel(_, res)
  local sock = assert(upstream { pool = false })
  sock:send 'silent\n'
  local ok, failure = scheduler.timeout(0.05, sock.receive, sock, 'line')
  scheduler.sleep(0) -- the task ends
  local _, after = sock:receive 'line'
  res:body(table.concat({ tostring(ok), tostring(failure), after }, ' / ')):send()
end

-- One task closes a socket that another waits for.
function routes.close(_, res)
  local sock = assert(upstream { pool = false })
  local task = scheduler.spawn(function()
    return select(2, sock:receive 'line')
  end)
  scheduler.sleep(0) -- the task begins
  local _, busy = sock:receive 'line'
  sock:close()
  res:body(busy .. ' ' .. task:wait()):send()
end

-- A second connection where only one is allowed.
function routes.full(_, res)
  local pool = { max = 1, queue = 1, name = 'full' }
  local first = assert(upstream { pool = pool })
  local task = scheduler.spawn(function()
    local second = assert(upstream { pool = pool })
    return second:reused()
  end)
  local third = scheduler.spawn(function()
    return select(2, upstream { pool = pool })
  end)
  local failure = third:wait()
  first:setkeepalive()
  res:body(failure .. ' ' .. task:wait()):send()
end

function routes.hang(_, res)
  local sock = assert(upstream { pool = false })
  sock:send 'silent\n'
  local line = sock:receive 'line'
  res:body(line or 'nothing'):send()
end

function handle(req, res)
  routes[req.url:match '^/(%w+)'](req, res)
end
