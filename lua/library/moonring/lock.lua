---@meta moonring.lock

---Locks of a node: one holder at a time, whichever reactor it runs in. See docs/lua-limits.md.
---@class moonring.lock
local lock = {}

---@class moonring.LockOptions
---@field ttl? number seconds after which it expires, whatever happened to its holder (30)
---@field wait? number seconds to wait for it (30)
---@field shared? string the dictionary ('locks')

---@class moonring.Lock
---@field token string unique to this holder
local Lock = {}

---@return true?
---@return 'expired'|'released'|nil error another holder may have had it meanwhile
function Lock:release() end

---@param ttl? number seconds from now on; by default as initially
---@return true?
---@return 'expired'|'released'|nil error
function Lock:extend(ttl) end

---@return boolean
function Lock:is_held() end

---The lock; it is released at the end of the request, if not earlier.
---@param name string 1 to 200 bytes
---@param options? moonring.LockOptions
---@return moonring.Lock?
---@return string? error 'timeout'
function lock.acquire(name, options) end

---The results of fn(...), which runs while the lock is held; nil, 'timeout'.
---@param name string
---@param options moonring.LockOptions?
---@param fn fun(...): ...
---@return any ...
function lock.with(name, options, fn, ...) end

return lock
