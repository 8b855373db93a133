---@meta
-- For editors only: the globals of a handler file. See docs/lua.md.

---A request. It is over when the handler returns: any later use raises an error.
---@class moonring.Request
---@field method string 'GET'
---@field url string the target as sent, with its query
---@field path string the target's path as sent: percent-encoded, without the query
---@field query string what follows the first `?`, as sent; '' if there is none
---@field version '1.0'|'1.1'
---@field id string unique on this machine; it is in the access log
---@field peer string the client's numeric address, '' on a Unix socket
---@field scheme 'https'|'http' https if it came over TLS, here or, according to X-Forwarded-Proto or Forwarded,
---to the trusted proxy that is the peer
---@field tls? moonring.Tls facts about the TLS connection; nil without TLS
---@field trace? moonring.TraceContext the trace that the client named
---@field last_event_id? string the id of the last event that an EventSource received before it
---reconnected
---@field ctx table private to the request, created at first use: it survives waits and is
---dropped with the request
local Request = {}

---The value of the first field of this name, in any case; nil if there is none.
---@param name string
---@return string?
function Request:header(name) end

---The values of all fields of this name in the order sent; {} if there are none.
---@param name string
---@return string[]
function Request:header_values(name) end

---All fields as sent: `for name, value in req:headers() do`
---@return fun(): string?, string?
function Request:headers() end

---The content, decoded if it was chunked; '' if there is none. With stream_content it waits for the content;
---raises an error whose `code` is 'limit' if the memory for the content of all requests is used up.
---@return string
function Request:body() end

---The content without its Content-Encoding (gzip), unchanged without one. nil, a message and the matching
---status: 415, 400, or 413.
---@param most? integer bytes (4 MiB)
---@return string? content, string? problem, integer? status
function Request:decoded_body(most) end

---The content piece by piece, `for chunk in req:chunks(65536) do`: with stream_content as it
---arrives. Pieces already returned are not in req:body().
---@param max? integer maximum bytes of a piece; nil: whatever is available
---@return fun(): string?
function Request:chunks(max) end

---The numeric address of the client for which trusted proxies (--trusted-proxy) forward the request; the
---peer's address if the peer is not one of them. '' for a peer on a Unix socket.
---@return string
function Request:trusted_peer() end

---Whether the client has disconnected.
---@return boolean
function Request:aborted() end

---Calls fn() in a separate task when the client disconnects. Without it, the handler's current wait raises an
---error whose `code` is 'aborted'.
---@param fn fun()
function Request:on_abort(fn) end

---Whether this runs on a worker thread, where it may take its time.
---@return boolean
function Request:in_worker() end

---Responds with 101: the request becomes a WebSocket. With on_message the callbacks are called and the
---handler returns; without, the handler receives messages, and the socket closes when it returns. nil and the
---status of the response already sent if the request is not a valid handshake. Not on a worker.
---@param options? moonring.WebSocketOptions
---@return moonring.WebSocket? socket
---@return integer? status
function Request:websocket(options) end

---@class moonring.WebSocketOptions
---@field protocols? string|string[] supported subprotocols: the first one offered by the client is chosen
---@field origins? string|string[] pages that may connect: origins, 'same' for that of the Host field, '*'
---for any ('same'). Clients other than browsers send no origin and may connect
---@field on_open? fun(ws: moonring.WebSocket)
---@field on_message? fun(ws: moonring.WebSocket, message: string, kind: 'text'|'binary') one at a time
---@field on_drain? fun(ws: moonring.WebSocket) after ws:send had to wait, or could not wait: little is unsent
---@field on_close? fun(ws: moonring.WebSocket, code: integer, reason: string) called once; 1006: without a
---Close frame, 1005: one without a code
---@field on_handover? fun(ws: moonring.WebSocket): any the file was reloaded and defines the global
---on_reload(ws, data): the socket moves to the new code, with a copy of the returned value (numbers, strings,
---booleans, tables of these; at most 64 KiB). Without this callback, or if it returns false, the socket stays
---with its old code. It cannot wait
---@field on_error? fun(ws: moonring.WebSocket, message: string) a callback raised an error: it was logged, and
---the socket is closed with 1011 after this

---A client's WebSocket (req:websocket). Its callbacks may wait, like a handler: until one returns, no other
---is called for this socket, and nothing more is read from it.
---@class moonring.WebSocket
---@field ctx table private to the socket, created at first use; dropped when on_close, or the handler
---that receives, returns
---@field protocol? string the subprotocol that was chosen
local WebSocket = {}

---Sends a message. Waits while the client is slow. nil and 'closed', or 'slow' if too much was unsent
---(--ws-max-unsent) and the socket was closed. Raises for text that is not UTF-8.
---@param message string|number
---@param kind? 'text'|'binary' 'text'
---@return true? sent
---@return ('closed'|'slow'|'no memory')? why
function WebSocket:send(message, kind) end

