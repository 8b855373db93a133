---@meta moonring.json

---@class moonring.json
---@field null lightuserdata JSON's null, both ways
local json = { null = nil }

---Marks a table (a new one by default) as an array, so that it is `[]` when it is empty.
---@generic T: table
---@param list? T
---@return T
function json.array(list) end

---The JSON text of a value. Raises for what is no JSON, and says where it stands.
---@param value any
---@return string
function json.encode(value) end

---The value of a JSON text; nil and what is wrong if it is none.
---@param text string
---@return any value
---@return string? problem
function json.decode(text) end

---Sets status (200), Content-Type and content, and sends.
---@param res moonring.Response
---@param value any
---@param status? integer
---@return moonring.Response
function json.send(res, value, status) end

return json
