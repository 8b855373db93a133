-- Limits for all reactors of a node: moonring.limit.rate and .concurrency over a shared dictionary, or, for
-- many nodes, rate over Redis. See docs/lua-limits.md.
local failure = require 'moonring.failure'
local members = require 'moonring.members'
local scheduler = require 'moonring.scheduler'
local shared = require 'moonring.shared'
local topics = require 'moonring.topics'
local api = require 'moonring.abi'

local pairs, setmetatable, tonumber, tostring, type = pairs, setmetatable, tonumber, tostring, type
local ceil, floor, huge, max, min, random = math.ceil, math.floor, math.huge, math.max, math.min,
  math.random
local concat, find, format, gmatch = table.concat, string.find, string.format, string.gmatch
local raise, now = failure.raise, scheduler.now

local _M = {}

local DICTIONARY = 'limits'
-- Attempts at a decision: each fails because another task changed the value.
local TRIES = 1000
local CONCURRENT_MOST = 1000
local LEASE_S = 30
-- How often a waiter checks, in case the message that wakes it is lost.
local LOOK_S = 1

-- ---- Options. ----

local function check_name(what, name)
  if type(name) ~= 'string' or not find(name, '^[%w_%-]+$') or #name > 64 then
    raise(('%s: a name has 1 to 64 letters, digits, _ and -, not %q'):format(what, tostring(name)))
  end
end

local function check_options(what, options, known)
  if type(options) ~= 'table' then
    raise(('%s takes a table of options, not a %s'):format(what, type(options)))
  end
  for name in pairs(options) do
    if not known[name] then
      raise(what .. ': ' .. members.unknown('the table of options', name, { known }))
    end
  end
end

-- options[name], a number from `least` on.
local function number_of(what, options, name, least, default)
  local value = options[name]
  if value == nil then
    value = default
  end
  if type(value) ~= 'number' or not (value >= least and value < huge) then
    raise(('%s: %s is a number from %s on, not %s'):format(what, name, tostring(least),
      tostring(value)))
  end
  return value
end

local function function_of(what, options, name, default)
  local value = options[name]
  if value ~= nil and type(value) ~= 'function' then
    raise(('%s: %s is a function, not a %s'):format(what, name, type(value)))
  end
  return value or default
end

local function peer_of(req)
  return req:trusted_peer()
end

-- What a key may be: nil is not counted at all.
local function text_of(what, key)
  if type(key) == 'string' then
    return key
  elseif type(key) == 'number' then
    return tostring(key)
  end
  raise(('%s: a key is a string or a number, not a %s'):format(what, type(key)))
end

-- ---- Rate, by the generic cell rate algorithm: a number for each key, the time at which what was
-- admitted so far would have come at exactly the rate (TAT). A request is admitted if that is at
-- most a burst ahead of now. ----

local Rate = members.strict({}, 'a limit of a rate')
local RateMeta = { __index = Rate }

-- The same on a Redis server, by its clock. KEYS: the key. ARGV: interval, burst × interval, cost ×
-- interval. Returns whether it was admitted and how far ahead of now the TAT is.
local SCRIPT = [[
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local ahead = tat + ARGV[2] - now
if ahead > ARGV[1] + 0.0000005 then
  return { 0, tostring(tat - now) }
end
redis.call('SET', KEYS[1], string.format('%.6f', now + ahead), 'PX', math.ceil(ahead * 1000) + 1)
return { 1, tostring(ahead) }
]]
local script -- once a limit over Redis is made

local RATE_OPTIONS = { rate = true, per = true, burst = true, key = true, shared = true,
  redis = true, fields = true, open = true }

local KINDS = { fields = { 'true or false', boolean = true }, open = { 'true or false', boolean = true },
  redis = { 'a client of moonring.redis or a function', table = true, ['function'] = true } }

-- limit.rate(name, { rate = 100, per = 1, burst = 10, key = function(req) … end })
function _M.rate(name, options)
  local what = 'moonring.limit.rate'
  check_name(what, name)
  check_options(what, options, RATE_OPTIONS)
  for name, kinds in pairs(KINDS) do
    if options[name] ~= nil and not kinds[type(options[name])] then
      raise(('%s: %s is %s, not %s'):format(what, name, kinds[1], tostring(options[name])))
    end
  end
  local rate = number_of(what, options, 'rate', 1e-6)
  local per = number_of(what, options, 'per', 0.001, 1)
  local burst = floor(number_of(what, options, 'burst', 1, max(1, floor(rate / 10))))
  local limit = setmetatable({ name = name, rate = rate, per = per, burst = burst,
    interval = per / rate, prefix = 'rate ' .. name .. ' ', redis = options.redis or false,
    key = function_of(what, options, 'key', peer_of), fields = options.fields ~= false,
    open = options.open ~= false }, RateMeta)
  if options.redis then
    script = script or require('moonring.redis').script(SCRIPT)
  else
    limit.dictionary = shared(options.shared or DICTIONARY)
  end
  return limit
