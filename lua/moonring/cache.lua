-- Values computed once per node: moonring.cache.new(name, options):get(key, fn). They are stored in a shared
-- dictionary; a lock lets only one task of the node compute a key. See docs/lua-limits.md.
local failure = require 'moonring.failure'
local json = require 'moonring.json'
local lock = require 'moonring.lock'
local log = require 'moonring.log'
local members = require 'moonring.members'
local scheduler = require 'moonring.scheduler'
local shared = require 'moonring.shared'
local topics = require 'moonring.topics'
local api = require 'moonring.abi'

local error, pairs, pcall, setmetatable, tostring, type = error, pairs, pcall, setmetatable, tostring,
  type
local tonumber = tonumber
local huge = math.huge
local find, format, sub = string.find, string.format, string.sub
local raise, now = failure.raise, scheduler.now

local _M = {}

local DICTIONARY, LOCKS = 'cache', 'cache'
-- How long a computation may take before another one starts.
local COMPUTE_S = 30

-- ---- What is stored: when it is no longer fresh, of what kind it is, and the value. ----
--
--   S  a string     V  another value, as JSON     N  nothing (fn returned nil)     E  the text of an error

local function pack(kind, fresh_until, text)
  return format('%s%.6f %s', kind, fresh_until, text or '')
end

-- kind, time, text; nil if it is not of a cache.
local function unpack_entry(entry)
  if type(entry) ~= 'string' then
    return nil
  end
  local _, last, kind, fresh_until = find(entry, '^([SVNE])([%d%.%-]+) ')
  if not last then
    return nil
  end
  return kind, tonumber(fresh_until), sub(entry, last + 1)
end

-- Its kind and text: a string may hold any bytes, JSON does not.
local function packed(value)
  if type(value) == 'string' then
    return 'S', value
  end
  return 'V', json.encode(value)
end

local function unpacked(kind, text)
  return kind == 'S' and text or json.decode(text)
end

local Cache = members.strict({}, 'a cache')
local Meta = { __index = Cache }

local OPTIONS = { ttl = true, stale = true, negative_ttl = true, error_ttl = true, shared = true,
  wait = true, l1 = true, l1_ttl = true }

local function seconds_of(options, name, default)
  local value = options[name]
  if value == nil then
    return default
  end
  if type(value) ~= 'number' or not (value >= 0 and value < huge) then
    raise(('moonring.cache.new: %s is a number from 0 on, not %s'):format(name, tostring(value)))
  end
  return value
end

-- ---- Values that the state has itself: the recent ones and those before. ----

local function forget_here(cache, key)
  cache.recent[key], cache.older[key] = nil, nil
end

local function keep_here(cache, key, value, fresh_until)
  if cache.l1 == 0 or api.is_attached == 0 then
    return
  end
  if cache.recent_count >= cache.l1 / 2 then
    cache.older, cache.recent, cache.recent_count = cache.recent, {}, 0
  end
  local ends = now() + cache.l1_ttl
  cache.recent[key] = { value = value, ends = ends < fresh_until and ends or fresh_until }
  cache.recent_count = cache.recent_count + 1
end

local function find_here(cache, key)
  local entry = cache.recent[key] or cache.older[key]
  if entry and now() < entry.ends then
    return entry
  end
end

-- moonring.cache.new(name, { ttl = 60, stale = 0, negative_ttl = 0, error_ttl = 0, l1 = 0 })
function _M.new(name, options)
  local what = 'moonring.cache.new'
  if type(name) ~= 'string' or name == '' or #name > 64 then
    raise(what .. ': a name is a string of 1 to 64 bytes')
  end
  options = options or {}
  if type(options) ~= 'table' then
    raise(('%s: options are a table, not a %s'):format(what, type(options)))
  end
  for option in pairs(options) do
    if not OPTIONS[option] then
      raise(what .. ': ' .. members.unknown('the table of options', option, { OPTIONS }))
    end
  end
  local used = options.shared or DICTIONARY
  local cache = setmetatable({ name = name, prefix = 'cache ' .. name .. ' ', used = used,
    dictionary = shared(used), ttl = seconds_of(options, 'ttl', 60),
    stale = seconds_of(options, 'stale', 0), negative_ttl = seconds_of(options, 'negative_ttl', 0),
    error_ttl = seconds_of(options, 'error_ttl', 0), wait = seconds_of(options, 'wait', COMPUTE_S),
    l1 = seconds_of(options, 'l1', 0), l1_ttl = seconds_of(options, 'l1_ttl', 1),
    topic = 'moonring cache ' .. name, recent = {}, older = {}, recent_count = 0 }, Meta)
  if cache.l1 > 0 then
    topics.subscribe(cache.topic, { detached = true }, function(key)
      forget_here(cache, key)
    end)
  end
  return cache
end

