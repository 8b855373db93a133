---@meta moonring.postgres

---@class moonring.postgres
---@field null lightuserdata NULL in arrays and as a parameter; the same as moonring.json's null
local postgres = {}

---@class moonring.PostgresPoolOptions
---@field size? integer connections, 10 by default
---@field queue? integer calls that may wait while all are in use, 1000 by default
---@field timeout? number seconds that a call waits, 5 by default; 0: no limit
---@field idle? number seconds after which an unused connection is closed, 60 by default; 0: never
---@field max_age? number age in seconds after which one is closed when released, 3600 by default; 0: never

---@class moonring.PostgresOptions
---@field host? string 'localhost' by default
---@field port? integer 5432 by default
---@field path? string the directory of a Unix socket, or the socket, instead of `host`
---@field user string
---@field password? string
---@field database? string by default the name of the user
---@field sslmode? 'disable'|'prefer'|'require'|'verify-ca'|'verify-full' 'disable' for this machine, else 'verify-full'
---@field tls? moonring.SocketTls
---@field connect_timeout? number seconds for connection, TLS and login, 5 by default
---@field timeout? number seconds for each call, 30 by default; 0: no limit
---@field pool? moonring.PostgresPoolOptions
---@field prepare? boolean|'auto' whether statements are prepared under names; 'auto' by default
---@field statements? integer prepared statements per connection, 100 by default
---@field max_rows? integer of a result, 100000 by default
---@field max_bytes? integer of a result, 64 MiB by default
---@field max_row? integer bytes of a row, 16 MiB by default
---@field null? any what NULL becomes in rows; nil by default
---@field application_name? string 'moonring' by default
---@field parameters? table<string, string> settings of the session
---@field allow_cleartext? boolean send the password in the clear without TLS
---@field cancel? boolean false: an abandoned query is not cancelled, only its connection is closed

---An error: tostring() returns its message, with code and position.
---@class moonring.PostgresError
---@field code string 'timeout', 'closed', 'refused', 'pool timeout'…, or the server's condition: 'unique_violation'
---@field message string
---@field sqlstate? string five characters, from the server's error, like all below
---@field severity? string
---@field detail? string
---@field hint? string
---@field position? integer character in the text of the query
---@field constraint? string
---@field schema? string
---@field table? string
---@field column? string
---@field datatype? string
---@field where? string
---@field index? integer in a pipeline: which statement failed

---@class moonring.PostgresResult
---@field rows table[]
---@field command string
---@field count integer number of rows affected
---@field columns { name: string, oid: integer }[]

---@class moonring.PostgresTransactionOptions
---@field isolation? 'read committed'|'repeatable read'|'serializable'
---@field read_only? boolean
---@field deferrable? boolean
---@field retries? integer times that the function is called again after a serialization failure or a deadlock, 0 by default

---The methods of both pools and transactions. All calls suspend the task. nil and an error for errors of the
---server or the network; parameters are $1, $2… in the text.
---@class moonring.PostgresQueries
local Queries = {}

---The rows: a list of tables with a field for each column.
---@param sql string
---@param ... any
---@return table[]? rows
---@return moonring.PostgresError? problem
function Queries:query(sql, ...) end

---The first row; nil if there is none.
---@param sql string
---@param ... any
---@return table? row
---@return moonring.PostgresError? problem
function Queries:one(sql, ...) end

---The rows, and what is known about them.
---@param sql string
---@param ... any
---@return moonring.PostgresResult? result
---@return moonring.PostgresError? problem
function Queries:run(sql, ...) end

---The number of rows affected. Without parameters the text may hold several commands.
---@param sql string
---@param ... any
---@return integer? count
---@return moonring.PostgresError? problem
function Queries:exec(sql, ...) end

---Several statements in one round trip and one transaction: a list of rows for each. NULL is
---postgres.null.
---@param statements any[][] { { sql, parameter, … }, … }
---@return table[][]? results
---@return moonring.PostgresError? problem
function Queries:pipeline(statements) end

---Calls fn(tx) and commits; returns its results. Rolls back if it raises, or returns nil and an error. In a
---transaction: a savepoint, without options.
---@param fn fun(tx: moonring.PostgresTransaction): ...
---@param options? moonring.PostgresTransactionOptions
---@return any ...
function Queries:transaction(fn, options) end

---The pieces of COPY … TO STDOUT, one row each in text and csv. Errors in the middle are raised.
---@param sql string
---@return (fun(): string?)? pieces
---@return moonring.PostgresError? problem
function Queries:copy_out(sql) end

---Sends data for COPY … FROM STDIN; returns the number of rows.
---@param sql string
---@param source string|string[]|fun(): string?
---@return integer? count
---@return moonring.PostgresError? problem
function Queries:copy_in(sql, source) end

---Valid until its function returns; used by one task at a time.
---@class moonring.PostgresTransaction: moonring.PostgresQueries

---@class moonring.Postgres: moonring.PostgresQueries
local Db = {}

---A listening connection, which ends with the request or task that created it.
---@param ... string names of channels
---@return moonring.PostgresListener? listener
---@return moonring.PostgresError? problem
function Db:listen(...) end

---@return { size: integer, open: integer, idle: integer, waiting: integer }
function Db:stats() end

---Closes idle connections, and the others when they are released. Later calls fail.
function Db:close() end

---Can be called as the iterator of a for loop.
---@class moonring.PostgresListener
local Listener = {}

---@class moonring.PostgresNotification
---@field channel? string
---@field payload? string
---@field pid? integer the server process that sent it
---@field is_reconnected? true the connection was lost: others may have been lost as well

---The next notification; nil and 'timeout', or an error when it is closed.
---@param seconds? number nil: any time
---@return moonring.PostgresNotification?
---@return moonring.PostgresError|'timeout'|nil problem
function Listener:next(seconds) end

function Listener:close() end

---A pool of connections, opened when needed: this call does not wait. Raises if an option is wrong.
---@param options string|moonring.PostgresOptions a URL (postgres://user:password@host/database) or a table
---@return moonring.Postgres
function postgres.connect(options) end

---A value to send as JSON, whatever the type of the parameter.
---@param value any
---@return table
function postgres.json(value) end

---A list to send as an array, if the type does not say so.
---@param list table
---@return table
function postgres.array(list) end

---A string to send as its bytes, if the type does not say so.
---@param data string
---@return table
function postgres.bytea(data) end

---Seconds since 1970 of a date or a timestamp in the server's format, in UTC unless it has a zone; nil: not a
---date, or infinite.
---@param shown string
---@return number?
function postgres.epoch(shown) end

---The reverse, for a parameter.
---@param seconds number
---@return string
function postgres.timestamp(seconds) end

---A quoted name, where SQL takes no parameter.
---@param name string
---@return string
function postgres.quote_name(name) end

---A quoted text, where SQL takes no parameter.
---@param text string
---@return string
function postgres.quote_text(text) end

---Whether a value is an error of this module.
---@param value any
---@return boolean
function postgres.is_error(value) end

return postgres
