-- ngx.req.socket(): the content of the request as it arrives, and ngx.req.socket(true): the
-- connection itself, as a cosocket. What the client sends comes and goes by the job of the request
-- (hs_res_take_over), which lasts as long as the handler.
local ffi = require 'ffi'
local api = require 'moonring.abi'
local native = require 'moonring.ngx_api'
local new_reader = require 'moonring.ngx_reader'
local response = require 'moonring.ngx_response'
local scheduler = require 'moonring.scheduler'
local socket = require 'moonring.ngx_socket'
local states = require 'moonring.ngx_state'

local concat, floor = table.concat, math.floor
local error, pcall, setmetatable, tonumber, tostring, type = error, pcall, setmetatable, tonumber,
  tostring, type
local ffi_string = ffi.string
local wait_for_request = scheduler.wait_for_request

local _M = {}

-- ---- The content. ----

local BodySocket = {}
BodySocket.__index = BodySocket

function BodySocket.receive(sock, how)
  local reader = sock.reader
  if how == nil or how == '*l' then
    return reader:line()
  elseif how == '*a' then
    return reader:all()
  end
  local count = tonumber(how)
  if not count or count < 0 then
    error('bad pattern argument: ' .. tostring(how), 2)
  end
  return reader:bytes(floor(count))
end

function BodySocket.receiveany(sock, max)
  return sock.reader:any(max)
end

function BodySocket.receiveuntil(sock, ending, options)
  local state = {}
  return function(size)
    return sock.reader:up_to(ending, size, state, options and options.inclusive)
  end
end

-- The server's own time-outs for content count.
function BodySocket.settimeout() end
BodySocket.settimeouts = BodySocket.settimeout

function _M.of_content(state)
  if state.body_socket then
    return nil, 'duplicate call'
  end
  local request = api.request
  if not request:header 'Content-Length' and not request:header 'Transfer-Encoding' then
    return nil, 'no body'
  end
  local next_chunk = request:chunks(65536)
  local reader = new_reader(function()
    local chunk = next_chunk()
    if not chunk then
      return nil, 'closed'
    end
    return chunk
  end)
  state.body_socket = setmetatable({ reader = reader }, BodySocket)
  return state.body_socket
end

-- ---- The connection: what ngx_socket.lua uses as it does a socket of moonring.socket. ----

local ERR_ABORTED, WRITE_WAIT = -7, 1
-- From this hs_abort_reason_t on the client has gone.
local ABORT_LOST = 2

local Connection = {}
Connection.__index = Connection

-- Whether it is there. One that another request uses raises, as in OpenResty.
local function is_open(connection)
  if states.find() ~= connection.state then
    error('bad request', 4)
  end
  return not connection.state.is_over and connection.view.handle == connection.handle
end

-- At most `max` bytes, at least one.
function Connection.receive(connection, _, max)
  while is_open(connection) do
    local view = connection.view
    local data = native.next_bytes(view, max)
    if data ~= nil then
      return ffi_string(data, view.result_len)
    elseif view.result_len ~= 0 then
      break
    elseif not wait_for_request(scheduler.WAKE_CONTENT, 'sock:receive', connection.read_s) then
      return nil, 'timeout'
    end
  end
  return nil, 'closed'
end

-- Until the client has taken most of what it was sent.
local function wait_until_taken(connection)
  local view = connection.view
  repeat
    if not wait_for_request(scheduler.WAKE_DRAINED, 'sock:send', connection.send_s) then
      connection:close() -- a part was sent
      return nil, 'timeout'
    elseif not is_open(connection) or api.request_aborted(view) >= ABORT_LOST then
      return nil, 'closed'
    end
  until api.response_is_full(view) == 0
  return true
end

function Connection.send(connection, data)
  if connection.is_sending then
    return nil, 'busy'
  elseif not is_open(connection) then
    return nil, 'closed'
  elseif type(data) == 'table' then
    data = concat(data)
  end
  local result = api.response_write(connection.view, data, #data)
  if result == WRITE_WAIT then
    connection.is_sending = true
    local ok, sent, problem = pcall(wait_until_taken, connection)
    connection.is_sending = false
    if not ok then
      error(sent, 0)
    end
    return sent, problem
  end
  if result < 0 then
    return nil, result == ERR_ABORTED and 'closed' or 'no memory'
  end
  return true
end

function Connection.settimeouts(connection, _, send_s, read_s)
  connection.send_s, connection.read_s = send_s, read_s
end

-- What was sent goes out, then our side is shut.
function Connection.close(connection)
  if is_open(connection) then
    response.complete(connection.state)
  end
end

function _M.of_connection(state)
  if state.is_raw then
    return nil, 'duplicate call'
  elseif state.is_over then
    return nil, 'seen eof'
  end
  if not state.body_socket then
    api.request:body()
  end
  local ok, problem = response.take_over(state)
  if not ok then
    return nil, problem
  end
  if not state.root.on_abort then
    scheduler.on_abort(function() end) -- calls on the socket tell, no wait is to raise
  end
  local view = states.view()
  return socket.adopt(setmetatable({ state = state, view = view, handle = view.handle }, Connection))
end

return _M
