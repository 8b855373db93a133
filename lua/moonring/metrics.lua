-- Metrics of the application: metrics.counter('shop_orders_total', 'Orders taken.'):inc(). They are in the
-- shared memory from which /metrics is read; see docs/lua-services.md.
local ffi = require 'ffi'
local members = require 'moonring.members'
local native = require 'moonring.native'
local log = require 'moonring.log'

local VERSION = 1

ffi.cdef(native.metrics_abi)

local api = ffi.cast('hs_lua_metrics_api_t *', native.metrics)
if api.version ~= VERSION then
  error(('the Lua runtime speaks metrics ABI %d, the server %d: install them from one version')
    :format(VERSION, api.version))
end
if api.shape_size ~= ffi.sizeof('hs_lua_metric_shape_t') then
  error('LuaJIT and the C compiler disagree about hs_lua_metric_shape_t')
end

local char, find, sub = string.char, string.find, string.sub
local concat = table.concat
local error, pairs, pcall, select, setmetatable, tostring, type = error, pairs, pcall, select,
  setmetatable, tostring, type
local huge = math.huge
local self = api.self

local _M = {}

-- As in httpserver_supervise.h and exec/hs_metrics.h.
local COUNTER, GAUGE, HISTOGRAM = 0, 1, 2
local NAME_LENGTH, HELP_LENGTH, LABEL_LENGTH, KEY_LENGTH = 95, 207, 47, 244
local LABELS, BOUNDS = 4, 24
local DIFFERS, FULL = -1, -2

local VALUE_LENGTH = 120
local SERIES, SERIES_MOST = 100, 1000
-- The value of all labels of the overflow series.
local OTHER = '_other'
-- Seconds, the defaults of Prometheus client libraries.
local BUCKETS = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }
-- Names used by the server's own metrics.
local RESERVED = { '^moonring_', '^http_server_', '^process_' }

-- ---- Declaring. ----

local kind_names = { [COUNTER] = 'counter', [GAUGE] = 'gauge', [HISTOGRAM] = 'histogram' }
-- Every name that a metric of this state has in /metrics -> the metric's own name.
local taken = {}

-- Raises an error that _M.counter, gauge and histogram raise again at their caller's line.
local function fail(kind, name, problem, ...)
  error(('metrics.%s(%s): %s'):format(kind_names[kind], tostring(name), problem:format(...)), 0)
end

local function check_name(kind, name)
  if type(name) ~= 'string' or not find(name, '^[%a_][%w_]*$') then
    fail(kind, name, 'the name has to consist of letters, digits and _, and not begin with a digit')
  elseif #name > NAME_LENGTH then
    fail(kind, name, 'the name is longer than %d bytes', NAME_LENGTH)
  elseif kind == COUNTER and not find(name, '_total$') then
    fail(kind, name, 'the name of a counter ends in _total')
  end
  for i = 1, #RESERVED do
    if find(name, RESERVED[i]) then
      fail(kind, name, 'names that begin with %s are for the server itself', sub(RESERVED[i], 2))
    end
  end
end

local function check_help(kind, name, help)
  if type(help) ~= 'string' or help == '' or find(help, '%z') then
    fail(kind, name, 'the second argument has to be a text that says what is measured')
  elseif #help > HELP_LENGTH then
    fail(kind, name, 'the help is longer than %d bytes', HELP_LENGTH)
  end
end

local function check_labels(kind, name, labels)
  if type(labels) ~= 'table' or #labels > LABELS then
    fail(kind, name, 'labels has to be a list of at most %d names', LABELS)
  end
  local seen = {}
  for i = 1, #labels do
    local label = labels[i]
    if type(label) ~= 'string' or not find(label, '^[%a_][%w_]*$') or find(label, '^__')
      or #label > LABEL_LENGTH or label == 'le' then
      fail(kind, name, '%s cannot be a label: letters, digits and _, no digit and no __ at the '
        .. 'beginning, at most %d bytes, and not le', tostring(label), LABEL_LENGTH)
    elseif seen[label] then
      fail(kind, name, 'the label %s is there twice', label)
    end
    seen[label] = true
  end
end

local function check_buckets(kind, name, buckets)
  if type(buckets) ~= 'table' or #buckets < 1 or #buckets > BOUNDS then
    fail(kind, name, 'buckets has to be a list of 1 to %d numbers', BOUNDS)
  end
  local last = -huge
  for i = 1, #buckets do
    local bound = buckets[i]
    if type(bound) ~= 'number' or not (bound > last and bound < huge) then
      fail(kind, name, 'buckets have to be finite numbers in rising order')
    end
    last = bound
  end
