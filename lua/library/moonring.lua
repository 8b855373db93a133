---@meta
-- For editors only: what a handler file finds without require. See docs/lua.md.

---What a handler is asked. It is over when the handler returns: every later use raises an error.
---@class moonring.Request
---@field method string 'GET'
---@field url string the target as it was sent, with its query
---@field path string the target's path as it was sent: percent-encoded, without query
---@field query string what follows the first `?` as it was sent; '' without any
---@field version '1.0'|'1.1'
---@field id string no other request of this machine has it; it is in the access log
---@field peer string the client's numeric address, '' on a Unix socket
local Request = {}

---The value of the first field of this name, in any case; nil if there is none.
---@param name string
---@return string?
function Request:header(name) end

---All fields as they were sent: `for name, value in req:headers() do`
---@return fun(): string?, string?
function Request:headers() end

---The content, decoded if it was chunked; '' without any.
---@return string
function Request:body() end

---Whether this runs on a worker thread, where it may take its time.
---@return boolean
function Request:in_worker() end

---How a handler answers. Calls return the response, so that they can be chained; what cannot be
---done raises an error at the caller's line.
---@class moonring.Response
local Response = {}

---@param code integer 200 to 599; 200 if it is never called
---@return moonring.Response
function Response:status(code) end

---Adds a field; repeats are kept.
---@param name string
---@param value string|number
---@return moonring.Response
function Response:header(name, value) end

---Replaces the content.
---@param text string|number
---@return moonring.Response
function Response:body(text) end

---The response is complete.
---@return moonring.Response
function Response:send() end

---Runs a function or coroutine after the request, and again whenever it has yielded.
---@param task thread|function
function hs_queue_push(task) end
