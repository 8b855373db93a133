-- ngx.req.socket(true), directly and under the server of lua-nginx-websocket.
local websocket = require 'nginx.websocket.server'

local cases = {}
-- The file runs for each request; globals stay.
NOTES = NOTES or {}

local function note(what)
  NOTES[#NOTES + 1] = what
end

function cases.ended()
  ngx.say(table.concat(NOTES, '\n'))
end

function cases.websocket()
  local wb, problem = websocket:new { timeout = 60000, max_payload_len = 1048576 }
  if not wb then
    ngx.log(ngx.ERR, 'no websocket: ', problem)
    return ngx.exit(426)
  end
  local parts = {}
  while true do
    local data, kind, err = wb:recv_frame()
    if not data then
      note('websocket ' .. err)
      return
    elseif kind == 'close' then
      note('websocket close ' .. tostring(err) .. ' ' .. data)
      wb:send_close(err or 1000, data)
      return
    elseif kind == 'ping' then
      assert(wb:send_pong(data))
    elseif kind == 'pong' then
      note('websocket pong ' .. data)
    elseif kind == 'text' and data == 'timeout' then
      wb:set_timeout(10)
      wb:send_text(select(3, wb:recv_frame()))
      wb:set_timeout(60000)
    elseif kind == 'text' and data == 'raise' then
      error 'as it was told'
    elseif kind == 'text' and data == 'version' then
      wb:send_text(VERSION or 'none')
    else
      parts[#parts + 1] = data
      if err ~= 'again' then
        local whole = table.concat(parts)
        parts = {}
        assert(wb[kind == 'binary' and 'send_binary' or 'send_text'](wb, whole))
      end
    end
  end
end

-- Every method of a cosocket, without any response of the server.
function cases.raw()
  local sock = assert(ngx.req.socket(true))
  assert(sock:send { 'go ', { 1, true }, '\n' })
  local all = { sock:receive(3), (assert(sock:receive())), (assert(sock:receiveany(1))) }
  local next_part = sock:receiveuntil '--end'
  for i = 1, 4 do
    all[#all + 1] = tostring((next_part(4)))
  end
  all[#all + 1] = (assert(sock:receiveuntil('!', { inclusive = true })()))
  sock:settimeout(10)
  local data, problem, partial = sock:receive(100)
  all[#all + 1] = tostring(data) .. problem .. partial
  sock:settimeouts(nil, nil, 60000)
  all[#all + 1] = select(2, ngx.req.socket(true))
  all[#all + 1] = select(2, ngx.say 'x')
  all[#all + 1] = select(2, ngx.flush(true))
  all[#all + 1] = ngx.var.arg_name .. ngx.req.get_method()
  sock:send(table.concat(all, '|') .. '\n')
  all = { assert(sock:receive '*a') }
  data, problem = sock:receive(1)
  all[#all + 1] = tostring(data) .. problem
  assert(sock:send(table.concat(all, '|') .. '\n')) -- a client that has shut down its side
  assert(sock:close())
  note('raw ' .. select(2, sock:send 'x') .. ' ' .. select(2, sock:close()))
end

-- Response head sent before, request content read before.
function cases.body()
  ngx.req.read_body()
  ngx.status = 201
  ngx.print 'framed'
  local sock = assert(ngx.req.socket(true))
  sock:send('raw ' .. ngx.req.get_body_data() .. ' ' .. assert(sock:receive()))
end

-- One thread receives while another one sends.
function cases.duplex()
  local sock = assert(ngx.req.socket(true))
  local reader = ngx.thread.spawn(function()
    local count = 0
    while true do
      local data = sock:receiveany(65536)
      if not data then
        return count
      end
      count = count + #data
    end
  end)
  assert(select(2, sock:receive(1)) == 'socket busy reading')
  local piece = ('x'):rep(100000)
  for _ = 1, 40 do
    assert(sock:send(piece))
  end
  local ok, count = ngx.thread.wait(reader)
  note('duplex ' .. tostring(ok) .. ' ' .. tostring(count))
end

-- A client that reads nothing.
function cases.flood()
  local sock = assert(ngx.req.socket(true))
  sock:settimeouts(nil, 200, nil)
  local piece, problem = ('x'):rep(100000), nil
  repeat
    _, problem = sock:send(piece)
  until problem
  note('flood ' .. problem .. ' ' .. select(2, sock:send 'x'))
end

-- A client that disconnects while the handler waits for something else.
function cases.leave()
  local sock = assert(ngx.req.socket(true))
  sock:send 'go\n'
  if ngx.var.arg_on_abort then
    ngx.on_abort(function()
      note 'on_abort'
    end)
  end
  local data, problem
  repeat
    data, problem = sock:receive(1)
  until not data
  ngx.sleep(0.01)
  note('leave ' .. problem .. ' ' .. ngx.var.arg_name)
end

function cases.keep()
  KEPT = assert(ngx.req.socket(true))
  while not STOLEN do
    ngx.sleep(0.01)
  end
end

function cases.steal()
  local ok, problem = pcall(KEPT.send, KEPT, 'x')
  ngx.say(tostring(ok), ' ', (problem:gsub('^.*: ', '')))
  ok, problem = pcall(KEPT.receive, KEPT, 1)
  ngx.say(tostring(ok), ' ', (problem:gsub('^.*: ', '')))
  STOLEN = true
end

-- On a worker there is no connection.
function cases.worker()
  local sock, problem = ngx.req.socket(true)
  ngx.say(tostring(sock), ' ', problem)
end

local case = cases[ngx.var.uri:sub(2)]
if not case then
  return ngx.exit(404)
end
case()
