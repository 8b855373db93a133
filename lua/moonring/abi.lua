-- The C side, declared to the FFI from the text that C itself was compiled from.
local ffi = require 'ffi'
local native = require 'moonring.native'

local VERSION = 14

ffi.cdef(native.abi)

local api = ffi.cast('hs_lua_api_t *', native.api)

if api.version ~= VERSION then
  error(('the Lua runtime speaks ABI %d, the server %d: install them from one version'):format(
    VERSION, api.version))
end
if api.view_size ~= ffi.sizeof('hs_view_t') then
  error('LuaJIT and the C compiler disagree about hs_view_t')
end

return api
