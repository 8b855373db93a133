-- moonring.publish and moonring.subscribe: messages to all reactors, worker threads and the master.
-- C reads the ring once for a Lua state and wakes `take`, which makes one string of each message
-- for all subscriptions of the state: exec/hs_lua_topics.c, docs/lua-topics.md.
local ffi = require 'ffi'
local native = require 'moonring.native'
local failure = require 'moonring.failure'
local members = require 'moonring.members'
local scheduler = require 'moonring.scheduler'
local log = require 'moonring.log'

local VERSION = 1

ffi.cdef(native.topics_abi)

local api = ffi.cast('hs_lua_topics_api_t *', native.topics)
if api.version ~= VERSION then
  error(('the Lua runtime speaks topics ABI %d, the server %d: install them from one version')
    :format(VERSION, api.version))
end

local error, next, pairs, pcall, setmetatable = error, next, pairs, pcall, setmetatable
local tonumber, tostring, type = tonumber, tostring, type
local raise, check_seconds, check_function = failure.raise, scheduler.check_seconds,
  scheduler.check_function
local wait_for_wake, wake, check = scheduler.wait_for_wake, scheduler.wake, scheduler.check
local remove, string_of = table.remove, ffi.string
local self = api.self

local _M = {}

-- As in scheduler.lua.
local RETIRE_REPLACED = 1
-- As in httpserver_supervise.h.
local TOPIC_LENGTH, MESSAGE_LENGTH = 255, 65536
-- How far the slowest subscription of a topic may lag: messages and bytes.
local BEHIND, BEHIND_BYTES = 1024, 1048576