end

local function check_options(kind, name, options)
  if type(options) ~= 'table' then
    fail(kind, name, 'options is a %s, not a table', type(options))
  end
  for option in pairs(options) do
    if option ~= 'labels' and option ~= 'max_series'
      and not (option == 'buckets' and kind == HISTOGRAM) then
      fail(kind, name, 'there is no option %s', tostring(option))
    end
  end
  check_labels(kind, name, options.labels or {})
  local most = options.max_series or SERIES
  if type(most) ~= 'number' or most % 1 ~= 0 or most < 1 or most > SERIES_MOST then
    fail(kind, name, 'max_series has to be a whole number from 1 to %d', SERIES_MOST)
  end
  if kind == HISTOGRAM then
    check_buckets(kind, name, options.buckets or BUCKETS)
  end
end

-- No two metrics have the same name in /metrics.
local function take_names(kind, name)
  local names = kind == HISTOGRAM and { name, name .. '_bucket', name .. '_sum', name .. '_count' }
    or { name }
  for i = 1, #names do
    local owner = taken[names[i]]
    if owner and owner ~= name then
      fail(kind, name, '%s would be there twice: it belongs to %s', names[i], owner)
    end
  end
  for i = 1, #names do
    taken[names[i]] = name
  end
end

-- ---- Series. ----