-- The longest key leaves room for the prefix, and for the name of a lock.
local function check_key(what, key)
  if type(key) ~= 'string' or key == '' or #key > 128 then
    raise(what .. ': a key is a string of 1 to 128 bytes')
  end
end

-- ---- Storing. ----

local function store(cache, key, ttl, kind, text, value)
  if ttl <= 0 then
    return
  end
  local fresh_until = now() + ttl
  local stale = value ~= nil and cache.stale or 0
  local done, problem = cache.dictionary:set(cache.prefix .. key, pack(kind, fresh_until, text),
    ttl + stale)
  if not done then
    log.warn(('the cache %s cannot keep a value: %s'):format(cache.name, tostring(problem)))
  elseif value ~= nil then
    keep_here(cache, key, value, fresh_until)
  end
end

local function keep(cache, key, ttl, value)
  local kind, text = packed(value)
  store(cache, key, ttl, kind, text, value)
end

local function compute(cache, key, fn, ...)
  local ok, value = pcall(fn, ...)
  if not ok then
    if cache.error_ttl > 0 and not failure.is(value) then
      store(cache, key, cache.error_ttl, 'E', failure.text_of(value))
    end
    error(value, 0)
  end
  if value == nil then
    store(cache, key, cache.negative_ttl, 'N')
  else
    keep(cache, key, cache.ttl, value)
  end
  return value
end

-- ---- Getting. ----

-- true and the value, or false if it has to be computed. The last result: whether it is stale.
local function look(cache, key)
  local kind, fresh_until, text = unpack_entry(cache.dictionary:get(cache.prefix .. key))
  if not kind then
    return false
  end
  local is_stale = now() >= fresh_until
  if kind == 'N' then
    return not is_stale, nil
  elseif kind == 'E' then
    if is_stale then
      return false
    end
    error(text, 0)
  end
  local value = unpacked(kind, text)
  if not is_stale then
    keep_here(cache, key, value, fresh_until)
  end
  return true, value, is_stale
end

local function lock_of(cache, key, wait)
  return lock.acquire('cache ' .. cache.name .. ' ' .. key, { shared = cache.used, ttl = COMPUTE_S,
    wait = wait })
end

-- In a task without a request: recomputes the value, unless another task is doing so.
local function refresh(cache, key, fn, ...)
  local held = lock_of(cache, key, 0)
  if not held then
    return
  end
  local _, _, is_stale = look(cache, key)
  local ok, problem = true, nil
  if is_stale then
    ok, problem = pcall(compute, cache, key, fn, ...)
  end
  held:release()
  if not ok then
    log.warn(('the cache %s gives an old value: %s'):format(cache.name, tostring(problem)))
  end
end

-- The value of the key; if there is none, fn(...) computes it, once at a time on the node, while others wait.
-- Raises errors of fn.
function Cache.get(cache, key, fn, ...)
  check_key('cache:get', key)
  if type(fn) ~= 'function' then
    raise('cache:get(key, fn, …) takes a function, not a ' .. type(fn))
  end
  if cache.l1 > 0 then
    local entry = find_here(cache, key)
    if entry then
      return entry.value
    end
  end
  local is_there, value, is_stale = look(cache, key)
  if is_there then
    if is_stale then
      scheduler.spawn({ detached = true }, refresh, cache, key, fn, ...)
    end
    return value
  end
  local held = lock_of(cache, key, cache.wait)
  if not held then
    return compute(cache, key, fn, ...) -- the other takes too long
  end
  local ok, found, there = pcall(look, cache, key) -- computed while this one waited
  if ok and not found then
    ok, there = pcall(compute, cache, key, fn, ...)
  elseif not ok then
    there = found
  end
  held:release()
  if not ok then
    error(there, 0)
  end
  return there
end

-- The cached value, fresh or stale; nil if there is none. Computes nothing.
function Cache.peek(cache, key)
  check_key('cache:peek', key)
  local kind, fresh_until, text = unpack_entry(cache.dictionary:get(cache.prefix .. key))
  if kind == 'V' or kind == 'S' then
    return unpacked(kind, text), now() < fresh_until
  end
  return nil
end

-- Stores a value instead of computing it.
function Cache.set(cache, key, value, ttl)
  check_key('cache:set', key)
  if value == nil then
    raise 'cache:set(key, value): cache:delete(key) removes one'
  elseif ttl ~= nil then
    scheduler.check_seconds(ttl, 'cache:set(key, value, ttl)')
  end
  keep(cache, key, ttl or cache.ttl, value)
  if cache.l1 > 0 then
    topics.publish(cache.topic, key)
  end
end

-- The next get computes it, in all reactors.
function Cache.delete(cache, key)
  check_key('cache:delete', key)
  cache.dictionary:delete(cache.prefix .. key)
  forget_here(cache, key)
  if cache.l1 > 0 then
    topics.publish(cache.topic, key)
  end
end

return members.strict(_M, 'moonring.cache')
