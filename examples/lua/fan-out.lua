-- Requests to several servers at once, with a deadline for all: node dist/master.js examples/lua/fan-out.lua
--   GET /       the response of each, or its error
--   GET /demo   stands for such a server: it takes ?<seconds>
-- SERVICES has their URLs, separated by spaces (default: three times /demo of this server), ALL_SECONDS the
-- time for all of them (default: 1).
local http = require 'moonring.http'
local json = require 'moonring.json'

local ALL_SECONDS = tonumber(os.getenv 'ALL_SECONDS') or 1

local function services(req)
  local urls = {}
  for url in (os.getenv 'SERVICES' or ''):gmatch '%S+' do
    urls[#urls + 1] = url
  end
  if #urls == 0 then
    local here = ('http://%s/demo'):format(req:header 'Host')
    urls = { here .. '?0', here .. '?0.1', here .. '?60' }
  end
  return urls
end

local function ask(url)
  local reply, problem = http.fetch(url, { max_body = 65536 })
  if not reply then
    return { problem = problem }
  end
  local text, broken = reply:body()
  return { status = reply.status, text = text, problem = broken }
end

function handle(req, res)
  if req.path == '/demo' then
    moonring.sleep(tonumber(req.query) or 0)
    return res:body('waited ' .. req.query):send()
  end
  local deadline = moonring.now() + ALL_SECONDS
  local urls, tasks, results = services(req), {}, {}
  for i, url in ipairs(urls) do
    tasks[i] = moonring.spawn(ask, url)
  end
  for i, task in ipairs(tasks) do
    -- All have had the same time when the last one has been waited for.
    local result, problem = task:wait(math.max(0, deadline - moonring.now()))
    results[urls[i]] = result or { problem = problem }
  end
  -- Requests still waiting end with this request, and so do their connections.
  json.send(res, results)
end