-- The values of labels in the directory's format: each after a byte with its length.
local function key_of(texts, count)
  local parts = {}
  for i = 1, count do
    parts[2 * i - 1], parts[2 * i] = char(#texts[i]), texts[i]
  end
  return concat(parts)
end

-- Existing entries, including those of other threads or from before a reload.
local function load_series(metric)
  local length = ffi.new('uint32_t[1]')
  for number = 0, api.series_count(self) - 1 do
    local key = api.series_key(self, metric.number, number, length)
    if key ~= nil then
      metric.by_key[ffi.string(key, length[0])] = api.cells(self, number)
    end
  end
end

-- Called once when there is no room for another series.
local function close_series(metric, problem)
  load_series(metric)
  metric.is_full = true
  local reason = problem == FULL and 'the server has no room for more series'
    or ('it has %d series, its max_series'):format(metric.most)
  log.warn(('metric %s: %s; further values of its labels count as %s'):format(metric.name, reason,
    OTHER))
end

-- The text of a label's value; raises at the line of the handler.
local function text_of(metric, i, value, level)
  local kind = type(value)
  if kind == 'string' then
    return value
  elseif kind == 'number' and value == value or kind == 'boolean' then
    return tostring(value)
  end
  error(('metric %s: the value of the label %s has to be a string, number or boolean, not %s')
    :format(metric.name, metric.labels[i], value ~= value and 'NaN' or value == nil and 'nil'
    or 'a ' .. kind), level + 1)
end

local function remember(metric, cells, a, b, c, d)
  local count = metric.count
  if metric.cached >= 2 * metric.most then -- 1 and '1' are one series
    return
  end
  metric.cached = metric.cached + 1
  local values, at = { a, b, c, d }, metric.cache
  for i = 1, count - 1 do
    local next_at = at[values[i]] or {}
    at[values[i]] = next_at
    at = next_at
  end
  at[values[count]] = cells
end

-- The cells for new label values, or those without their own series.
local function resolve(metric, level, a, b, c, d)
  local texts, length = {}, metric.count
  for i = 1, metric.count do
    texts[i] = text_of(metric, i, (select(i, a, b, c, d)), level + 1)
    length = length + #texts[i]
    if #texts[i] > VALUE_LENGTH then
      return metric.other
    end
  end
  if length > KEY_LENGTH then
    return metric.other
  end
  local key = key_of(texts, metric.count)
  local cells = metric.by_key[key]
  if not cells and not metric.is_full then
    -- `_other` is one more.
    local number = api.series(self, metric.number, key, #key, metric.most + 1)
    if number >= 0 then
      cells = api.cells(self, number)
      metric.by_key[key] = cells
    else
      close_series(metric, number)
      cells = metric.by_key[key]
    end
  end
  if not cells then
    return metric.other
  end
  remember(metric, cells, a, b, c, d)
  return cells
end

-- The cells of the series with these label values.
local function cells_of(metric, level, a, b, c, d)
  local count = metric.count
  if count == 0 then
    return metric.other
  end
  local cells = a ~= nil and metric.cache[a]
  if count > 1 then
    cells = cells and b ~= nil and cells[b]
    if count > 2 then
      cells = cells and c ~= nil and cells[c]
      if count > 3 then
        cells = cells and d ~= nil and cells[d]
      end
    end
  end
  return cells or resolve(metric, level + 1, a, b, c, d)
end

-- ---- Counting. ----

local function check_number(metric, what, value, level)
  if type(metric) ~= 'table' then
    error(('a metric: methods are called with a colon, metric:%s(…)'):format(what), level + 1)
  end
  if type(value) ~= 'number' or not (value > -huge and value < huge) then
    error(('metric %s: %s(n, …): n has to be a finite number, not %s'):format(metric.name, what,
      tostring(value)), level + 1)
  end
end

local Counter, Gauge, Histogram = {}, {}, {}

-- Adds n (1), which must not be negative.
function Counter.inc(metric, n, a, b, c, d)
  n = n == nil and 1 or n
  check_number(metric, 'inc', n, 2)
  if n < 0 then
    error(('metric %s: a counter does not go down: inc(%s)'):format(metric.name, tostring(n)), 2)
  end
  api.add(cells_of(metric, 2, a, b, c, d), n)
end

function Gauge.inc(metric, n, a, b, c, d)
  n = n == nil and 1 or n
  check_number(metric, 'inc', n, 2)
  api.add(cells_of(metric, 2, a, b, c, d), n)
end

function Gauge.dec(metric, n, a, b, c, d)
  n = n == nil and 1 or n
  check_number(metric, 'dec', n, 2)
  api.add(cells_of(metric, 2, a, b, c, d), -n)
end

-- The value in this process; /metrics has the sum of all.
function Gauge.set(metric, n, a, b, c, d)
  check_number(metric, 'set', n, 2)
  api.set(cells_of(metric, 2, a, b, c, d), n)
end

function Histogram.observe(metric, n, a, b, c, d)
  check_number(metric, 'observe', n, 2)
  api.observe(self, metric.number, cells_of(metric, 2, a, b, c, d), n)
end

local classes = {
  [COUNTER] = { __index = members.strict(Counter, 'a counter') },
  [GAUGE] = { __index = members.strict(Gauge, 'a gauge') },
  [HISTOGRAM] = { __index = members.strict(Histogram, 'a histogram') },
}

local function refuse(kind, name, problem)
  if problem == DIFFERS then
    fail(kind, name, 'the server has a metric of this name that is of another type, or has other '
      .. 'labels or buckets: take another name, or restart the server')
  end
  fail(kind, name, 'the server has no room for it: it keeps 128 metrics and 1024 series until it '
    .. 'is restarted')
end

local function declare(kind, name, help, options)
  options = options == nil and {} or options
  check_name(kind, name)
  check_help(kind, name, help)
  check_options(kind, name, options)
  take_names(kind, name)
  local labels, buckets = options.labels or {}, kind == HISTOGRAM and (options.buckets or BUCKETS)
    or {}
  local shape = ffi.new('hs_lua_metric_shape_t', { kind = kind, label_count = #labels,
    bound_count = #buckets, name = name, help = help })
  for i = 1, #labels do
    shape.labels[i - 1] = labels[i]
  end
  for i = 1, #buckets do
    shape.bounds[i - 1] = buckets[i]
  end
  local number = api.declare(self, shape)
  if number < 0 then
    refuse(kind, name, number)
  end
  local most = options.max_series or SERIES
  local others = {}
  for i = 1, #labels do
    others[i] = OTHER
  end
  local key = key_of(others, #labels)
  local other = api.series(self, number, key, #key, most + 1)
  if other < 0 then
    refuse(kind, name, FULL)
  end
  local metric = setmetatable({ name = name, number = number, labels = { unpack(labels) },
    count = #labels, most = most, is_full = false, cached = 0, cache = {}, by_key = {},
    other = api.cells(self, other) }, classes[kind])
  return metric
end

local function declarer(kind)
  return function(name, help, options)
    local ok, metric = pcall(declare, kind, name, help, options)
    if not ok then
      error(metric, 2)
    end
    return metric
  end
end

-- Each takes a name, a text for people, and options: labels (a list of names), max_series, and
-- buckets for a histogram.
_M.counter = declarer(COUNTER)
_M.gauge = declarer(GAUGE)
_M.histogram = declarer(HISTOGRAM)

return members.strict(_M, 'moonring.metrics')
