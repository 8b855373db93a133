---@meta moonring.query

---@class moonring.query
local query = {}

---Name -> value, the first one where a name is repeated. nil for a malformed escape or too many.
---@param text string
---@param limit? integer pairs; 100
---@return table<string, string>? fields
---@return string? problem
---@return boolean? too_many
function query.parse(text, limit) end

---Name -> all its values in order.
---@param text string
---@param limit? integer pairs; 100
---@return table<string, string[]>? fields
---@return string? problem
---@return boolean? too_many
function query.parse_all(text, limit) end

---The pairs as sent.
---@param text string
---@param limit? integer pairs; 100
---@return { name: string, value: string }[]? pairs
---@return string? problem
---@return boolean? too_many
function query.parse_pairs(text, limit) end

---The query with these fields, sorted by name. Raises for other values.
---@param fields table<string, string|number|boolean|(string|number|boolean)[]>
---@return string
function query.encode(fields) end

return query