end

-- The details of a decision: whole requests left, seconds until the full burst is available, and until the
-- next request is admitted.
local function told(limit, is_admitted, ahead, cost)
  local interval, burst = limit.interval, limit.burst
  local room = burst * interval - ahead
  local remaining = max(0, floor(room / interval + 1e-9))
  local retry_after = is_admitted and 0 or max(0, cost * interval - room)
  return is_admitted, { limit = burst, remaining = is_admitted and remaining or min(remaining, burst),
    reset = max(0, ahead), retry_after = retry_after }
end

local function decide_here(limit, key, cost)
  local dictionary, interval = limit.dictionary, limit.interval
  local most = limit.burst * interval + 1e-9
  for _ = 1, TRIES do
    local time = now()
    local tat = dictionary:get(key)
    local ahead = type(tat) == 'number' and tat > time and tat - time or 0
    local next_ahead = ahead + cost * interval
    if next_ahead > most then
      return told(limit, false, ahead, cost)
    end
    local done, problem = dictionary:cas(key, tat, time + next_ahead, next_ahead + 0.001)
    if done then
      return told(limit, true, next_ahead, cost)
    elseif problem ~= 'changed' then
      return nil, problem
    end
  end
  return nil, 'busy'
end

local function decide_in_redis(limit, key, cost)
  local client = type(limit.redis) == 'function' and limit.redis() or limit.redis
  local interval = limit.interval
  local result, problem = client:run(script, { 'moonring ' .. key }, { limit.burst * interval,
    cost * interval })
  if not result then
    return nil, tostring(problem)
  end
  return told(limit, result[1] == 1, tonumber(result[2]), cost)
end

-- Whether a request of this key is admitted now, and a table: limit, remaining, reset and
-- retry_after. `cost`: how many requests it counts as (1), at most the burst. nil and an error if this cannot
-- be determined.
function Rate.check(limit, key, cost)
  cost = cost or 1
  if type(cost) ~= 'number' or not (cost >= 0 and cost <= limit.burst) then
    raise(('limit:check: the cost is a number from 0 to the burst, %d, not %s'):format(limit.burst,
      tostring(cost)))
  end
  key = limit.prefix .. text_of('limit:check', key)
  if limit.redis then
    return decide_in_redis(limit, key, cost)
  end
  return decide_here(limit, key, cost)
end

-- Fields of draft-ietf-httpapi-ratelimit-headers-10, and Retry-After.
local function set_fields(limit, res, info)
  if limit.fields then
    res:header('RateLimit-Policy', format('"%s";q=%d;w=%d', limit.name, limit.burst,
      ceil(limit.burst * limit.interval)))
    res:header('RateLimit', format('"%s";r=%d;t=%d', limit.name, info.remaining, ceil(info.reset)))
  end
  if info.retry_after > 0 then
    res:header('Retry-After', format('%d', ceil(info.retry_after)))
  end
end

local function respond_unavailable(res)
  res:status(503):header('Retry-After', '1'):body('Service Unavailable\n'):send()
end

-- Handles a limit that cannot be checked: true, after a response with 503, unless the limit is open.
local function refuse_unless_open(limit, res, problem)
  require('moonring.log').error(('the limit %s cannot be checked: %s'):format(limit.name, problem))
  if limit.open then
    return nil
  end
  respond_unavailable(res)
  return true
end

-- A hook for router:before and for handlers: true, after a response with 429, if the request is not
-- admitted. A key of nil is not limited.
function Rate.hook(limit)
  return function(req, res)
    local key = limit.key(req)
    if key == nil then
      return nil
    end
    local is_admitted, info = Rate.check(limit, key)
    if is_admitted == nil then
      return refuse_unless_open(limit, res, info)
    end
    set_fields(limit, res, info)
    if not is_admitted then
      res:status(429):body('Too Many Requests\n'):send()
      return true
    end
  end
end

-- ---- Concurrency, by leases: a list of ids and times in one value. What is not released, because
-- its process is dead, ends with its time. ----

local Concurrency = members.strict({}, 'a limit of concurrency')
local ConcurrencyMeta = { __index = Concurrency }
local Lease = members.strict({}, 'a lease')
local LeaseMeta = { __index = Lease }

local CONCURRENCY_OPTIONS = { max = true, key = true, shared = true, lease = true, wait = true,
  open = true }

