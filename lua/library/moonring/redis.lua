---@meta moonring.redis

---@class moonring.redis
---@field null lightuserdata a null inside a reply; the same as moonring.json's
local redis = {}

---@class moonring.RedisPool
---@field max? integer connections, 16 by default
---@field queue? integer tasks that may wait for one, 1000 by default
---@field idle? number seconds that an idle one is kept, 60 by default

---@class moonring.RedisOptions
---@field host? string 127.0.0.1 by default
---@field port? integer 6379 by default
---@field path? string of a Unix socket, instead of `host` and `port`
---@field user? string
---@field password? string
---@field db? integer number of the database, 0 by default
---@field protocol? 2|3 RESP2 or RESP3, the default
---@field name? string what CLIENT LIST shows
---@field tls? moonring.SocketTls|boolean as in socket.connect
---@field timeout? number seconds for each command, 5 by default
---@field connect_timeout? number seconds for connecting and the login, 2 by default
---@field max_in_flight? integer commands that may wait for replies, 10000 by default
---@field max_reply? integer bytes of one reply, 64 MiB by default
---@field pipelining? boolean false: each command takes a connection from the pool
---@field pool? moonring.RedisPool

---@class moonring.RedisError
---@field code string 'unavailable', 'timeout', 'connection lost', 'busy', 'too large', 'conflict', or the first word of Redis's message
---@field message string
---@field is_reply? boolean the error came from Redis
---@field is_sent? boolean of 'timeout' and 'connection lost': the command may have run
---@field slot? integer of MOVED and ASK, with `host` and `port`
---@field host? string
---@field port? integer

---A client, which connects with its first command. Raises for mistakes in the URL or the options.
---@param url string|moonring.RedisOptions redis://, rediss:// or unix://
---@param options? moonring.RedisOptions
---@return moonring.RedisClient
function redis.connect(url, options) end

---Whether a value in a list of replies is an error.
---@param value any
---@return boolean
function redis.is_error(value) end

---@class moonring.RedisScript

---A script in Lua for client:run.
---@param source string
---@return moonring.RedisScript
function redis.script(source) end

---Every command of Redis is a method as well: client:get(key). It returns the reply, nil for a null,
---or nil and an error. Suspends the task.
---@class moonring.RedisClient
---@field [string] fun(self: moonring.RedisClient, ...: string|number): any, moonring.RedisError?
local Client = {}

---A command by its name.
---@param name string
---@param ... string|number
---@return any reply
---@return moonring.RedisError? problem
function Client:command(name, ...) end

---@class moonring.RedisViewOptions
---@field timeout? number seconds for each command
---@field idempotent? boolean commands may run twice: they are sent again when a connection is lost

---The same client with other options.
---@param options moonring.RedisViewOptions
---@return moonring.RedisClient
function Client:with(options) end

---Sends the commands of fn(pipeline) together; returns a list of the replies.
---@param fn fun(pipeline: moonring.RedisClient)
---@return any[]? replies
---@return moonring.RedisError? problem
function Client:pipeline(fn) end

---The same in MULTI and EXEC.
---@param fn fun(multi: moonring.RedisClient)
---@return any[]? replies
---@return moonring.RedisError? problem
function Client:multi(fn) end

---Calls fn(session, ...) with a connection of its own, and returns its results; nil and an error if there is
---none. A session has the commands, `command`, `pipeline`, `multi` and `run` of a client.
---@param fn fun(session: moonring.RedisClient, ...): ...
---@param ... any
---@return any ...
function Client:session(fn, ...) end

---Runs a script.
---@param script moonring.RedisScript
---@param keys? string[]
---@param arguments? (string|number)[]
---@return any reply
---@return moonring.RedisError? problem
function Client:run(script, keys, arguments) end

---@class moonring.RedisScanOptions
---@field match? string a pattern
---@field count? integer how many the server examines per call
---@field type? string of keys

---@param options? moonring.RedisScanOptions
---@return fun(): string?
function Client:scan_keys(options) end

---@param key string
---@param options? moonring.RedisScanOptions
---@return fun(): string?, string?
function Client:scan_hash(key, options) end

---@param key string
---@param options? moonring.RedisScanOptions
---@return fun(): string?
function Client:scan_set(key, options) end

---@param key string
---@param options? moonring.RedisScanOptions
---@return fun(): string?, string?
function Client:scan_sorted_set(key, options) end

---A subscription to channels, which belongs to the request, or task, that created it.
---@param ... string
---@return moonring.RedisSubscription? subscription
---@return moonring.RedisError? problem
function Client:subscribe(...) end

---A subscription to patterns of channels.
---@param ... string
---@return moonring.RedisSubscription? subscription
---@return moonring.RedisError? problem
function Client:psubscribe(...) end

---Closes its connections; waiting commands fail, later ones raise.
function Client:close() end

---@class moonring.RedisMessage
---@field type 'message'|'reconnected' messages may be lost before 'reconnected'
---@field channel? string
---@field payload? string
---@field pattern? string

---@class moonring.RedisSubscription
local Subscription = {}

---The next message; nil and 'timeout' after `seconds`, 'closed', or an error of the server.
---@param seconds? number no limit by default
---@return moonring.RedisMessage? message
---@return string|moonring.RedisError? problem
function Subscription:receive(seconds) end

---for message in subscription:messages() do
---@return fun(): moonring.RedisMessage?
function Subscription:messages() end

---Ends the subscription.
function Subscription:close() end

return redis