local function check_topic(topic, what)
  if type(topic) ~= 'string' or topic == '' or #topic > TOPIC_LENGTH then
    raise(('%s: a topic is a string of 1 to %d bytes, not %s'):format(what, TOPIC_LENGTH,
      type(topic) == 'string' and #topic .. ' bytes' or type(topic)))
  end
end

-- moonring.publish(topic, message): delivers a string to every current subscription, in all processes,
-- including this one.
function _M.publish(topic, message)
  check_topic(topic, 'moonring.publish')
  if type(message) ~= 'string' then
    raise('moonring.publish: a message is a string, not a ' .. type(message)
      .. ': moonring.json.encode makes one of other values')
  elseif #message > MESSAGE_LENGTH then
    raise(('moonring.publish: a message has at most %d bytes, not %d'):format(MESSAGE_LENGTH,
      #message))
  end
  if api.publish(self, topic, #topic, message, #message) ~= 0 then
    raise('moonring.publish: out of memory')
  end
  return true
end

-- ---- A topic of this state: messages that some of its subscriptions have still to take. ----
--
--   log     position → message, from `first` to `last`
--   marks   position → number of messages of the topic before this one, lost ones too
--   bytes   of the messages
--   count   messages so far, with those that were lost
--   behind  subscriptions that have not taken everything

local topics = {}  -- by name
local numbers = {} -- by number
local free = {}    -- numbers that were used

local function take_number()
  return remove(free) or #numbers + 1
end

local function open_topic(name)
  local topic = topics[name]
  if topic then
    return topic
  end
  topic = { name = name, number = take_number(), log = {}, marks = {}, first = 1, last = 0,
    bytes = 0, count = 0, behind = 0, size = 0, subscriptions = {} }
  if api.subscribe(self, topic.number, name, #name) ~= 0 then
    free[#free + 1] = topic.number
    raise('moonring.subscribe: out of memory')
  end
  numbers[topic.number] = topic
  topics[name] = topic
  return topic
end

local function close_topic(topic)
  topics[topic.name] = nil
  numbers[topic.number] = false
  free[#free + 1] = topic.number
  api.unsubscribe(self, topic.number)
end

local function drop_first(topic)
  local first = topic.first
  topic.bytes = topic.bytes - #topic.log[first]
  topic.log[first], topic.marks[first] = nil, nil
  topic.first = first + 1
end

-- One more subscription has caught up.
local function caught_up(topic)
  topic.behind = topic.behind - 1
  if topic.behind == 0 then
    while topic.first <= topic.last do
      drop_first(topic)
    end
  end
end

local function wake_receiver(subscription)
  local task = subscription.task
  if task then
    subscription.task = false
    wake(task)
  end
end

local function deliver(topic, message, lost)
  local last = topic.last + 1
  topic.last = last
  topic.log[last], topic.marks[last] = message, topic.count + lost
  topic.count = topic.count + lost + 1
  topic.bytes = topic.bytes + #message
  while last - topic.first >= BEHIND or (topic.bytes > BEHIND_BYTES and topic.first < last) do
    drop_first(topic)
  end
  topic.behind = topic.size
  for subscription in pairs(topic.subscriptions) do
    wake_receiver(subscription)
  end
end

-- Called by the scheduler when C has messages.
local function take()
  while api.take(self) ~= 0 do
    local topic = numbers[api.number]
    if topic then
      deliver(topic, string_of(api.data, api.len), tonumber(api.lost))
    end
  end
end

api.id = scheduler.id()
scheduler.listen(api.id, take)

-- ---- A subscription. ----

local Subscription = members.strict({}, 'a subscription')
local Meta = { __index = Subscription }

-- Detached subscriptions: they end when the state is replaced.
local detached = {}

local function close(subscription)
  local topic = subscription.topic
  if not topic then
    return
  end
  subscription.topic = false
  detached[subscription] = nil
  topic.subscriptions[subscription] = nil
  topic.size = topic.size - 1
  if subscription.next <= topic.last then
    caught_up(topic)
  end
  if next(topic.subscriptions) == nil then
    close_topic(topic)
  end
  wake_receiver(subscription)
end

-- No more messages: a waiting receive returns nil, 'closed'. Closing twice is harmless.
function Subscription.close(subscription)
  close(subscription)
end

-- The next message, and how many of the topic's messages were lost before it.
local function take_next(subscription, topic)
  local position = subscription.next
  if position < topic.first then
    position = topic.first
  end
  local message, mark = topic.log[position], topic.marks[position]
  local lost = mark - subscription.count
  subscription.count = mark + 1
  subscription.next = position + 1
  if position == topic.last then
    caught_up(topic)
  end
  return message, lost
end

local function wait(subscription, seconds)
  if subscription.task then
    raise('subscription:receive: another task waits for the same already')
  end
  local task = check('subscription:receive')
  subscription.task = task
  local ok, woke, why = pcall(wait_for_wake, task, seconds)
  subscription.task = false
  if not ok then
    error(woke, 0)
  end
  return woke, why
end

-- The next message and the number of messages that were lost before it; waits until there is one. nil,
-- 'timeout' after `seconds` (nil: no limit), nil, 'closed' when the subscription is.
function Subscription.receive(subscription, seconds)
  if seconds ~= nil then
    check_seconds(seconds, 'subscription:receive')
  end
  local topic = subscription.topic
  while topic do
    if subscription.next <= topic.last then
      return take_next(subscription, topic)
    end
    local woke, why = wait(subscription, seconds)
    topic = subscription.topic
    if not woke and not (topic and subscription.next <= topic.last) then
      return nil, why
    end
  end
  return nil, 'closed'
end

local function next_message(subscription) -- without the value before, which `for` gives too
  return Subscription.receive(subscription)
end

-- for message, lost in subscription:messages() do … end: until it is closed.
function Subscription.messages(subscription)
  return next_message, subscription
end

-- Calls the function for every message until the subscription is closed.
local function serve(subscription, fn)
  for message, lost in Subscription.messages(subscription) do
    local ok, reason = pcall(fn, message, lost, subscription)
    if not ok then
      if failure.is(reason) then
        error(reason, 0) -- it was cancelled, or its client has gone
      end
      log.error('lua error in a subscription: ' .. tostring(reason))
    end
  end
end

-- moonring.subscribe(topic [, { detached = true }] [, fn]): a subscription to messages published from now on.
-- It ends with the request of the running task unless it is detached.
function _M.subscribe(topic, options, fn)
  check_topic(topic, 'moonring.subscribe')
  if type(options) == 'function' and fn == nil then
    options, fn = nil, options
  end
  if options ~= nil and type(options) ~= 'table' then
    raise('moonring.subscribe: options are a table, not a ' .. type(options))
  end
  for name in pairs(options or {}) do
    if name ~= 'detached' then
      raise('moonring.subscribe: ' .. members.unknown('the table of options', name,
        { { detached = true } }))
    end
  end
  if fn ~= nil then
    check_function(fn, 'moonring.subscribe')
  end
  local is_detached = options and options.detached
  local own = not is_detached and scheduler.running('moonring.subscribe')
  local opened = open_topic(topic)
  local subscription = setmetatable({ topic = opened, task = false, next = opened.last + 1,
    count = opened.count }, Meta)
  opened.subscriptions[subscription] = true
  opened.size = opened.size + 1
  if own and own.request then
    scheduler.on_end(function()
      close(subscription)
    end)
  else
    detached[subscription] = true
  end
  if fn then
    scheduler.spawn({ detached = is_detached and true or false }, serve, subscription, fn)
  end
  return subscription
end

-- The state has a successor: detached subscriptions end.
scheduler.on_retire(function(how)
  if how < RETIRE_REPLACED then
    return
  end
  for subscription in pairs(detached) do
    close(subscription)
  end
end)

return _M
