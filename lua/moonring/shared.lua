-- Dictionaries in memory shared by all reactors: local d = moonring.shared('cache'), declared with --shared
-- cache=16m. Methods and results are those of OpenResty's ngx.shared, and some more; see docs/lua-shared.md.
local ffi = require 'ffi'
local members = require 'moonring.members'
local raise = require('moonring.failure').raise
local native = require 'moonring.native'

local VERSION = 2

ffi.cdef(native.shared_abi)

local api = ffi.cast('hs_lua_shared_api_t *', native.shared)
if api.version ~= VERSION then
  error(('the Lua runtime speaks shared ABI %d, the server %d: install them from one version')
    :format(VERSION, api.version))
end
if api.value_size ~= ffi.sizeof('hs_lua_shared_value_t') then
  error('LuaJIT and the C compiler disagree about hs_lua_shared_value_t')
end

local error, getmetatable, tonumber, tostring, type = error, getmetatable, tonumber, tostring, type
local floor, huge, min = math.floor, math.huge, math.min
local concat = table.concat
local ffi_string, istype = ffi.string, ffi.istype
local value, given, expected = api.value, api.given, api.expected
local incr = api.incr

local _M = {}

-- hs_shared_type_t, hs_shared_result_t and hs_shared_mode_t of httpserver.h.
local NIL, BOOLEAN, NUMBER, STRING = 0, 1, 2, 3
local OK, NOT_FOUND, EXISTS, NO_MEMORY = 0, 1, 2, 4
local SET, ADD, REPLACE, SAFE = 0, 1, 2, 4
-- OpenResty's error messages.
local words = { [NOT_FOUND] = 'not found', [EXISTS] = 'exists', [3] = 'changed',
  [NO_MEMORY] = 'no memory', [5] = 'not a number', [6] = 'value is a list',
  [7] = 'value not a list', [9] = 'bad value type' }

local KEYS = 1024 -- that get_keys and scan give without a number
local FLAGS = 2 ^ 32

-- A dictionary is C's pointer, with methods: compiled code needs no lookup.
local Dictionary = {}
local dictionary_t = ffi.metatype('hs_lua_dictionary_t', {
  __index = members.strict(Dictionary, 'a shared dictionary'),
  __tostring = function()
    return 'a shared dictionary'
  end,
})
local pointer_t = ffi.typeof('$ *', dictionary_t)

-- The pointer; raises if a method is called with a dot.
local function pointer(dictionary, method)
  if not istype(pointer_t, dictionary) then
    error(('a shared dictionary: methods are called with a colon, dict:%s(…)'):format(method), 3)
  end
  return dictionary
end

-- A key as in OpenResty: a string, or the result of tostring. nil and why not.
local function key_of(key)
  if key == nil then
    return nil, 'nil key'
  elseif type(key) ~= 'string' then
    key = tostring(key)
  end
  if key == '' then
    return nil, 'empty key'
  elseif #key > 65535 then
    return nil, 'key too long'
  end
  return key
end

local function check_ttl(ttl, what)
  if ttl == nil then
    return 0
  elseif type(ttl) ~= 'number' or not (ttl >= 0) then
    error(('bad "%s" argument: a number of seconds from 0 on, not %s'):format(what, tostring(ttl)), 3)
  end
  return ttl
end

local function check_flags(flags)
  if flags == nil then
    return 0
  elseif type(flags) ~= 'number' or not (flags >= 0 and flags < FLAGS and flags % 1 == 0) then
    error(('bad "flags" argument: a whole number below 2^32, not %s'):format(tostring(flags)), 3)
  end
  return flags
end

-- Writes a Lua value to `to`. False: its type cannot be stored.
local function put(to, what)
  local kind = type(what)
  if kind == 'string' then
    to.type, to.data, to.length = STRING, what, #what
  elseif kind == 'number' then
    to.type, to.number = NUMBER, what
  elseif kind == 'boolean' then
    to.type, to.number = BOOLEAN, what and 1 or 0
  elseif what == nil then
    to.type = NIL
  else
    return false
  end
  to.flags = 0
  return true
end

