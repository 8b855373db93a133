-- The service. `npm run dev` reloads it whenever it is saved; `npm test` runs handler_test.lua.
local router = require 'moonring.router'
local validation = require 'moonring.validation'
local greeting = require 'greeting'

local app = router.new { errors = 'json' }

---@param res moonring.Response
app:get('/', function(_, res)
  res:json { service = '@NAME@' }
end)

---@param res moonring.Response
---@param params { name: string }
app:get('/hello/:name', function(_, res, params)
  res:json { message = greeting.to(params.name) }
end)

local sum = validation.new {
  fields = { numbers = { type = 'array', required = true, items = { type = 'number' }, max_items = 1000 } },
}

---@param req moonring.Request
---@param res moonring.Response
app:post('/sums', function(req, res)
  local total = 0
  for _, number in ipairs(sum:body(req).numbers) do
    total = total + number
  end
  res:json({ total = total }, 201)
end)

handle = app:handler()
