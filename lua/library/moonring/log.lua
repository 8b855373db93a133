---@meta moonring.log

---The server's log: each call writes one record, of one line, which names the request. No call raises an
---error. Fields are members of the JSON record: strings, numbers, booleans and tables of these; other values
---are written with tostring(). Together they have at most 4096 bytes; more is cut.
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
