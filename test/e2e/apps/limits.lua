-- Limits, locks and caches shared by several reactors; /hang keeps what it has acquired.
local limit, lock, cache = moonring.limit, moonring.lock, moonring.cache

local rate = limit.rate('rate', { rate = 20, burst = 20, key = function() return 'all' end })
local places = limit.concurrency('places', { max = 1, lease = 1, wait = 20 })
local values = cache.new('values')

local app = moonring.router.new()

app:group('/rate'):before(rate:hook()):get('', function(_, res)
  res:body('admitted')
end)

app:get('/computed', function(_, res)
  res:json(values:get('k', function()
    moonring.sleep(0.2)
    return { times = moonring.shared('cache'):incr('computed', 1, 0), by = moonring.reactor() }
  end))
end)

-- Reads, waits and writes: without the lock additions would be lost.
app:get('/add', function(_, res)
  local d = moonring.shared('limits')
  assert(lock.acquire 'add')
  local sum = d:get('sum') or 0
  moonring.sleep(0.002)
  d:set('sum', sum + 1)
  res:json { sum = sum + 1, by = moonring.reactor() }
end)

app:get('/hang', function(_, res)
  assert(lock.acquire('add', { ttl = 1 }))
  assert(places:acquire('k'))
  res:write(('%d\n'):format(moonring.reactor()))
  res:flush()
  moonring.sleep(60)
end)

app:get('/place', function(_, res)
  assert(places:acquire('k'))
  res:body('has a place')
end)

handle = app:handler()
