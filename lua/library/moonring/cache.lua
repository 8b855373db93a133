---@meta moonring.cache

---Values that are computed once per node. See docs/lua-limits.md.
---@class moonring.cache
local cache = {}

---@class moonring.CacheOptions
---@field ttl? number seconds for which a value is fresh (60)
---@field stale? number further seconds in which it is returned while it is recomputed (0)
---@field negative_ttl? number seconds for which nil is cached (0: not at all)
---@field error_ttl? number seconds for which an error is cached (0: not at all)
---@field wait? number seconds to wait for another task's computation (30)
---@field l1? integer values that a Lua state keeps in memory (0)
---@field l1_ttl? number seconds for which it keeps them (1)
---@field shared? string the dictionary, for locks too ('cache')

---@class moonring.Cache
local Cache = {}

---The value of the key; if there is none, fn(...) computes it: a string, number, boolean or a table that
---moonring.json encodes. Raises errors of fn.
---@param key string 1 to 128 bytes
---@param fn fun(...): any
---@return any
function Cache:get(key, fn, ...) end

---The cached value, and whether it is fresh. Computes nothing.
---@param key string
---@return any value
---@return boolean? fresh
function Cache:peek(key) end

---@param key string
---@param value any
---@param ttl? number
function Cache:set(key, value, ttl) end

---The next get computes it.
---@param key string
function Cache:delete(key) end

---@param name string 1 to 64 bytes
---@param options? moonring.CacheOptions
---@return moonring.Cache
function cache.new(name, options) end

return cache
