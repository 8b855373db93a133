---@meta moonring.percent

---Percent-encoding, RFC 3986 §2.1.
---@class moonring.percent
local percent = {}

---The decoded bytes; nil if a `%` is not followed by two hexadecimal digits.
---@param text string
---@return string?
function percent.decode(text) end

---Escapes everything but A-Z a-z 0-9 - . _ ~
---@param text string
---@return string
function percent.encode(text) end

return percent
