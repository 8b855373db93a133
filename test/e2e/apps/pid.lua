-- Responds with the pid of the reactor that serves the request.
local ffi = require('ffi')
ffi.cdef('int getpid(void);')
local pid = tostring(ffi.C.getpid())

function handle(_, res)
  res:status(200):header('Content-Type', 'text/plain'):body(pid):send()
end
