-- A rate limit stored in Redis, at MOONRING_TEST_REDIS.
local redis = moonring.redis.connect(os.getenv 'MOONRING_TEST_REDIS')
local limit = moonring.limit.rate('nodes', { rate = 5, burst = 3, redis = redis, open = false,
  key = function(req) return req.query end })

handle = moonring.router.new():before(limit:hook()):get('/', function(_, res)
  res:body('admitted')
end):handler()
