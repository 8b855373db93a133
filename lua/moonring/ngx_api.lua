-- The C functions of the ngx modules: exec/hs_lua_ngx_abi.h.
local ffi = require 'ffi'
local native = require 'moonring.native'
require 'moonring.abi' -- declares hs_view_t

local VERSION = 3

ffi.cdef(native.ngx_abi)

local api = ffi.cast('hs_lua_ngx_api_t *', native.ngx)
if api.version ~= VERSION then
  error(('the Lua runtime speaks ngx ABI %d, the server %d: install them from one version'):format(
    VERSION, api.version))
end

return api
