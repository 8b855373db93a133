-- From a request or response object to the view that C keeps of it. The objects are handles: the
-- address of an exchange and the number of a request, see exec/hs_lua_abi.h. Handles are compared
-- here, so that an object whose request is over raises instead of reading another request.
local ffi = require 'ffi'
local api = require 'moonring.abi'

local cast, istype = ffi.cast, ffi.istype
local lshift, rshift = bit.lshift, bit.rshift
local error = error

local handle_t = ffi.typeof 'uint64_t'
local view_t = ffi.typeof 'hs_view_t *'

local GENERATION_BITS, ALIGNMENT_BITS = api.generation_bits, api.alignment_bits

-- For objects of one type (a pointer), which a handler calls `name`: the function that gives their
-- view. It raises two levels up, at the line that used the object: `over` if its request is over,
-- and for anything that is no such object, which a call with a dot instead of a colon passes.
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
