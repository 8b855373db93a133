---@meta moonring.json

---@class moonring.json
---@field null lightuserdata JSON's null, in both directions
local json = { null = nil }

---Marks a table (a new one by default) as an array, which is `[]` when empty.
---@generic T: table
---@param list? T
---@return T
function json.array(list) end

---Marks a table (a new one by default) as an object whose names are written sorted.
---@generic T: table
---@param fields? T
---@return T
function json.object(fields) end

---@class moonring.JsonEncodeOptions
---@field sorted? boolean names of all objects are written sorted

---@class moonring.JsonDecodeOptions
---@field big_integers? 'string' integers from 2^53 on become strings instead of losing digits

---The JSON text of a value: a table with the keys 1 to n is an array, one whose keys are strings an
---object. Bytes that are not UTF-8 become U+FFFD. Raises for values that cannot be encoded, and says where
---they are.
---@param value any
---@param options? moonring.JsonEncodeOptions
---@return string
function json.encode(value, options) end

---The value of a JSON text; nil and an error message if it is not JSON, or not UTF-8.
---@param text string
---@param options? moonring.JsonDecodeOptions
---@return any value
---@return string? problem
function json.decode(text, options) end

---res:json(value, status).
---@param res moonring.Response
---@param value any
---@param status? integer
---@return moonring.Response
function json.send(res, value, status) end

return json
