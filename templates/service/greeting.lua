-- A module of the service: modules beside the handler are found by `require`.
local _M = {}

---@param name string
---@return string
function _M.to(name)
  return ('hello, %s'):format(name)
end

return _M
