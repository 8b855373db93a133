-- Runs Lua code sent by a test, with a client of the Redis that the test names. The response is
-- the returned value, as text. A request with ?file-wide uses a client shared by all requests.
local json = require 'moonring.json'
local redis = require 'moonring.redis'

local URL = os.getenv 'MOONRING_TEST_REDIS'
local OPTIONS = json.decode(os.getenv 'MOONRING_TEST_REDIS_OPTIONS' or '{}')

local client = redis.connect(URL, OPTIONS)

local function shown(value)
  if value == redis.null then
    return 'null'
  elseif type(value) ~= 'table' then
    return type(value) == 'string' and ('%q'):format(value):gsub('\\\n', '\\n') or tostring(value)
  elseif redis.is_error(value) then
    return value.code .. ': ' .. value.message
  end
  local parts, count = {}, #value
  for i = 1, count do
    parts[i] = shown(value[i])
  end
  local named = {}
  for name, member in pairs(value) do
    if not (type(name) == 'number' and name >= 1 and name <= count) then
      named[#named + 1] = tostring(name) .. '=' .. shown(member)
    end
  end
  table.sort(named)
  for _, part in ipairs(named) do
    parts[#parts + 1] = part
  end
  return '{' .. table.concat(parts, ', ') .. '}'
end

local function shown_all(...)
  local parts = {}
  for i = 1, select('#', ...) do
    parts[i] = shown((select(i, ...)))
  end
  return table.concat(parts, ' ')
end

-- State kept between requests, for the code.
local kept = {}

function handle(req, res)
  if req.path == '/echo' then
    -- Whatever the value of this key is, it must belong to this key.
    local key = req.query
    local value, problem = client:command('ECHO', key)
    if value ~= key then
      return res:status(value and 500 or 503):body(value and 'MIXED UP ' .. value or problem.code):send()
    end
    return res:body(value):send()
  end
  local code = assert(loadstring('local client, redis, req, kept = ... ' .. req:body(), '=code'))
  res:body(shown_all(code(client, redis, req, kept))):send()
end