---The next message and its kind. Only for a socket without on_message. nil and 'timeout'; or nil, 'closed',
---the code and the reason.
---@param seconds? number nil: no limit
---@return string? message
---@return string? kind 'text', 'binary'; or why there is none
---@return integer? code
---@return string? reason
function WebSocket:receive(seconds) end

---All messages until the socket is closed: `for message, kind in ws:messages() do`
---@return fun(): string?, string?
function WebSocket:messages() end

---Sends a ping. The server itself pings idle clients (--ws-ping-interval).
---@param payload? string at most 125 bytes
---@return true? sent
---@return ('closed'|'slow'|'no memory')? why
function WebSocket:ping(payload) end

---Starts the closing handshake. Messages arriving later are dropped; on_close follows.
---@param code? integer 1000 to 1003, 1007 to 1014, or one of your own from 3000 to 4999 (1000)
---@param reason? string UTF-8; cut at 123 bytes
---@return true? closing
---@return 'closed'? why
function WebSocket:close(code, reason) end

---From here on, messages published to the topic (moonring.publish) in any process are sent to the socket,
---without running a handler. It leaves when it closes. Joining twice is harmless.
---@param topic string 1 to 255 bytes
---@param options? { kind?: 'text'|'binary', slow?: 'close'|'skip' } how messages are sent ('text'; one that
---is not UTF-8 is binary), and what happens if the client is too slow ('close': beyond
---`--ws-max-unsent` it is closed)
---@return true? joined
---@return 'closed'? why
function WebSocket:join(topic, options) end

---Stops sending messages published to the topic.
---@param topic string
---@return boolean left false: it had not joined
function WebSocket:leave(topic) end

---Bytes waiting to be sent to the client.
---@return integer
function WebSocket:unsent() end

---@return boolean
function WebSocket:is_open() end

---A response. Calls return it, so they can be chained; invalid calls raise an error at the caller's line.
---@class moonring.Response
local Response = {}

---Discards status, fields and content: for an error handler.
---@return moonring.Response
function Response:reset() end

---Whether the server may compress the content (--compress): false never, true whatever its type and
---size. Without a call: by type and size.
---@param compress boolean
---@return moonring.Response
function Response:compress(compress) end

---The status of the response, also after it was sent.
---@return integer
function Response:get_status() end

---The value of the first field added under this name, in any case; not those that the server writes itself.
---@param name string
---@return string?
function Response:get_header(name) end

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

---Redirects the client to another URL. Raises if it is not a URL: percent-encode outside data.
---@param url string absolute, or relative to the requested one
---@param status? 301|302|303|307|308 302
---@return moonring.Response
function Response:redirect(url, status) end

---Adds a cookie (moonring.cookies). Raises for cookies that browsers would refuse.
---@param name string
---@param value string
---@param options? moonring.CookieOptions
---@return moonring.Response
function Response:cookie(name, value, options) end

---Sends a file, with preconditions, one range, Content-Type, ETag and Last-Modified. The response, or nil and
---why not; then the response is unchanged. A status and fields that were set stay.
---@param path string
---@param options? moonring.FileOptions
---@return moonring.Response? sent
---@return ('not found'|'forbidden'|'a directory'|'busy'|'failed')? why
function Response:file(path, options) end

---Sets ETag and Last-Modified and evaluates the request's conditions (RFC 9110 §13.2.2): true if the
---response was sent with 304 or 412, false if the handler has to send its content.
---@param validators { etag?: string, last_modified?: number } `"…"` or `W/"…"`; seconds since 1970
---@return boolean
function Response:preconditions(validators) end

---Announces how many bytes res:write will send. Without it the content is sent chunked, or up to the end of
---the connection to an HTTP/1.0 client.
---@param length integer bytes
---@return moonring.Response
function Response:content_length(length) end

---Sends a piece of the content; the first one also sends status and fields. Waits while the client is slow.
---@param data string|number|string[]
---@return true?, 'aborted'? aborted
function Response:write(data) end

---Sends what was written (status and fields, if nothing was), and waits until most of it is sent.
---@return true?, 'aborted'? aborted
function Response:flush() end

---Starts a stream of server-sent events: sends status and fields at once.
---@param options? moonring.EventOptions
---@return moonring.EventStream
function Response:events(options) end

---The content is complete.
function Response:finish() end

---@class moonring.EventOptions
---@field heartbeat? number|false seconds after which a quiet stream sends a comment (15); false: never
---@field retry? number seconds after which the client connects again

---@class moonring.Event
---@field data? string|number|table a table is sent as JSON
---@field event? string the name that listeners register for; 'message' without it
---@field id? string|number the value of req.last_event_id after this event
---@field retry? number seconds after which the client connects again
---@field comment? string lines that clients ignore

---@class moonring.EventStream
local EventStream = {}

---Sends an event, or its data. Waits while the client is slow. nil, 'aborted' after the client disconnected,
---nil, 'ended' after the end of the stream.
---@param event moonring.Event|string|number
---@return true?, ('aborted'|'ended')? why
function EventStream:send(event) end

