-- Replaces moonring.socket and moonring.scheduler where test/lua tests moonring.http: a script
-- determines what each connection does.
--
--   fake.connections = { { 'bytes', 'more bytes', 'closed' }, … }
--
-- One list for each connection, in the order in which they are opened: bytes returned by receive(), or
-- one of the errors below. A list may set `reused`, how many requests it has carried, `send`, the
-- error of the first send, `truncated`, that it is not closed properly, and `refuses`, why it cannot
-- be opened.
local ERRORS = { closed = true, timeout = true, reset = true }

local fake = { connections = {}, made = {}, clock = 0 }

local Socket = {}
Socket.__index = Socket

function Socket.send(sock, data)
  assert(not sock.closed, 'send on a closed socket')
  if sock.script.send then
    local problem = sock.script.send
    sock.script.send = nil
    problem = type(problem) == 'function' and problem() or problem
    return nil, problem
  end
  sock.sent[#sock.sent + 1] = type(data) == 'table' and table.concat(data) or data
  return true
end

function Socket.receive(sock, how)
  assert(how == 'any')
  if sock.closed then
    return nil, 'closed'
  end
  sock.at = sock.at + 1
  local step = sock.script[sock.at]
  if type(step) == 'function' then
    step = step(sock)
  end
  if type(step) == 'number' then
    fake.clock = fake.clock + step
    return Socket.receive(sock, how)
  end
  if step == nil then
    error('the script of the connection is over', 2)
  elseif ERRORS[step] then
    return nil, step
  end
  return step
end

function Socket.settimeouts(sock, _, send, read)
  sock.send_timeout, sock.read_timeout = send or sock.send_timeout, read or sock.read_timeout
end

function Socket.setkeepalive(sock)
  assert(not sock.closed and not sock.kept)
  sock.kept = true
  return true
end

function Socket.close(sock)
  sock.closed = true
end

function Socket.truncated(sock)
  return sock.script.truncated or false
end

function Socket.reused(sock)
  return sock.script.reused or 0
end

local socket = {}

function socket.connect(options)
  local script = table.remove(fake.connections, 1)
  if not script then
    error('more connections than expected', 2)
  elseif script.refuses then
    return nil, script.refuses
  end
  local sock = setmetatable({ script = script, options = options, sent = {}, at = 0 }, Socket)
  fake.made[#fake.made + 1] = sock
  return sock
end

local scheduler = {}

function scheduler.now()
  return fake.clock
end

-- A task that ends at once.
function scheduler.spawn(fn)
  fn()
  return { cancel = function() end }
end

package.loaded['moonring.socket'] = socket
package.loaded['moonring.scheduler'] = scheduler

-- Everything sent on the connection.
function fake.sent(number)
  return table.concat(fake.made[number].sent)
end

-- The next connections.
function fake.script(...)
  fake.connections, fake.made, fake.clock = { ... }, {}, 0
end

return fake
