-- Maps a request or response object to C's view of it. The objects are handles: the address of an exchange
-- and the number of a request, see exec/hs_lua_abi.h. The number is checked here, so an object whose request
-- is over raises an error instead of reading another request.
local ffi = require 'ffi'
local api = require 'moonring.abi'

local cast, istype = ffi.cast, ffi.istype
local lshift, rshift = bit.lshift, bit.rshift
local error = error

local handle_t = ffi.typeof 'uint64_t'
local view_t = ffi.typeof 'hs_view_t *'

local GENERATION_BITS, ALIGNMENT_BITS = api.generation_bits, api.alignment_bits

-- Returns the function that maps objects of one type (a pointer), called `name` in handlers, to their view.
-- It raises two levels up, at the line that used the object: `over` if its request is over, and for anything
-- that is not such an object, as in a call with a dot instead of a colon.
local function viewer(pointer_t, name, over)
  return function(object)
    if not istype(pointer_t, object) then
      error(('%s: methods are called with a colon, %s:method(...)'):format(name, name), 3)
    end
    local handle = cast(handle_t, object)
    local view = cast(view_t, lshift(rshift(handle, GENERATION_BITS), ALIGNMENT_BITS))
    if view.handle ~= handle then
      error(over, 3)
    end
    return view
  end
end

return viewer
