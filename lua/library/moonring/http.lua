---@meta moonring.http

---@class moonring.http
local http = {}

---@class moonring.FetchOptions
---@field method? string 'GET', or 'POST' with a body
---@field headers? table<string, string|number|(string|number)[]> a list sends the field several times; connection-specific fields (Connection, Transfer-Encoding …) are left out
---@field body? string|fun(): string?, string? a function returns the next piece, nil at the end, or nil and an error
---@field timeout? number seconds until the content has been read, redirects included; default: none
---@field connect_timeout? number seconds, 10
---@field read_timeout? number seconds in which the server sends, or accepts, no byte; 60
---@field redirect? integer how many redirects are followed; 0: they are returned like other responses
---@field retry? boolean|'always' default true: idempotent requests are retried if a pooled connection turns out to be dead
---@field decompress? boolean ask for gzip and deflate, and decode them
---@field max_body? integer maximum bytes read by res:body(); 8 MiB
---@field tls? boolean|table as in socket.connect; the certificate is verified by default
---@field pool? boolean|table as in socket.connect; false: the connection is closed after the response
---@field trace? moonring.TraceContext the trace of the request (moonring.trace)
---@field unix? string path of a Unix socket to connect to; the URL gives Host and target

---@class moonring.FetchResponse
---@field status integer
---@field reason string
---@field url string where it came from, after redirects
---@field headers table<string, string> by name in any case, for lookups only (see fields); repeats are joined with ", ", except Set-Cookie: the first
local Response = {}

---All fields in order, names in small letters: for name, value in res:fields() do.
---@return fun(): string, string
function Response:fields() end

---All values of the fields with this name, in order.
---@param name string
---@return string[]
function Response:values(name) end

---The next piece of content, nil at the end, or nil and an error. Waits.
---@return string? piece
---@return string? problem
function Response:read() end

---The content as it arrives: for chunk in res:chunks() do. Raises if it cannot be read to its end.
---@return fun(): string?
function Response:chunks() end

---The whole content, of at most max_body bytes; nil and an error. Waits.
---@return string? body
---@return string? problem
function Response:body() end

---Discards content that has not arrived: the connection is closed.
function Response:close() end

---Sends a request and waits for the head of the response; nil and an error. Raises for arguments of wrong
---types, and when the calling request is aborted.
---@param url string
---@param options? moonring.FetchOptions
---@return moonring.FetchResponse? response
---@return string? problem
function http.fetch(url, options) end

return http
