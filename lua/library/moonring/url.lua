---@meta moonring.url

---@class moonring.url
local url = {}

---@class moonring.Url
---@field scheme 'http'|'https'
---@field host string in small letters; an IPv6 address without brackets
---@field port integer
---@field authority string host and, unless it is the scheme's own, port: the value of Host
---@field origin string scheme and authority
---@field target string path and query as they are sent
---@field user? string decoded
---@field password? string decoded

---The parts of an absolute URL of HTTP; nil and what is wrong with it. What would have to be encoded
---is refused.
---@param text string
---@return moonring.Url? parts
---@return string? problem
function url.parse(text) end

---The absolute URL that `reference` means on the page at `base`; nil and what is wrong with the base.
---@param base string
---@param reference string
---@return string? text
---@return string? problem
function url.resolve(base, reference) end

return url
