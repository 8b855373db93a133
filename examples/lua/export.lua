-- A CSV file that is never in memory as a whole: node dist/master.js examples/lua/export.lua
--   GET /                   a million rows; a client that reads slowly blocks only its own handler
--   GET /orders.csv?rows=3  that many rows
local query = require 'moonring.query'

-- Rows per res:write: fewer calls, and still little memory.
local BATCH = 500

-- Stands for a database that returns its rows one by one.
local function orders(count)
  local number = 0
  return function()
    number = number + 1
    if number <= count then
      return number, ('customer "%d"'):format(number % 97), number * 3 % 1000 / 4
    end
  end
end

local function quoted(text)
  return '"' .. text:gsub('"', '""') .. '"'
end

function handle(req, res)
  local fields, problem = query.parse(req.query)
  local count = fields and (tonumber(fields.rows) or 1e6)
  if not count then
    return res:status(400):body(problem):send()
  end
  res:header('Content-Type', 'text/csv; charset=utf-8')
  res:header('Content-Disposition', 'attachment; filename="orders.csv"')
  local rows = { 'number,customer,price\r\n' }
  for number, customer, price in orders(count) do
    rows[#rows + 1] = ('%d,%s,%.2f\r\n'):format(number, quoted(customer), price)
    if #rows >= BATCH then
      if not res:write(rows) then
        return -- the client has disconnected
      end
      rows = {}
    end
  end
  res:write(rows)
  res:finish()
end
