---@meta moonring.limit

---Limits for all reactors of a node or, over Redis, for many nodes. See docs/lua-limits.md.
---@class moonring.limit
local limit = {}

---@class moonring.RateOptions
---@field rate number requests per `per` seconds
---@field per? number seconds (1)
---@field burst? integer how many are admitted at once (a tenth of the rate, at least 1)
---@field key? fun(req: moonring.Request): string|number|nil the key to limit by; nil: no
---limit. By default the client's address
---@field shared? string the dictionary ('limits')
---@field redis? table|fun(): table a client of moonring.redis: one limit for all nodes that use it
---@field fields? boolean false: no RateLimit fields
---@field open? boolean false: 503 if the limit cannot be checked; by default the request is admitted

---@class moonring.ConcurrencyOptions
---@field max integer requests at a time, 1 to 1000
---@field key? fun(req: moonring.Request): string|number|nil
---@field wait? number seconds to wait for one that ends (0)
---@field lease? number seconds after which a dead process's slot is freed (30)
---@field shared? string the dictionary ('limits')
---@field open? boolean

---@class moonring.RateInfo
---@field limit integer the burst
---@field remaining integer requests that would be admitted now
---@field reset number seconds until the full burst is available
---@field retry_after number seconds until this request would be admitted, 0 if it was

---@class moonring.Rate
local Rate = {}

---@param key string|number
---@param cost? number how many requests it counts as (1), at most the burst
---@return boolean? admitted nil if this cannot be determined
---@return moonring.RateInfo|string info
function Rate:check(key, cost) end

---For app:before: responds with 429 to requests over the limit, and sets the fields.
---@return fun(req: moonring.Request, res: moonring.Response): true?
function Rate:hook() end

---@class moonring.Lease
local Lease = {}

---Releases the slot. Twice is harmless; it happens automatically at the end of the request.
function Lease:release() end

---@class moonring.Concurrency
local Concurrency = {}

---@param key string|number
---@return moonring.Lease? lease
---@return string? error 'busy'
function Concurrency:acquire(key) end

---For app:before: responds with 503 if too many are running already.
---@return fun(req: moonring.Request, res: moonring.Response): true?
function Concurrency:hook() end

---@param name string letters, digits, _ and -
---@param options moonring.RateOptions
---@return moonring.Rate
function limit.rate(name, options) end

---@param name string letters, digits, _ and -
---@param options moonring.ConcurrencyOptions
---@return moonring.Concurrency
function limit.concurrency(name, options) end

return limit
