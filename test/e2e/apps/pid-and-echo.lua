-- Responds with the request's content or, without content, the pid of the reactor.
local ffi = require('ffi')
ffi.cdef('int getpid(void);')
local pid = tostring(ffi.C.getpid())

function handle(req, res)
  local body = req:body()
  res:status(200):header('Content-Type', 'text/plain'):body(#body > 0 and body or pid):send()
end
