---@meta moonring.shared

---Dictionaries in memory shared by all reactors, worker threads and the master; declared with `--shared
---name=16m`. Methods and results are those of OpenResty's ngx.shared, and some more. `moonring.shared(name)`
---raises an error for an undeclared name.
---@class moonring.shared
---@overload fun(name: string): moonring.Dictionary
local shared = {}

---The dictionary of this name, nil if there is none.
---@param name string
---@return moonring.Dictionary?
function shared.find(name) end

---The names of all, in the order of the configuration.
---@return string[]
function shared.names() end

---@alias moonring.SharedValue string|number|boolean

---Errors: 'nil key', 'empty key', 'key too long' (65535 bytes), 'bad value type', 'no memory' (a
---value larger than max_value), 'not found', 'exists', 'changed', 'not a number', 'value is a list',
---'value not a list'.
---@class moonring.Dictionary
local Dictionary = {}

---@param key string
---@return moonring.SharedValue? value nil if there is none
---@return integer|string|nil flags those that are not 0; an error if value is nil
function Dictionary:get(key) end

---Also finds expired values until their memory is reused.
---@param key string
---@return moonring.SharedValue? value
---@return integer|string|nil flags
---@return boolean? stale
function Dictionary:get_stale(key) end

---Seconds to live, 0: no expiry.
---@param key string
---@return number? seconds
---@return string? error
function Dictionary:ttl(key) end

---@param key string
---@param what? moonring.SharedValue nil removes it
---@param exptime? number seconds, 0: for ever
---@param flags? integer below 2^32, stored with the value
---@return boolean? done
---@return string? error
---@return boolean? forcible an unexpired entry was evicted for it
function Dictionary:set(key, what, exptime, flags) end

---Like set, but evicts no unexpired entries: 'no memory' instead.
---@param key string
---@param what? moonring.SharedValue
---@param exptime? number
---@param flags? integer
---@return boolean? done
---@return string? error
function Dictionary:safe_set(key, what, exptime, flags) end

---Like set, but fails with 'exists' if the key exists.
---@param key string
---@param what moonring.SharedValue
---@param exptime? number
---@param flags? integer
---@return boolean? done
---@return string? error
---@return boolean? forcible
function Dictionary:add(key, what, exptime, flags) end

---@param key string
---@param what moonring.SharedValue
---@param exptime? number
---@param flags? integer
---@return boolean? done
---@return string? error
function Dictionary:safe_add(key, what, exptime, flags) end

---Like set, but fails with 'not found' if the key does not exist.
---@param key string
---@param what moonring.SharedValue
---@param exptime? number
---@param flags? integer
---@return boolean? done
---@return string? error
---@return boolean? forcible
function Dictionary:replace(key, what, exptime, flags) end

---@param key string
---@return boolean? done
function Dictionary:delete(key) end

---Adds to a number. With `init` a missing key starts at that, and lives for `init_ttl` seconds.
---@param key string
---@param amount number
---@param init? number
---@param init_ttl? number seconds, 0: for ever
---@return number? sum
---@return string? error
---@return boolean? forcible
function Dictionary:incr(key, amount, init, init_ttl) end

---The time to live from now on.
---@param key string
---@param exptime number seconds, 0: for ever
---@return true? done
---@return string? error
function Dictionary:expire(key, exptime) end

---Stores `new` if the key's value is `old`.
---@param key string
---@param old? moonring.SharedValue nil: the key must not exist
---@param new? moonring.SharedValue nil removes it
---@param ttl? number seconds, 0: for ever; nil: what it had
---@return boolean? done
---@return string? error 'changed' if it has another value
---@return boolean? forcible
function Dictionary:cas(key, old, new, ttl) end

---Replaces a value with `fn(value)`; fn runs again if another thread or process changed it meanwhile.
---@param key string
---@param fn fun(value?: moonring.SharedValue): moonring.SharedValue? nil removes it
---@param ttl? number seconds, 0: for ever; nil: what it had
---@return moonring.SharedValue? value the new one
---@return string? error
function Dictionary:update(key, fn, ttl) end

---About `n` keys and the cursor for the next call, nil at the end. Blocks no other user.
---@param cursor? number
---@param n? integer (1024)
---@return string[] keys
---@return number? cursor
function Dictionary:scan(cursor, n) end

---@param max? integer 0: all (1024)
---@return string[] keys
function Dictionary:get_keys(max) end

---Adds an element at the left end.
---@param key string
---@param what string|number
---@return integer? length
---@return string? error
function Dictionary:lpush(key, what) end

---Adds an element at the right end.
---@param key string
---@param what string|number
---@return integer? length
---@return string? error
function Dictionary:rpush(key, what) end

---Removes and returns the leftmost element.
---@param key string
---@return string|number|nil element
---@return string? error
function Dictionary:lpop(key) end

---Removes and returns the rightmost element.
---@param key string
---@return string|number|nil element
---@return string? error
function Dictionary:rpop(key) end

---@param key string
---@return integer? length 0 if there is none
---@return string? error
function Dictionary:llen(key) end

---Makes everything expire; get_stale still finds it.
function Dictionary:flush_all() end

---Frees expired entries.
---@param max? integer 0: all
---@return integer count
function Dictionary:flush_expired(max) end

---Bytes of the memory.
---@return integer
function Dictionary:capacity() end

---Bytes that are free for entries.
---@return integer
function Dictionary:free_space() end

---Bytes of the largest key and value together.
---@return integer
function Dictionary:max_value() end

return shared
