-- A module of the service: `require` finds modules next to the handler.
local _M = {}

---@param name string
---@return string
function _M.to(name)
  return ('hello, %s'):format(name)
end

return _M
