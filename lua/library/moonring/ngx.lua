---@meta moonring.ngx

---OpenResty's `ngx` on moonring's runtime: docs/openresty.md. A global with --compat ngx, or once a handler's
---file has required 'moonring.ngx'.
---@class moonring.ngx
---@field status integer of the response; 0 until it is set
---@field headers_sent boolean status and fields are final
---@field ctx table of the request, or of the timer
---@field header table<string, string|number|(string|number)[]|nil> fields of the response
---@field var table<string, string?> variables of the request
---@field shared table<string, moonring.Dictionary?> by the names of --shared
---@field null lightuserdata
---@field OK integer
---@field ERROR integer
---@field AGAIN integer
---@field DONE integer
---@field DECLINED integer
---@field STDERR integer
---@field EMERG integer
---@field ALERT integer
---@field CRIT integer
---@field ERR integer
---@field WARN integer
---@field NOTICE integer
---@field INFO integer
---@field DEBUG integer
---@field HTTP_OK integer
---@field HTTP_FORBIDDEN integer
---@field HTTP_NOT_FOUND integer
---@field HTTP_INTERNAL_SERVER_ERROR integer
---@field [string] any further HTTP_* constants
local ngx = {}

---@alias moonring.ngx.Piece string|number|boolean|nil|lightuserdata|moonring.ngx.Piece[]

---Sends text, waiting for a slow client.
---@param ... moonring.ngx.Piece
---@return integer? ok
---@return string? problem
function ngx.print(...) end

---The same with a line break.
---@param ... moonring.ngx.Piece
---@return integer? ok
---@return string? problem
function ngx.say(...) end

---@param wait? boolean it always waits
---@return integer? ok
---@return string? problem
function ngx.flush(wait) end

---The response is complete; the handler continues.
---@return integer? ok
---@return string? problem
function ngx.eof() end

---Ends the request. Does not return.
---@param status integer
function ngx.exit(status) end

---@param uri string
---@param status? 301|302|303|307|308
function ngx.redirect(uri, status) end

---@return integer
function ngx.send_headers() end

---Raises: there are no locations.
function ngx.exec() end

---@param level integer ngx.ERR and others
---@param ... any
function ngx.log(level, ...) end

---@return 'init'|'content'|'timer'
function ngx.get_phase() end

---Called when the client disconnects.
---@param fn fun()
---@return integer
function ngx.on_abort(fn) end

---Declares an application variable, while the file is loaded.
---@param name string
---@param default? string
function ngx.define(name, default) end

---@param seconds number
function ngx.sleep(seconds) end

---@param text any
---@param kind? 0|1|2|3|4|5|6 a URI, arguments, a component (2), HTML, a refresh field, memcached, mail
---@return string
function ngx.escape_uri(text, kind) end

---@param text any
---@return string
function ngx.unescape_uri(text) end

---@param args table<string, string|number|boolean|(string|number|boolean)[]>
---@return string
function ngx.encode_args(args) end

---@param text string
---@param max? integer
---@return table<string, string|true|(string|true)[]>
---@return 'truncated'? truncated
function ngx.decode_args(text, max) end

---@param text any
---@param no_padding? boolean
---@return string
function ngx.encode_base64(text, no_padding) end

---@param text string
---@return string?
function ngx.decode_base64(text) end

---@param text string
---@return string?
function ngx.decode_base64mime(text) end

---@param text any
---@return string
function ngx.quote_sql_str(text) end

---@param text any
---@return string
function ngx.md5(text) end

---@param text any
---@return string
function ngx.md5_bin(text) end

---@param text any
---@return string
function ngx.sha1_bin(text) end

---@param key any
---@param text any
---@return string
function ngx.hmac_sha1(key, text) end

---@param text any
---@return integer
function ngx.crc32_short(text) end

---@param text any
---@return integer
function ngx.crc32_long(text) end

---@return number seconds with milliseconds
function ngx.now() end

---@return integer
function ngx.time() end

function ngx.update_time() end

---@return string
function ngx.today() end

---@return string
function ngx.localtime() end

---@return string
function ngx.utctime() end

---@param seconds number
---@return string
function ngx.http_time(seconds) end

---@param seconds number
---@return string
function ngx.cookie_time(seconds) end

---@param text string
---@return integer?
function ngx.parse_http_time(text) end

ngx.resp = {}

---@param max? integer
---@param raw? boolean
---@return table<string, string|string[]>
---@return 'truncated'? truncated
function ngx.resp.get_headers(max, raw) end

ngx.req = {}

---@return string
function ngx.req.get_method() end

---@param method integer ngx.HTTP_GET and others
function ngx.req.set_method(method) end

---@return 1.0|1.1
function ngx.req.http_version() end

---@return number
function ngx.req.start_time() end

---@return boolean
function ngx.req.is_internal() end

---@param uri string
---@param jump? false
function ngx.req.set_uri(uri, jump) end

---@param args string|number|table
function ngx.req.set_uri_args(args) end

---@param max? integer
---@param result? table
---@return table<string, string|true|(string|true)[]>
---@return 'truncated'? truncated
function ngx.req.get_uri_args(max, result) end

---@param max? integer
---@param raw? boolean
---@return table<string, string|string[]>
---@return 'truncated'? truncated
function ngx.req.get_headers(max, raw) end

---@param name string
---@param value string|number|string[]|nil
function ngx.req.set_header(name, value) end

---@param name string
---@param value string|string[]
function ngx.req.add_header(name, value) end

