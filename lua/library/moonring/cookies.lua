---@meta moonring.cookies

---@class moonring.cookies
local cookies = {}

---@class moonring.CookieOptions
---@field path? string
---@field domain? string
---@field max_age? integer seconds
---@field expires? integer a time as returned by os.time
---@field same_site? 'Strict'|'Lax'|'None'
---@field secure? boolean
---@field http_only? boolean
---@field partitioned? boolean

---The cookies of a Cookie field, the first one where a name is repeated; nil for more than 200.
---@param text string
---@return table<string, string>? cookies
---@return string? problem
function cookies.parse(text) end

---The cookies of a request, of all its Cookie fields.
---@param req moonring.Request
---@return table<string, string>? cookies
---@return string? problem
function cookies.read(req) end

---The value of a Set-Cookie field. Raises for cookies that browsers would refuse.
---@param name string
---@param value string
---@param options? moonring.CookieOptions
---@return string
function cookies.format(name, value, options) end

---Adds a Set-Cookie field to the response.
---@param res moonring.Response
---@param name string
---@param value string
---@param options? moonring.CookieOptions
---@return moonring.Response
function cookies.set(res, name, value, options) end

---A signed text for the value of a cookie: bound to its name, valid for max_age seconds.
---@param name string
---@param value string any string; clients can read it
---@param keys string|string[] of at least 16 bytes; the first one signs
---@param max_age integer seconds
---@return string
function cookies.sign(name, value, keys, max_age) end

---The signed value; nil and 'malformed', 'not signed with these keys' or 'expired'.
---@param name string
---@param text string
---@param keys string|string[]
---@return string? value
---@return string? problem
function cookies.verify(name, text, keys) end

---Like cookies.set, with a signed value; max_age is required.
---@param res moonring.Response
---@param name string
---@param value string
---@param keys string|string[]
---@param options moonring.CookieOptions
---@return moonring.Response
function cookies.set_signed(res, name, value, keys, options) end

---The value of a signed cookie of the request; nil and 'missing', or as verify.
---@param req moonring.Request
---@param name string
---@param keys string|string[]
---@return string? value
---@return string? problem
function cookies.read_signed(req, name, keys) end

return cookies
