-- For websocket.mjs: an echo, and sockets subscribed to a topic to which the first reactor publishes.
local ffi = require 'ffi'

ffi.cdef [[
  struct bench_time { long seconds, micros; };
  int gettimeofday(struct bench_time *time, void *zone);
]]

local time = ffi.new 'struct bench_time'
local every = tonumber(os.getenv 'PUBLISH_MS')
local TAIL = ('x'):rep(84)

local echo = {
  on_message = function(ws, message, kind)
    ws:send(message, kind)
  end,
}
local nothing = { on_message = function() end }

if every then
  moonring.every(every / 1000, function()
    if moonring.reactor() == 0 then
      ffi.C.gettimeofday(time, nil)
      local micros = tonumber(time.seconds) * 1e6 + tonumber(time.micros)
      moonring.publish('news', ('%016.0f'):format(micros) .. TAIL)
    end
  end)
end

function handle(req, res)
  if req.path == '/echo' then
    req:websocket(echo)
  elseif req.path == '/receive' then
    local ws = req:websocket()
    for message, kind in ws:messages() do
      ws:send(message, kind)
    end
  elseif req.path == '/follow' then
    local ws = req:websocket(nothing)
    if ws then
      ws:join 'news'
    end
  else
    res:body('hello, world\n'):send()
  end
end
