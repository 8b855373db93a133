---@meta moonring.percent

---Percent-encoding, RFC 3986 §2.1.
---@class moonring.percent
local percent = {}

---The bytes that the text means; nil if a `%` is not followed by two hexadecimal digits.
---@param text string
---@return string?
function percent.decode(text) end

---Everything escaped but A-Z a-z 0-9 - . _ ~
---@param text string
---@return string
function percent.encode(text) end

return percent
