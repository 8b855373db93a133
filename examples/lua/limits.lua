-- Limits in front of a router, and values that are computed once for all reactors:
--   node dist/master.js --shared limits=1m --shared cache=4m examples/lua/limits.lua
--   GET /search?word   10 requests per second and client, bursts of 5; then 429
--   GET /report        at most 2 at a time on this node, others wait up to 2 s; then 503
--   GET /quote         computed every 10 s by one request, however many reactors there are
local limit, cache = moonring.limit, moonring.cache

local searches = limit.rate('search', { rate = 10, burst = 5 })
local reports = limit.concurrency('report', { max = 2, wait = 2, key = function() return 'all' end })
local quotes = cache.new('quotes', { ttl = 10, stale = 60, negative_ttl = 1 })

local app = moonring.router.new { errors = 'json' }

app:get('/', function(_, res)
  res:body('GET /search?word, /report, /quote\n')
end)

app:group('/search'):before(searches:hook()):get('', function(req, res)
  res:json { word = req.query }
end)

app:group('/report'):before(reports:hook()):get('', function(_, res)
  moonring.sleep(0.2) -- stands for slow work
  res:json { rows = 3 }
end)

app:get('/quote', function(_, res)
  res:json(quotes:get('today', function()
    moonring.sleep(0.05) -- stands for another server
    return { text = 'What is slow is asked once.', at = os.time() }
  end))
end)

handle = app:handler()
