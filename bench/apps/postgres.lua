-- A row by its primary key, as JSON: /items/42.
local json = require 'moonring.json'
local postgres = require 'moonring.postgres'

local db = postgres.connect {
  path = os.getenv 'DATABASE', user = 'bench', database = 'postgres', pool = { size = 10 },
}

function handle(req, res)
  local row, problem = db:one('SELECT id, name, price FROM items WHERE id = $1', tonumber(req.path:match '%d+'))
  if not row then
    return res:status(500):body(tostring(problem)):send()
  end
  json.send(res, row)
end
