-- Nanoseconds per call of metrics, crypto and log functions: /calls?<name> for bench/calls.mjs.
local crypto, log, metrics = moonring.crypto, moonring.log, moonring.metrics

local plain = metrics.counter('bench_plain_total', 'Calls.')
local labelled = metrics.counter('bench_labelled_total', 'Calls.', { labels = { 'kind', 'status' } })
local gauge = metrics.gauge('bench_gauge', 'Calls.')
local seconds = metrics.histogram('bench_seconds', 'Calls.')
local key, text = ('k'):rep(32), ('x'):rep(64)

local calls = {
  counter = function() plain:inc() end,
  labels = function(i) labelled:inc(1, 'book', i % 2 == 0 and 200 or 404) end,
  gauge = function(i) gauge:set(i) end,
  histogram = function(i) seconds:observe(i % 100 / 100) end,
  sha256 = function() crypto.sha256(text) end,
  hmac = function() crypto.hmac('sha256', key, text, 'base64url') end,
  uuid = function() crypto.uuid7() end,
  log = function(i) log.info('an order', { item = 'tea', count = i }) end,
  log_off = function(i) log.debug('an order', { item = 'tea', count = i }) end,
}
local ROUNDS = { counter = 1e7, labels = 1e7, gauge = 1e7, histogram = 5e6, log = 2e3 }

function handle(req, res)
  local call, rounds = calls[req.query], ROUNDS[req.query] or 2e5
  for i = 1, req.query == 'log' and 100 or 1000 do call(i) end
  local before = os.clock()
  for i = 1, rounds do call(i) end
  res:body(('%.1f'):format((os.clock() - before) / rounds * 1e9)):send()
end
