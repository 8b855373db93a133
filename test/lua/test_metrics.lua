-- moonring.metrics with memory private to the state; test/e2e/own-metrics.test.ts reads /metrics.
local expect = require 'expect'
local ffi = require 'ffi'
local metrics = require 'moonring.metrics'

local cases = {}

local function cell(cells, i)
  return ffi.cast('double *', cells)[i or 0]
end

-- The value of the series with these label values.
local function value(metric, ...)
  local key = ''
  for i = 1, select('#', ...) do
    local text = tostring((select(i, ...)))
    key = key .. string.char(#text) .. text
  end
  return cell(key == '' and metric.other or metric.by_key[key])
end

function cases.counters_go_up()
  local counter = metrics.counter('a_total', 'A.')
  counter:inc()
  counter:inc(2.5)
  counter:inc(0)
  expect.equal(value(counter), 3.5)
  for _, n in ipairs { -1, -0.5 } do
    expect.raises('metric a_total: a counter does not go down', counter.inc, counter, n)
  end
  for _, n in ipairs { 0 / 0, math.huge, -math.huge, '1', {} } do
    expect.raises('metric a_total: inc(n, …): n has to be a finite number', counter.inc, counter, n)
  end
  expect.equal(value(counter), 3.5)
end

function cases.gauges_are_set_and_go_both_ways()
  local gauge = metrics.gauge('b', 'B.')
  gauge:set(10)
  gauge:inc()
  gauge:inc(-2)
  gauge:dec()
  gauge:dec(0.5)
  expect.equal(value(gauge), 7.5)
end

function cases.histograms_count_what_is_at_most_a_bound()
  local histogram = metrics.histogram('c_seconds', 'C.', { buckets = { -1, 0.5, 2 } })
  for _, n in ipairs { -5, -1, 0, 0.5, 0.6, 2, 2.1, 100 } do
    histogram:observe(n)
  end
  local found = {}
  for i = 0, 4 do
    found[i + 1] = cell(histogram.other, i)
  end
  expect.equal({ found[1], found[2], found[3], found[4] }, { 2, 2, 2, 2 })
  expect.equal(math.abs(found[5] - 99.2) < 1e-9, true)
  local by_default = metrics.histogram('c2_seconds', 'C.')
  by_default:observe(11)
  expect.equal(cell(by_default.other, 11), 1)
end

function cases.labels_tell_series_apart()
  local counter = metrics.counter('d_total', 'D.', { labels = { 'a', 'b', 'c', 'd' } })
  counter:inc(1, 'x', 'y', 'z', 'w')
  counter:inc(2, 'x', 'y', 'z', '')
  counter:inc(3, 'xy', '', 'z', 'w')
  counter:inc(4, 'x', 'y', 'z', 'w')
  expect.equal(value(counter, 'x', 'y', 'z', 'w'), 5)
  expect.equal(value(counter, 'x', 'y', 'z', ''), 2)
  expect.equal(value(counter, 'xy', '', 'z', 'w'), 3)
  local two = metrics.counter('d2_total', 'D.', { labels = { 'status', 'cached' } })
  two:inc(1, 200, true)
  two:inc(1, '200', 'true')
  two:inc(1, 200, false)
  expect.equal(value(two, 200, true), 2)
  expect.equal(value(two, 200, false), 1)
end

function cases.every_label_has_a_value()
  local counter = metrics.counter('e_total', 'E.', { labels = { 'kind', 'country' } })
  expect.raises('metric e_total: the value of the label country has to be a string, number or '
    .. 'boolean, not nil', counter.inc, counter, 1, 'a')
  expect.raises('label kind has to be a string, number or boolean, not nil', counter.inc, counter)
  expect.raises('label kind has to be a string, number or boolean, not a table', counter.inc,
    counter, 1, {}, 'a')
  expect.raises('label kind has to be a string, number or boolean, not NaN', counter.inc, counter,
    1, 0 / 0, 'a')
end

function cases.errors_are_at_the_line_of_the_handler()
  local counter = metrics.counter('f_total', 'F.', { labels = { 'kind' } })
  for _, run in ipairs {
    function() counter:inc(-1, 'a') end,
    function() counter:inc('a') end,
    function() counter:inc(1) end,
    function() local metric = metrics.counter('f', 'F.') return metric end,
    function() local metric = metrics.counter('f_total', 'F.', { labels = 1 }) return metric end,
  } do
    local message = expect.raises('', run)
    expect.equal(message:match '^[^:]*test_metrics%.lua:%d+:' ~= nil, true)
  end
end

function cases.misspelt_calls_name_what_to_write()
  local counter = metrics.counter('misspelt_total', 'F.')
  for words, run in pairs {
    ['a counter has no member "incr": did you mean "inc"?'] = function() counter:incr() end,
    ['called with a colon, metric:inc('] = function() counter.inc(1) end,
  } do
    expect.equal(expect.raises(words, run):match '^[^:]*test_metrics%.lua:%d+:' ~= nil, true)
  end
end

function cases.further_series_count_as_other()
  local counter = metrics.counter('g_total', 'G.', { labels = { 'kind' }, max_series = 3 })
  for i = 1, 1000 do
    counter:inc(1, 'kind ' .. i % 10)
  end
  expect.equal(value(counter, 'kind 1'), 100)
  expect.equal(value(counter, 'kind 3'), 100)
  expect.equal(counter.by_key['\6kind 4'], nil)
  expect.equal(cell(counter.other), 700)
  counter:inc(1, ('x'):rep(121))
  expect.equal(cell(counter.other), 701)
end

-- Label values invented by clients use no memory.
function cases.values_without_a_series_are_not_kept()
  local counter = metrics.counter('h_total', 'H.', { labels = { 'kind' }, max_series = 5 })
  for i = 1, 10000 do
    counter:inc(1, 'kind ' .. i)
    counter:inc(1, 1 + i * 2 ^ -52)
  end
  local count = 0
  for _ in pairs(counter.cache) do
    count = count + 1
  end
  expect.equal(count <= 10, true)
end

-- As after a reload: the same name is the same metric, and its series are found again.
function cases.a_metric_that_is_there_goes_on()
  local options = { labels = { 'kind' }, max_series = 2 }
  local first = metrics.counter('i_total', 'I.', options)
  first:inc(1, 'a')
  first:inc(1, 'b')
  first:inc(1, 'c')
  local second = metrics.counter('i_total', 'Another help.', options)
  second:inc(1, 'd')
  second:inc(1, 'b')
  second:inc(1, 'a')
  expect.equal(value(first, 'a'), 2)
  expect.equal(value(first, 'b'), 2)
  expect.equal(cell(first.other), 2)
end

function cases.another_shape_under_the_same_name_is_refused()
  metrics.gauge('j', 'J.', { labels = { 'a' } })
  local words = 'metrics.gauge(j): the server has a metric of this name that is of another type, or '
    .. 'has other labels or buckets: take another name, or restart the server'
  expect.raises(words, metrics.gauge, 'j', 'J.')
  expect.raises(words, metrics.gauge, 'j', 'J.', { labels = { 'b' } })
  expect.raises(words, metrics.gauge, 'j', 'J.', { labels = { 'a', 'b' } })
  expect.raises('of another type', metrics.histogram, 'j', 'J.', { labels = { 'a' } })
  metrics.histogram('j2', 'J.')
  expect.raises('other labels or buckets', metrics.histogram, 'j2', 'J.', { buckets = { 1 } })
end

function cases.bad_names_are_refused()
  for name, words in pairs {
    [''] = 'letters, digits and _', ['a b'] = 'letters, digits and _', ['1a'] = 'letters',
    ['a-b'] = 'letters', ['a:b'] = 'letters', ['a\nb'] = 'letters', ['ä'] = 'letters',
    [('a'):rep(96)] = 'longer than 95 bytes', moonring_a = 'for the server itself',
    http_server_a = 'for the server itself', process_a = 'for the server itself',
  } do
    expect.raises(words, metrics.gauge, name, 'Help.')
  end
  expect.raises('the name of a counter ends in _total', metrics.counter, 'orders', 'Help.')
  expect.raises('metrics.gauge(nil): the name', metrics.gauge)
  metrics.gauge(('a'):rep(95), 'Help.')
  for _, help in ipairs { '', 1, 'a\0b', false } do
    expect.raises('a text that says what is measured', metrics.gauge, 'k', help)
  end
  expect.raises('the help is longer than 207 bytes', metrics.gauge, 'k', ('a'):rep(208))
end

function cases.names_of_a_histogram_are_taken()
  metrics.histogram('l', 'L.')
  expect.raises('l_count would be there twice: it belongs to l', metrics.gauge, 'l_count', 'L.')
  metrics.gauge('m_sum', 'M.')
  expect.raises('m_sum would be there twice: it belongs to m_sum', metrics.histogram, 'm', 'M.')
end

function cases.bad_options_are_refused()
  local function refused(words, options, kind)
    expect.raises(words, metrics[kind or 'gauge'], 'n', 'N.', options)
  end
  refused('options is a string, not a table', 'labels')
  refused('there is no option label', { label = { 'a' } })
  refused('there is no option buckets', { buckets = { 1 } })
  refused('a list of at most 4 names', { labels = { 'a', 'b', 'c', 'd', 'e' } })
  for _, label in ipairs { '', 'a b', '__a', 'le', '1', 5, ('a'):rep(48) } do
    refused('cannot be a label', { labels = { label } })
  end
  refused('the label a is there twice', { labels = { 'a', 'a' } })
  for _, most in ipairs { 0, 1.5, 1001, '5', 0 / 0 } do
    refused('max_series has to be a whole number from 1 to 1000', { max_series = most })
  end
  refused('a list of 1 to 24 numbers', { buckets = {} }, 'histogram')
  for _, buckets in ipairs { { 1, 1 }, { 2, 1 }, { math.huge }, { 0 / 0 }, { 'a' } } do
    refused('finite numbers in rising order', { buckets = buckets }, 'histogram')
  end
end

-- Last by its name: after it nothing else can be declared in this state.
function cases.zz_the_server_has_room_for_128_metrics()
  expect.raises('the server has no room for it: it keeps 128 metrics and 1024 series until it is '
    .. 'restarted', function()
    for i = 1, 129 do
      metrics.gauge('many_' .. i, 'Many.')
    end
  end)
end

return cases
