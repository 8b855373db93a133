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
---@field ctx table of the request's own, made when it is first asked for: it survives waits and is
---gone with the request
local Request = {}

---The value of the first field of this name, in any case; nil if there is none.
---@param name string
---@return string?
function Request:header(name) end

---The values of all fields of this name in the order in which they were sent; {} without any.
---@param name string
---@return string[]
function Request:header_values(name) end

---All fields as they were sent: `for name, value in req:headers() do`
---@return fun(): string?, string?
function Request:headers() end

---The content, decoded if it was chunked; '' without any. With stream_content it waits for it; an
---error whose `code` is 'limit' where memory for the content of all requests does not suffice.
---@return string
function Request:body() end

---The content piece by piece, `for chunk in req:chunks(65536) do`: with stream_content as it
---arrives. What was taken is not in req:body().
---@param max? integer bytes of a piece at most; nil: what is there
---@return fun(): string?
function Request:chunks(max) end

---The numeric address of the client that trusted proxies (--trusted-proxy) forward the request for;
---the peer's where it is none of them. '' for a Unix socket's peer.
---@return string
function Request:trusted_peer() end

---Whether the client has gone.
---@return boolean
function Request:aborted() end

---Calls fn() in a task of its own when the client has gone. Without it the wait in which the
---handler is raises an error whose `code` is 'aborted'.
---@param fn fun()
function Request:on_abort(fn) end

---Whether this runs on a worker thread, where it may take its time.
---@return boolean
function Request:in_worker() end

---How a handler answers. Calls return the response, so that they can be chained; what cannot be
---done raises an error at the caller's line.
---@class moonring.Response
local Response = {}

---Forgets status, fields and content: for an error handler.
---@return moonring.Response
function Response:reset() end

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

---Sends a value as JSON (moonring.json). A status and a Content-Type that were set stay, unless
---`status` is given.
---@param value any
---@param status? integer
---@return moonring.Response
function Response:json(value, status) end

---Sends the client to another URL. Raises for what is not one: percent-encode what comes from
---elsewhere.
---@param url string absolute, or relative to the one that was requested
---@param status? 301|302|303|307|308 302
---@return moonring.Response
function Response:redirect(url, status) end

---Adds a cookie (moonring.cookies). Raises for what browsers would refuse.
---@param name string
---@param value string
---@param options? moonring.CookieOptions
---@return moonring.Response
function Response:cookie(name, value, options) end

---Announces how many bytes res:write will send. Without it the content is sent in chunks, or up to
---the end of the connection if the client speaks HTTP/1.0.
---@param length integer bytes
---@return moonring.Response
function Response:content_length(length) end

---Sends a piece of the content; the first one ends status and fields. Waits while the client takes
---less than it is given.
---@param data string|number|string[]
---@return true?, 'aborted'? aborted
function Response:write(data) end

---Sends what was written, status and fields too if nothing was, and waits until most of it has left.
---@return true?, 'aborted'? aborted
function Response:flush() end

---The content is complete.
function Response:finish() end

---Runs a function or coroutine after the request, and again whenever it has yielded.
---@param task thread|function
function hs_queue_push(task) end

---If true: the handler is called before a request's content has arrived, and req:chunks() and
---req:body() wait for it.
---@type boolean?
stream_content = nil

---@class moonring.Task
local Task = {}

---What the task's function returned; raises what it raised. nil, 'timeout' after `seconds`.
---@param seconds? number
---@return any ...
function Task:wait(seconds) end

---The wait in which it is raises an error whose `code` is 'cancelled'.
function Task:cancel() end

---@return 'running'|'waiting'|'ended'
function Task:status() end

---@class moonring.Timer
local Timer = {}

---Does not call its function any more.
function Timer:cancel() end

---@class moonring.Semaphore
local Semaphore = {}

---Takes one of those that are free, or waits for one. nil, 'timeout' after `seconds`.
---@param seconds? number
---@return true?, 'timeout'? why
function Semaphore:acquire(seconds) end

function Semaphore:release() end

---How many can be acquired at once.
---@return integer
function Semaphore:available() end

---The runtime, in every handler file without require.
---@class moonring
moonring = {}

---Other requests and tasks go on meanwhile.
---@param seconds number 0: one turn
function moonring.sleep(seconds) end

---Runs fn(...) in a task beside this one, which ends with its request unless it is detached. A task
---begins when the one that spawned it waits.
---@param fn fun(...): ...
---@return moonring.Task
---@overload fun(options: { detached: boolean }, fn: fun(...): ..., ...): moonring.Task
function moonring.spawn(fn, ...) end

---Calls fn(false) once, in a task of its own.
---@param seconds number
---@param fn fun(premature: boolean)
---@return moonring.Timer
function moonring.after(seconds, fn) end

---Calls fn(false) again and again, in a task of its own, `seconds` after it has returned; a last
---time with true when the reactor drains or loads another version.
---@param seconds number
---@param fn fun(premature: boolean)
---@return moonring.Timer
function moonring.every(seconds, fn) end

---Runs fn(...) for at most `seconds`: its results, or nil, 'timeout'.
---@param seconds number
---@param fn fun(...): ...
---@return any ...
function moonring.timeout(seconds, fn, ...) end

---Runs a function on a worker thread while this task waits. The function has no upvalues, or is
---named 'module.function'; arguments and results are copied: numbers, strings, booleans and tables of
---these. Raises what it raises, as text; an error whose `code` is 'busy' where no worker can take it.
---@param work string|fun(...): ...
---@return any ...
function moonring.worker(work, ...) end

---@param count integer
---@return moonring.Semaphore
function moonring.semaphore(count) end

---Seconds of a clock that never goes back.
---@return number
function moonring.now() end

---The number of the reactor, from 0; nil while the file is loaded, and on a worker.
---@return integer?
function moonring.reactor() end
