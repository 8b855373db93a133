-- A job that runs every minute beside the requests: node dist/master.js examples/lua/periodic.lua
--   GET /   the exchange rates fetched last, or why there are none
-- INTERVAL is the time between two runs in seconds.
local json = require 'moonring.json'
local log = require 'moonring.log'

local INTERVAL = tonumber(os.getenv 'INTERVAL') or 60

local rates, updated, runs = {}, nil, 0

-- Stands for a request to another server. While it waits, requests are served.
local function fetch_rates()
  moonring.sleep(0.01)
  return { EUR = 1, USD = 1.08 + runs / 1000 }
end

local function update(premature)
  if premature then
    -- The reactor drains, or this file is about to be replaced: the last run.
    return log.info(('rates: %d updates'):format(runs))
  end
  -- Errors are logged, and the next run takes place anyway.
  rates = fetch_rates()
  updated = os.time()
  runs = runs + 1
end

-- One per reactor; on worker threads nothing runs between requests.
moonring.every(INTERVAL, update)
moonring.after(0, update)

function handle(_, res)
  json.send(res, { rates = rates, updated = updated or json.null, runs = runs })
end