---@param name string
function ngx.req.clear_header(name) end

---@param no_request_line? boolean
---@return string
function ngx.req.raw_header(no_request_line) end

function ngx.req.read_body() end

function ngx.req.discard_body() end

---@param max? integer
---@return string?
function ngx.req.get_body_data(max) end

---@return nil
function ngx.req.get_body_file() end

---@param max? integer
---@return table<string, string|true|(string|true)[]>
---@return 'truncated'? truncated
function ngx.req.get_post_args(max) end

---@param data string|number
function ngx.req.set_body_data(data) end

---Raises: content is in memory.
function ngx.req.set_body_file() end

function ngx.req.init_body() end

---@param data string
function ngx.req.append_body(data) end

function ngx.req.finish_body() end

---@param raw? boolean not supported
---@return moonring.ngx.Socket?
---@return string? problem
function ngx.req.socket(raw) end

ngx.re = {}

---@alias moonring.ngx.Captures table<integer|string, string|false>

---@param subject string
---@param pattern string
---@param flags? string
---@param context? { pos: integer }
---@param result? table
---@return moonring.ngx.Captures?
---@return string? problem
function ngx.re.match(subject, pattern, flags, context, result) end

---@param subject string
---@param pattern string
---@param flags? string
---@param context? { pos: integer }
---@param group? integer
---@return integer? from
---@return integer? to
---@return string? problem
function ngx.re.find(subject, pattern, flags, context, group) end

---@param subject string
---@param pattern string
---@param flags? string
---@return (fun(): moonring.ngx.Captures?, string?)?
---@return string? problem
function ngx.re.gmatch(subject, pattern, flags) end

---@param subject string
---@param pattern string
---@param replacement string|fun(captures: moonring.ngx.Captures): string
---@param flags? string
---@return string?
---@return integer? count
---@return string? problem
function ngx.re.sub(subject, pattern, replacement, flags) end

---@param subject string
---@param pattern string
---@param replacement string|fun(captures: moonring.ngx.Captures): string
---@param flags? string
---@return string?
---@return integer? count
---@return string? problem
function ngx.re.gsub(subject, pattern, replacement, flags) end

---@class moonring.ngx.Socket
---@field connect fun(self, host: string, port?: integer|table, options?: { pool?: string, pool_size?: integer, backlog?: integer }): integer?, string?
---@field sslhandshake fun(self, session?: any, name?: string, verify?: boolean): boolean?, string?
---@field send fun(self, data: string|number|table): integer?, string?
---@field receive fun(self, how?: integer|'*l'|'*a'): string?, string?, string?
---@field receiveany fun(self, max: integer): string?, string?
---@field receiveuntil fun(self, ending: string, options?: { inclusive?: boolean }): fun(size?: integer): string?, string?, string?
---@field settimeout fun(self, milliseconds: number)
---@field settimeouts fun(self, connect: number, send: number, read: number)
---@field setoption fun(self, name: string, value: any): boolean?, string?
---@field setkeepalive fun(self, milliseconds?: number, size?: integer): integer?, string?
---@field getreusedtimes fun(self): integer?, string?
---@field close fun(self): integer?, string?

---@class moonring.ngx.UdpSocket
---@field setpeername fun(self, host: string, port: integer): integer?, string?
---@field send fun(self, data: string|table): integer?, string?
---@field receive fun(self, max?: integer): string?, string?
---@field settimeout fun(self, milliseconds: number)
---@field close fun(self): integer?, string?

ngx.socket = {}

---@return moonring.ngx.Socket
function ngx.socket.tcp() end

---@return moonring.ngx.Socket
function ngx.socket.stream() end

---@return moonring.ngx.UdpSocket
function ngx.socket.udp() end

---@param host string
---@param port? integer
---@param options? table
---@return moonring.ngx.Socket?
---@return string? problem
function ngx.socket.connect(host, port, options) end

ngx.timer = {}

---@param delay number seconds
---@param fn fun(premature: boolean, ...)
---@param ... any
---@return integer?
---@return string? problem
function ngx.timer.at(delay, fn, ...) end

---@param interval number seconds
---@param fn fun(premature: boolean, ...)
---@param ... any
---@return integer?
---@return string? problem
function ngx.timer.every(interval, fn, ...) end

---@return integer
function ngx.timer.pending_count() end

---@return integer
function ngx.timer.running_count() end

ngx.thread = {}

---@param fn function
---@param ... any
---@return thread
function ngx.thread.spawn(fn, ...) end

---Waits until one of them has ended.
---@param ... thread
---@return boolean? ok
---@return any ...
function ngx.thread.wait(...) end

---@param thread thread
---@return integer?
---@return string? problem
function ngx.thread.kill(thread) end

ngx.location = {}

---Raises: there are no locations.
function ngx.location.capture() end

---Raises: there are no locations.
function ngx.location.capture_multi() end

ngx.worker = {}

---@return integer
function ngx.worker.pid() end

---The number of the reactor, from 0.
---@return integer?
function ngx.worker.id() end

---How many reactors the server was started with.
---@return integer
function ngx.worker.count() end

---@return boolean
function ngx.worker.exiting() end

ngx.config = { subsystem = 'http', debug = false, ngx_lua_version = 10032, nginx_version = 1027001 }

---The directory of the handler's file, with a slash.
---@return string
function ngx.config.prefix() end

---@return string
function ngx.config.nginx_configure() end

return ngx
