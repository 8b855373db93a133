---@meta moonring.log

---The server's log: one record a call.
---@class moonring.log
local log = {}

---@param text any
function log.debug(text) end

---@param text any
function log.info(text) end

---@param text any
function log.warn(text) end

---@param text any
function log.error(text) end

return log
