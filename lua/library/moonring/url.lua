---@meta moonring.url

---@class moonring.url
local url = {}

---@class moonring.Url
---@field scheme 'http'|'https'
---@field host string in lower case; an IPv6 address without brackets
---@field port integer
---@field authority string host and, unless it is the scheme's own, port: the value of Host
---@field origin string scheme and authority
---@field target string path and query as sent
---@field user? string decoded
---@field password? string decoded

---The parts of an absolute HTTP URL; nil and an error message. Characters that need encoding are
---refused.
---@param text string
---@return moonring.Url? parts
---@return string? problem
function url.parse(text) end

---The absolute URL of `reference`, resolved against `base`; nil and an error message for a bad base.
---@param base string
---@param reference string
---@return string? text
---@return string? problem
function url.resolve(base, reference) end

return url
