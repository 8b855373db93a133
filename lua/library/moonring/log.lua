---@meta moonring.log

---The server's log: one record a call, of one line, which names the request. No call raises an error.
---Fields are members of the JSON record: strings, numbers, booleans and tables of these; of other
---values tostring() is written. Together they have at most 4096 bytes; what is more is cut.
---@class moonring.log
local log = {}

---@param text any further values that are no tables are added to it
---@param fields? table<string, any>
function log.debug(text, fields, ...) end

---@param text any further values that are no tables are added to it
---@param fields? table<string, any>
function log.info(text, fields, ...) end

---@param text any further values that are no tables are added to it
---@param fields? table<string, any>
function log.warn(text, fields, ...) end

---@param text any further values that are no tables are added to it
---@param fields? table<string, any>
function log.error(text, fields, ...) end

return log
