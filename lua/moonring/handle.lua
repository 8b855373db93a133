-- From a request or response object to the view that C keeps of it. The objects are handles: the
-- address of an exchange and the number of a request, see exec/hs_lua_abi.h. Handles are compared
-- here, so that an object whose request is over raises instead of reading another request.
local ffi = require 'ffi'
local api = require 'moonring.abi'

local cast = ffi.cast
local lshift, rshift = bit.lshift, bit.rshift
local error = error

local handle_t = ffi.typeof 'uint64_t'
local view_t = ffi.typeof 'hs_view_t *'

local GENERATION_BITS, ALIGNMENT_BITS = api.generation_bits, api.alignment_bits

-- Raises `over` two levels up, at the line that used the object, if its request is over.
local function view_of(object, over)
  local handle = cast(handle_t, object)
  local view = cast(view_t, lshift(rshift(handle, GENERATION_BITS), ALIGNMENT_BITS))
  if view.handle ~= handle then
    error(over, 3)
  end
  return view
end

return view_of
