-- GET /grow?<bytes>: allocates memory and keeps it. GET /leap?<bytes>: the same, then blocks the loop.
local ffi = require 'ffi'

ffi.cdef [[
  void *malloc(size_t size);
  void *memset(void *memory, int byte, size_t size);
  int poll(void *fds, unsigned long count, int timeout_ms);
]]

function handle(req, res)
  local path, bytes = req.url:match('^(/%a*)%??(%d*)$')
  if bytes ~= '' then
    local size = tonumber(bytes)
    ffi.C.memset(ffi.C.malloc(size), 1, size)
  end
  if path == '/leap' then
    ffi.C.poll(nil, 0, 20000)
  end
  res:body('here'):send()
end
