---@meta moonring.validation

---Checks of what a client sends, by a description of it.
---@class moonring.validation
local validation = {}

---@class moonring.Schema
---@field type? 'string'|'number'|'integer'|'boolean'|'array'|'object'|'any' may be left out beside `fields` and `items`
---@field required? boolean of a field: it is there, and not null
---@field default? any of a field that is not there
---@field nullable? boolean json.null is a value
---@field enum? any[]
---@field check? fun(value: any): string? what is wrong with a value of the type
---@field min? number
---@field max? number
---@field min_length? integer characters
---@field max_length? integer characters
---@field pattern? string one of string.find
---@field items? moonring.Schema of the elements
---@field min_items? integer
---@field max_items? integer
---@field fields? table<string, moonring.Schema>
---@field unknown? 'refuse'|'drop'|'keep' other keys

---@class moonring.FieldError
---@field path string `items[2].price`
---@field message string

---@class moonring.Checker
local Checker = {}

---The value with its defaults, a copy; nil and what is wrong.
---@param value any
---@return any value
---@return moonring.FieldError[]? errors at most 20
function Checker:check(value) end

---The same for texts, of which numbers and booleans are read.
---@param fields table<string, string|string[]>
---@return any value
---@return moonring.FieldError[]? errors
function Checker:check_text(fields) end

---The content, JSON. Raises a refusal with status 400 or 415, message and errors.
---@param req moonring.Request
---@return any
function Checker:body(req) end

---The fields of the query. Raises a refusal with status 400.
---@param req moonring.Request
---@return any
function Checker:query(req) end

---Parameters of the router. Raises a refusal with status 400.
---@param params moonring.Params
---@return any
function Checker:params(params) end

---Raises for a mistake in the schema.
---@param schema moonring.Schema
---@return moonring.Checker
function validation.new(schema)
  return Checker
end

return validation
