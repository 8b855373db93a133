-- The C functions of moonring.http and req:decoded_body, exec/hs_lua_http_abi.h, declared to the FFI once.
local ffi = require 'ffi'
local native = require 'moonring.native'

local VERSION = 2

ffi.cdef(native.http_abi)

local api = ffi.cast('const hs_lua_http_api_t *', native.http)
if api.version ~= VERSION or api.reply_size ~= ffi.sizeof 'hs_lua_reply_t' then
  error 'the HTTP client and the server do not fit together: install them from one version'
end

return api
