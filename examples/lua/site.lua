-- Files and handlers in one app:
--   curl -i localhost:8080/
--   curl -i localhost:8080/assets/style.css
--   curl -i localhost:8080/api/time
local router = require 'moonring.router'

local here = debug.getinfo(1, 'S').source:match '^@(.*)/[^/]*$'
local app = router.new()

app:get('/api/time', function(_, res)
  res:json { now = os.time() }
end)

-- Everything else is a file; for a page that does not exist the index is served, for its scripts.
app:static('', here .. '/public', {
  precompressed = true,
  cache_control = { { '*.html', 'no-cache' } },
  immutable = { 'assets/*' },
  fallback = 'index.html',
})

handle = app:handler()