---Sends lines that clients ignore.
---@param text? string
---@return true?, ('aborted'|'ended')? why
function EventStream:comment(text) end

---Ends the stream. Twice is harmless.
function EventStream:finish() end

---Runs a function or coroutine after the request, and again whenever it yields.
---@param task thread|function
function hs_queue_push(task) end

---If true: the handler is called before a request's content has arrived, and req:chunks() and
---req:body() wait for it.
---@type boolean?
stream_content = nil

---@class moonring.Task
local Task = {}

---The results of the task's function; raises its error. nil, 'timeout' after `seconds`.
---@param seconds? number
---@return any ...
function Task:wait(seconds) end

---Its current wait raises an error whose `code` is 'cancelled'.
function Task:cancel() end

---@return 'running'|'waiting'|'ended'
function Task:status() end

---@class moonring.Timer
local Timer = {}

---Its function is not called any more.
function Timer:cancel() end

---@class moonring.Subscription
local Subscription = {}

---The next message, and how many of the topic's messages were lost before it because this subscription was
---too far behind; waits for one. nil, 'timeout' after `seconds`; nil, 'closed' when the subscription is
---closed.
---@param seconds? number
---@return string? message
---@return integer|'timeout'|'closed' lost
function Subscription:receive(seconds) end

---for message, lost in subscription:messages() do … end: until the subscription is closed.
---@return fun(subscription: moonring.Subscription): string?, integer
---@return moonring.Subscription
function Subscription:messages() end

---No more messages. Closing twice is harmless.
function Subscription:close() end

---@class moonring.Semaphore
local Semaphore = {}

---Acquires one, waiting if none is free. nil, 'timeout' after `seconds`.
---@param seconds? number
---@return true?, 'timeout'? why
function Semaphore:acquire(seconds) end

function Semaphore:release() end

---How many can be acquired without waiting.
---@return integer
function Semaphore:available() end

---The runtime, a global in every handler file.
---@class moonring the modules are loaded at first use
---@field cache moonring.cache
---@field cookies moonring.cookies
---@field crypto moonring.crypto
---@field env moonring.env
---@field forms moonring.forms
---@field http moonring.http
---@field json moonring.json
---@field limit moonring.limit
---@field lock moonring.lock
---@field log moonring.log
---@field metrics moonring.metrics
---@field ngx moonring.ngx
---@field percent moonring.percent
---@field postgres moonring.postgres
---@field query moonring.query
---@field redis moonring.redis
---@field router moonring.router
---@field shared moonring.shared
---@field socket moonring.socket
---@field test moonring.test
---@field trace moonring.trace
---@field url moonring.url
---@field validation moonring.validation
moonring = {}

---Other requests and tasks run meanwhile.
---@param seconds number 0: one turn
function moonring.sleep(seconds) end

---Runs fn(...) in a task beside this one, which ends with its request unless it is detached. A task starts
---when the one that spawned it waits.
---@param fn fun(...): ...
---@return moonring.Task
---@overload fun(options: { detached: boolean }, fn: fun(...): ..., ...): moonring.Task
function moonring.spawn(fn, ...) end

---Calls fn(false) once, in a separate task.
---@param seconds number
---@param fn fun(premature: boolean)
---@return moonring.Timer
function moonring.after(seconds, fn) end

---Calls fn(false) repeatedly, in a separate task, `seconds` after it returned; one last time with true when
---the reactor drains or loads another version.
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
---these. Raises the function's error as text; an error whose `code` is 'busy' if no worker is available.
---@param work string|fun(...): ...
---@return any ...
function moonring.worker(work, ...) end

---@param count integer
---@return moonring.Semaphore
function moonring.semaphore(count) end

---A handler for the files below a directory: GET and HEAD.
---@param root string
---@param options? moonring.StaticOptions
---@return fun(req: moonring.Request, res: moonring.Response)
function moonring.static(root, options) end
---Delivers a message to every current subscription to the topic: in all reactors, on worker threads, and in
---the program that started the server. Never waits.
---@param topic string 1 to 255 bytes
---@param message string at most 65536 bytes
---@return true
function moonring.publish(topic, message) end

---A subscription to messages published from now on. It ends with the request unless it is detached. A
---function is called for each message, in a separate task.
---@param topic string 1 to 255 bytes
---@param options? { detached: boolean }
---@param fn? fun(message: string, lost: integer, subscription: moonring.Subscription)
---@return moonring.Subscription
---@overload fun(topic: string, fn: fun(message: string, lost: integer, subscription: moonring.Subscription)): moonring.Subscription
function moonring.subscribe(topic, options, fn) end

---Seconds of a monotonic clock.
---@return number
function moonring.now() end

---The number of the reactor, from 0; nil while the file is loaded, and on a worker.
---@return integer?
function moonring.reactor() end