-- limit.concurrency(name, { max = 10, key = function(req) … end, wait = 0, lease = 30 })
function _M.concurrency(name, options)
  local what = 'moonring.limit.concurrency'
  check_name(what, name)
  check_options(what, options, CONCURRENCY_OPTIONS)
  local most = number_of(what, options, 'max', 1)
  if most > CONCURRENT_MOST or most % 1 ~= 0 then
    raise(('%s: max is a whole number from 1 to %d, not %s'):format(what, CONCURRENT_MOST,
      tostring(most)))
  end
  return setmetatable({ name = name, max = most, prefix = 'concurrency ' .. name .. ' ',
    key = function_of(what, options, 'key', peer_of),
    wait = number_of(what, options, 'wait', 0, 0),
    lease = number_of(what, options, 'lease', 0.1, LEASE_S),
    open = options.open ~= false, dictionary = shared(options.shared or DICTIONARY) },
    ConcurrencyMeta)
end

-- Unique among the node's leases.
local origin = format('%x%x', random(2 ^ 31), floor(now() * 1e6) % 2 ^ 31)
local count = 0

local function new_id()
  count = count + 1
  return format('%s-%d-%x', origin, api.reactor_index, count)
end

-- Changes the list of a key: fn(leases, count) gets those that have not expired, id → time, and returns
-- whether it changed them. true, or what it returned; nil and an error.
local function change(limit, key, fn)
  local dictionary = limit.dictionary
  for _ = 1, TRIES do
    local time = now()
    local before = dictionary:get(key)
    local leases, held, last = {}, 0, time
    for id, ends in gmatch(type(before) == 'string' and before or '', '(%S+) (%S+)\n') do
      ends = tonumber(ends)
      if ends > time then
        leases[id] = ends
        held = held + 1
      end
    end
    if not fn(leases, held, time) then
      return false
    end
    local lines = {}
    for id, ends in pairs(leases) do
      lines[#lines + 1] = format('%s %.3f\n', id, ends)
      last = max(last, ends)
    end
    local done, problem = dictionary:cas(key, before, #lines > 0 and concat(lines) or nil,
      max(0.001, last - time))
    if done then
      return true
    elseif problem ~= 'changed' then
      return nil, problem
    end
  end
  return nil, 'busy'
end

local function try_acquire(limit, key, id)
  return change(limit, key, function(leases, held, time)
    if held >= limit.max then
      return false
    end
    leases[id] = time + limit.lease
    return true
  end)
end

-- Repeats while the task's request is running.
local function keep(lease)
  local limit = lease.limit
  while true do
    scheduler.sleep(limit.lease / 3)
    if lease.is_released then
      return
    end
    change(limit, lease.at, function(leases, _, time)
      leases[lease.id] = time + limit.lease
      return true
    end)
  end
end

-- Releases it; twice is harmless. It happens automatically at the end of the request.
function Lease.release(lease)
  if lease.is_released then
    return
  end
  lease.is_released = true
  local limit = lease.limit
  change(limit, lease.at, function(leases)
    leases[lease.id] = nil
    return true
  end)
  if limit.wait > 0 then
    topics.publish(lease.topic, '')
  end
end

-- Takes a slot of this key, waiting up to `limit.wait` seconds. A lease; nil, 'busy' if there is none.
function Concurrency.acquire(limit, key)
  local own = text_of('limit:acquire', key)
  local lease = setmetatable({ limit = limit, at = limit.prefix .. own, id = new_id(),
    topic = 'moonring limit ' .. limit.name, is_released = false }, LeaseMeta)
  local done, problem = try_acquire(limit, lease.at, lease.id)
  if done == false and limit.wait > 0 then
    local ends = now() + limit.wait
    local subscription = topics.subscribe(lease.topic)
    while done == false do
      done, problem = try_acquire(limit, lease.at, lease.id)
      local left = ends - now()
      if done == false and left <= 0 then
        break
      elseif done == false then
        subscription:receive(min(left, LOOK_S))
      end
    end
    subscription:close()
  end
  if not done then
    return nil, problem or 'busy'
  end
  scheduler.on_end(function()
    Lease.release(lease)
  end)
  scheduler.spawn(keep, lease)
  return lease
end

-- A hook for router:before: true, after a response with 503, if too many are running already. The slot is
-- released at the end of the request.
function Concurrency.hook(limit)
  return function(req, res)
    local key = limit.key(req)
    if key == nil then
      return nil
    end
    local lease, problem = Concurrency.acquire(limit, key)
    if lease then
      return nil
    elseif problem ~= 'busy' then
      return refuse_unless_open(limit, res, problem)
    end
    respond_unavailable(res)
    return true
  end
end

return members.strict(_M, 'moonring.limit')