-- The Lua value of `value`.
local function taken()
  local kind = value.type
  if kind == STRING then
    return ffi_string(value.data, value.length)
  elseif kind == NUMBER then
    return value.number
  elseif kind == BOOLEAN then
    return value.number ~= 0
  end
end

-- ---- Reading. ----

-- The value, and its flags if set; nil if there is none; nil and an error otherwise.
function Dictionary:get(key)
  local at = pointer(self, 'get')
  if type(key) ~= 'string' or #key == 0 then
    local problem
    key, problem = key_of(key)
    if not key then
      return nil, problem
    end
  end
  local result = api.get(at, key, #key, value)
  if result == OK then
    local found
    if value.type == NUMBER then
      found = value.number
    elseif value.type == STRING then
      found = ffi_string(value.data, value.length)
    else
      found = value.number ~= 0
    end
    if value.flags ~= 0 then
      return found, value.flags
    end
    return found
  elseif result == NOT_FOUND then
    return nil
  end
  return nil, words[result] or 'key too long'
end

-- The value, its flags or nil, and whether it has expired.
function Dictionary:get_stale(key)
  local at = pointer(self, 'get_stale')
  local problem
  key, problem = key_of(key)
  if not key then
    return nil, problem
  end
  local result = api.get_stale(at, key, #key, value)
  if result == OK then
    return taken(), value.flags ~= 0 and value.flags or nil, value.is_stale
  elseif result == NOT_FOUND then
    return nil
  end
  return nil, words[result]
end

-- Seconds to live, 0: no expiry.
function Dictionary:ttl(key)
  local at = pointer(self, 'ttl')
  local problem
  key, problem = key_of(key)
  if not key then
    return nil, problem
  end
  local result = api.ttl(api, at, key, #key)
  if result == OK then
    return api.number
  end
  return nil, words[result]
end

-- ---- Writing. ----

local function store(at, mode, key, what, ttl, flags)
  local problem
  key, problem = key_of(key)
  if not key then
    return nil, problem
  end
  if not put(given, what) then
    return nil, 'bad value type'
  end
  local result
  if what ~= nil then
    given.flags = flags
    result = api.store(api, at, mode, key, #key, ttl)
  elseif mode == ADD or mode == ADD + SAFE or mode == REPLACE then
    return nil, 'attempt to add or replace nil values'
  else
    api.remove(at, key, #key)
    api.was_forced, result = false, OK
  end
  if result == OK then
    return true, nil, api.was_forced
  end
  return false, words[result], api.was_forced
end

-- true, nil, and whether an unexpired entry was evicted for it; or false and an error.
function Dictionary:set(key, what, exptime, flags)
  return store(pointer(self, 'set'), SET, key, what, check_ttl(exptime, 'exptime'), check_flags(flags))
end

-- Like set, but evicts no unexpired entries: 'no memory' instead.
function Dictionary:safe_set(key, what, exptime, flags)
  local at = pointer(self, 'safe_set')
  local done, problem = store(at, SET + SAFE, key, what, check_ttl(exptime, 'exptime'),
    check_flags(flags))
  return done, problem
end

-- Like set, but fails with 'exists' if the key exists.
function Dictionary:add(key, what, exptime, flags)
  return store(pointer(self, 'add'), ADD, key, what, check_ttl(exptime, 'exptime'), check_flags(flags))
end

function Dictionary:safe_add(key, what, exptime, flags)
  local at = pointer(self, 'safe_add')
  local done, problem = store(at, ADD + SAFE, key, what, check_ttl(exptime, 'exptime'),
    check_flags(flags))
  return done, problem
end

-- Like set, but fails with 'not found' if the key does not exist.
function Dictionary:replace(key, what, exptime, flags)
  return store(pointer(self, 'replace'), REPLACE, key, what, check_ttl(exptime, 'exptime'),
    check_flags(flags))
end

function Dictionary:delete(key)
  return store(pointer(self, 'delete'), SET, key, nil, 0, 0)
end

-- Adds to a number. With `init` a missing key starts at that, and lives for `init_ttl` seconds. Returns the
-- sum; with `init` also nil and whether something was evicted for it.
function Dictionary:incr(key, amount, init, init_ttl)
  local at = pointer(self, 'incr')
  if type(key) ~= 'string' or #key == 0 then
    local problem
    key, problem = key_of(key)
    if not key then
      return nil, problem
    end
  end
  if type(amount) ~= 'number' then
    amount = tonumber(amount) or error('bad value argument: a number, not ' .. tostring(amount), 2)
  end
  if init == nil then
    if init_ttl ~= nil then
      error('must provide "init" when providing "init_ttl"', 2)
    end
    local sum = incr(api, at, key, #key, amount, false, 0, 0)
    if sum == sum or api.result == OK then
      return sum
    end
    return nil, words[api.result] or 'key too long'
  end
  if type(init) ~= 'number' then
    init = tonumber(init) or error('bad init argument: a number, not ' .. tostring(init), 2)
  end
  local sum = incr(api, at, key, #key, amount, true, init, check_ttl(init_ttl, 'init_ttl'))
  if sum == sum or api.result == OK then
    return sum, nil, api.was_forced
  end
  return nil, words[api.result] or 'key too long', api.was_forced
end

-- Sets the seconds to live from now on, 0: no expiry. true, or nil and 'not found'.
function Dictionary:expire(key, exptime)
  local at = pointer(self, 'expire')
  if exptime == nil then
    error('bad "exptime" argument: a number of seconds from 0 on, not nil', 2)
  end
  local ttl = check_ttl(exptime, 'exptime')
  local problem
  key, problem = key_of(key)
  if not key then
    return nil, problem
  end
  local result = api.expire(at, key, #key, ttl)
  if result == OK then
    return true
  end
  return nil, words[result]
end

-- ---- More than OpenResty has. ----

-- Stores `new` if the key's value is `old`, where nil means that it does not exist; `new` nil removes it.
-- `ttl`: seconds, 0: no expiry; nil: unchanged. true; or false and 'changed' or 'no memory'.
function Dictionary:cas(key, old, new, ttl)
  local at = pointer(self, 'cas')
  local seconds = ttl == nil and -1 or check_ttl(ttl, 'ttl')
  local problem
  key, problem = key_of(key)
  if not key then
    return nil, problem
  end
  if not put(expected, old) or not put(given, new) then
    return nil, 'bad value type'
  end
  local result = api.cas(api, at, key, #key, seconds)
  if result == OK then
    return true, nil, api.was_forced
  end
  return false, words[result], api.was_forced
end

-- Replaces a value, nil if there is none, with `fn(value)`; fn runs again if another thread or process
-- changed it meanwhile. Returns the new value, nil if it was removed; nil and an error.
function Dictionary:update(key, fn, ttl)
  pointer(self, 'update')
  if type(fn) ~= 'function' then
    error('dict:update(key, fn): fn is a ' .. type(fn) .. ', not a function', 2)
  end
  if ttl ~= nil then
    check_ttl(ttl, 'ttl')
  end
  while true do
    local old, problem = self:get(key)
    if old == nil and problem then
      return nil, problem
    end
    local new = fn(old)
    local done
    done, problem = self:cas(key, old, new, ttl)
    if done then
      return new
    elseif problem ~= 'changed' then
      return nil, problem
    end
  end
end

local function check_count(n, what, most)
  if n == nil then
    return most
  elseif type(n) ~= 'number' or not (n >= 0 and n < huge) then
    error(('bad "%s" argument: a number from 0 on, not %s'):format(what, tostring(n)), 3)
  end
  return floor(n)
end

-- Appends the keys in `value` to a list, until it has at most `most`.
local function append_keys(keys, count, most)
  local at, size = value.data, #keys
  local length = ffi.new 'uint32_t[1]'
  for _ = 1, count do
    if size >= most then
      return
    end
    ffi.copy(length, at, 4)
    size = size + 1
    keys[size] = ffi_string(at + 4, length[0])
    at = at + 4 + length[0]
  end
end

-- About `n` keys (default 1024) and the cursor for the next call, nil at the end. Starts without a cursor;
-- blocks no other user of the dictionary.
function Dictionary:scan(cursor, n)
  local at = pointer(self, 'scan')
  if cursor ~= nil and (type(cursor) ~= 'number' or not (cursor >= 0 and cursor < 2 ^ 53)) then
    error('bad cursor: what the scan before has returned, or nil', 2)
  end
  n = check_count(n, 'n', KEYS)
  api.cursor = cursor or 0
  local keys = {}
  append_keys(keys, tonumber(api.scan(api, at, n)), huge)
  return keys, api.cursor ~= 0 and api.cursor or nil
end

-- At most `max` keys (default 1024; 0: all).
function Dictionary:get_keys(max)
  local at = pointer(self, 'get_keys')
  local most = check_count(max, 'max_count', KEYS)
  most = most == 0 and huge or most
  local keys = {}
  api.cursor = 0
  repeat
    append_keys(keys, tonumber(api.scan(api, at, min(most - #keys, KEYS))), most)
  until api.cursor == 0 or #keys >= most
  return keys
end

-- ---- Lists. ----

local function push(at, key, what, at_head)
  local problem
  key, problem = key_of(key)
  if not key then
    return nil, problem
  end
  if type(what) ~= 'string' and type(what) ~= 'number' then
    return nil, 'bad value type'
  end
  put(given, what)
  local result = api.push(api, at, key, #key, at_head)
  if result == OK then
    return api.number
  end
  return nil, words[result]
end

local function pop(at, key, at_head)
  local problem
  key, problem = key_of(key)
  if not key then
    return nil, problem
  end
  local result = api.pop(api, at, key, #key, at_head)
  if result == OK then
    return taken()
  elseif result == NOT_FOUND then
    return nil
  end
  return nil, words[result]
end

-- The resulting length; nil and an error.
function Dictionary:lpush(key, what)
  return push(pointer(self, 'lpush'), key, what, true)
end

function Dictionary:rpush(key, what)
  return push(pointer(self, 'rpush'), key, what, false)
end

-- The element, nil if there is none.
function Dictionary:lpop(key)
  return pop(pointer(self, 'lpop'), key, true)
end

function Dictionary:rpop(key)
  return pop(pointer(self, 'rpop'), key, false)
end

function Dictionary:llen(key)
  local at = pointer(self, 'llen')
  local problem
  key, problem = key_of(key)
  if not key then
    return nil, problem
  end
  local result = api.count(api, at, key, #key)
  if result == OK or result == NOT_FOUND then
    return api.number
  end
  return nil, words[result]
end

-- ---- All of it. ----

-- Makes everything expire; get_stale still finds it.
function Dictionary:flush_all()
  api.flush_all(pointer(self, 'flush_all'))
end

-- Frees expired entries, at most `max` (0 or nil: all); returns their number.
function Dictionary:flush_expired(max)
  local at = pointer(self, 'flush_expired')
  return tonumber(api.flush_expired(at, check_count(max, 'max_count', 0)))
end

-- Bytes: of the memory, free for entries, and of the largest key and value.
function Dictionary:capacity()
  return api.capacity(pointer(self, 'capacity'))
end

function Dictionary:free_space()
  return api.free_space(pointer(self, 'free_space'))
end

function Dictionary:max_value()
  return api.value_max(pointer(self, 'max_value'))
end

-- ---- Dictionaries by name. ----

local opened = {}

-- The dictionary of this name, nil if there is none.
function _M.find(name)
  local dictionary = opened[name]
  if dictionary == nil and type(name) == 'string' then
    local at = api.find(api.self, name)
    if at ~= nil then
      dictionary = at
      opened[name] = at
    end
  end
  return dictionary
end

-- All declared names, in the order of the configuration.
function _M.names()
  local names, number = {}, 0
  local name = api.name(api.self, number)
  while name ~= nil do
    name = ffi_string(name)
    if not string.find(name, '.', 1, true) then -- the runtime's own has one
      names[#names + 1] = name
    end
    number = number + 1
    name = api.name(api.self, number)
  end
  return names
end

local function open(_, name)
  local dictionary = _M.find(name)
  if dictionary then
    return dictionary
  end
  local names = _M.names()
  local shown = tostring(name)
  raise(('moonring.shared(%q): there is no dictionary of this name (%s): start the server with '
    .. '--shared %s=16m'):format(shown, #names == 0 and 'none is declared'
    or 'declared: ' .. concat(names, ', '), shown:match '^[%a_][%w_-]*$' or 'name'))
end

members.strict(_M, 'moonring.shared')
getmetatable(_M).__call = open

return _M
