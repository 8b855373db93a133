-- Answers with the request's body, or without one with the pid of the reactor that serves it.
local ffi = require('ffi')
ffi.cdef('int getpid(void);')
local pid = tostring(ffi.C.getpid())

function handle(req, res)
  local body = req:body()
  res:status(200):header('Content-Type', 'text/plain'):body(#body > 0 and body or pid):send()
end
