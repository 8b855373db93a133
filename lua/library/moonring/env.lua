---@meta moonring.env

---Environment variables, read when the file is loaded. A missing or invalid one raises an error.
---@class moonring.env
local env = {}

---A variable that must be set and not empty.
---@param name string
---@return string
function env.required(name) end

---@param name string
---@param default? string
---@return string?
function env.string(name, default) end

---@param name string
---@param default? number without it the variable has to be set
---@return number
function env.number(name, default) end

---@param name string
---@param default? integer without it the variable has to be set
---@return integer
function env.integer(name, default) end

---true for 1, true, yes and on, false for 0, false, no and off, in any case.
---@param name string
---@param default? boolean without it the variable has to be set
---@return boolean
function env.boolean(name, default) end

---@param name string
---@param values string[]
---@param default? string without it the variable has to be set
---@return string
function env.one_of(name, values, default) end

return env
