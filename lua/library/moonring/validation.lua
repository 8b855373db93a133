---@meta moonring.validation

---Validation of client data against a schema.
---@class moonring.validation
local validation = {}

---@class moonring.Schema
---@field type? 'string'|'number'|'integer'|'boolean'|'array'|'object'|'any' optional with `fields` and `items`
---@field required? boolean the field must be present and not null
---@field default? any value of an absent field
---@field nullable? boolean json.null is a valid value
---@field enum? any[]
---@field check? fun(value: any): string? returns what is wrong with a value of the right type
---@field min? number
---@field max? number
---@field min_length? integer characters
---@field max_length? integer characters
---@field pattern? string as in string.find
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

---The value with its defaults, a copy; nil and an error message.
---@param value any
---@return any value
---@return moonring.FieldError[]? errors at most 20
function Checker:check(value) end

---The same for strings, from which numbers and booleans are read.
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
