---@meta moonring.socket

---@class moonring.socket
local socket = {}

---@class moonring.SocketPool
---@field size? integer idle connections to keep, 32 by default
---@field max? integer connections at a time, idle ones and used ones; 0, the default: no limit
---@field queue? integer calls of connect that may wait while there are `max`; 0 by default
---@field idle? number seconds that an idle connection is kept, 60 by default
---@field max_age? number age in seconds after which a connection is not reused; 0, the default: no limit
---@field name? string separates connections to the same address

---@class moonring.SocketTls
---@field verify? boolean false: any certificate is accepted
---@field ca? string file of the certificates to trust, instead of the system's
---@field sni? string the name to request, for which the certificate must be issued; `host` by default
---@field cert? string file of the client's certificate with its chain
---@field key? string file of its key; by default the same file
---@field alpn? string|string[] protocols, in order of preference

---@class moonring.SocketOptions
---@field host? string name or address; with `port`
---@field port? integer
---@field path? string of a Unix socket, instead of `host` and `port`
---@field tls? moonring.SocketTls|boolean true: TLS 1.2 or newer with a verified certificate
---@field pool? moonring.SocketPool|boolean false: the connection neither comes from a pool nor returns to one
---@field timeout? number seconds for connecting in total, 10 by default; 0: no limit

---A connection; nil and why there is none: 'timeout', 'refused', 'unreachable', 'host not found',
---'resolver failed', 'resolver timeout', 'pool queue full', 'closed', 'certificate: …', 'TLS: …'… Suspends the task.
---@param options moonring.SocketOptions
---@return moonring.Socket? sock
---@return string? problem
function socket.connect(options) end

---A connection that belongs to the request, or task, that created it, and is closed when that ends unless it
---was kept. Two tasks of one request may use it: one receives while the other sends.
---@class moonring.Socket
local Socket = {}

---Exactly this many bytes (at most 256 MiB); a line without its end (at most 1 MiB); what is available, at
---least one byte and at most `max`; or everything before a string of at most 128 bytes, which is dropped.
---nil, why ('timeout', 'closed', 'too long', 'busy'…) and what has arrived. After a timeout the socket stays
---usable.
---@param how integer|'line'|'any'|{ until: string }|nil 'line' by default
---@param max? integer
---@return string? data
---@return string? problem
---@return string? partial
function Socket:receive(how, max) end

---The same as receive { ['until'] = text }.
---@param text string
---@return string? data
---@return string? problem
---@return string? partial
function Socket:receive_until(text) end

---Sends a string, or the strings of a table in order. True when nearly all of it is sent; a failure may show
---only in a later call. nil and why; after a timeout the socket is closed.
---@param data string|number|table
---@return true? ok
---@return string? problem
function Socket:send(data) end

---Seconds for later calls, 60 by default; 0: no limit, nil: as before. `connect` has no effect on a connected
---socket.
---@param connect? number
---@param send? number
---@param read? number
function Socket:settimeouts(connect, send, read) end

---The same limit for all.
---@param seconds number
function Socket:settimeout(seconds) end

---Releases the socket and keeps the connection for the next connect with the same options, for `idle` seconds
---(nil: as the pool says). nil and 'not kept' if it was closed instead: bytes are unread or unsent, the peer
---closed it, or it has no pool.
---@param idle? number
---@return true? kept
---@return string? problem
function Socket:setkeepalive(idle) end

---Closes; what was sent still goes out.
---@return true? ok
---@return string? problem
function Socket:close() end

---True if the last receive failed with 'closed', but without an orderly end: a reset, or TLS without
---close_notify. The data may be incomplete.
---@return boolean
function Socket:truncated() end

---How many sockets have used the connection before.
---@return integer
function Socket:reused() end

---@class moonring.UdpOptions
---@field host string name or address
---@field port integer
---@field timeout? number seconds for the name and for each receive, 5 by default; 0: no limit

---A socket for datagrams to and from one address; nil and why there is none.
---@param options moonring.UdpOptions
---@return moonring.Udp? sock
---@return string? problem
function socket.udp(options) end

---@class moonring.Udp
local Udp = {}

---Sends one datagram of 1 to 65507 bytes.
---@param data string|table
---@return true? ok
---@return string? problem
function Udp:send(data) end

---The next datagram, cut to `max` bytes. nil and why: 'timeout', 'refused' (nothing listens
---there), 'closed', 'busy'.
---@param max? integer
---@return string? data
---@return string? problem
function Udp:receive(max) end

---Seconds for each later receive; 0: no limit.
---@param seconds number
function Udp:settimeout(seconds) end

---Closes.
---@return true? ok
---@return string? problem
function Udp:close() end

---Starts TLS, for protocols that begin without it. nil and why the socket was closed, for example because
---plain-text bytes are unread. It cannot be pooled afterwards.
---@param tls? moonring.SocketTls|true as for connect
---@param timeout? number seconds for the handshake, 10 by default
---@return true? ok
---@return string? problem
function Socket:starttls(tls, timeout) end

---The digest of the peer's certificate (tls-server-end-point of RFC 5929), to bind an authentication
---to this connection; nil without TLS.
---@return string?
function Socket:tlsbinding() end

---The protocol negotiated by TLS; nil: none.
---@return string?
function Socket:alpn() end

return socket
