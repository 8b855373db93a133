-- Notes: a small API with the modules that come with the server.
--   node dist/master.js --processes 1 --dispatch inline examples/lua/app.lua
-- The notes live in one Lua state. Real ones belong in a database: states share nothing.
--   curl localhost:8080/notes -d '{"text":"milk"}' -H 'Content-Type: application/json'
--   curl localhost:8080/notes -d text=bread            # what an HTML form sends
--   curl localhost:8080/notes -F text='<shopping.txt'
--   curl 'localhost:8080/notes?contains=mil'
--   curl -X DELETE localhost:8080/notes/1
--   curl -c jar localhost:8080/login -d name=ann; curl -b jar localhost:8080/me
local cookies = require 'moonring.cookies'
local forms = require 'moonring.forms'
local json = require 'moonring.json'
local percent = require 'moonring.percent'
local query = require 'moonring.query'
local router = require 'moonring.router'

local app = router.new()
local notes, last_id = {}, 0

local function refuse(res, status, problem)
  return json.send(res, { error = problem }, status)
end

local function is_json(req)
  local media_type = (req:header('Content-Type') or ''):match('^[^; \t]*')
  return media_type:lower() == 'application/json'
end

-- The text of a note, from JSON or from a form of either kind; or nil, an error and a status.
local function read_note(req)
  if is_json(req) then
    local value, problem = json.decode(req:body())
    local text = type(value) == 'table' and value.text
    return text, problem or 'text is missing', 400
  end
  local form, problem, status = forms.read(req)
  if not form then
    return nil, problem, status
  end
  return form.fields.text, 'text is missing', 400
end

app:get('/', function(_, res)
  res:header('Content-Type', 'text/plain'):body('notes are at /notes\n'):send()
end)

app:get('/notes', function(req, res)
  local filter, problem = query.parse(req.query)
  if not filter then
    return refuse(res, 400, problem)
  end
  local found = json.array()
  for id = 1, last_id do
    local note = notes[id]
    if note and note.text:find(filter.contains or '', 1, true) then
      found[#found + 1] = note
    end
  end
  json.send(res, found)
end)

app:post('/notes', function(req, res)
  local text, problem, status = read_note(req)
  if type(text) ~= 'string' then
    return refuse(res, status, problem)
  end
  last_id = last_id + 1
  notes[last_id] = { id = last_id, text = text }
  res:header('Location', '/notes/' .. last_id)
  json.send(res, notes[last_id], 201)
end)

app:get('/notes/:id', function(_, res, params)
  local note = notes[tonumber(params.id) or 0]
  if not note then
    return refuse(res, 404, 'no such note')
  end
  json.send(res, note)
end)

app:delete('/notes/:id', function(_, res, params)
  local id = tonumber(params.id) or 0
  if not notes[id] then
    return refuse(res, 404, 'no such note')
  end
  notes[id] = nil
  res:status(204):send()
end)

app:post('/login', function(req, res)
  local form, problem, status = forms.read(req)
  if not form or not form.fields.name then
    return refuse(res, status or 400, problem or 'name is missing')
  end
  cookies.set(res, 'name', percent.encode(form.fields.name), {
    path = '/', max_age = 3600, http_only = true, same_site = 'Lax',
  })
  res:status(204):send()
end)

app:get('/me', function(req, res)
  local sent, problem = cookies.read(req)
  if not sent then
    return refuse(res, 400, problem)
  end
  json.send(res, { name = sent.name and percent.decode(sent.name) or json.null })
end)

app:not_found(function(_, res)
  return refuse(res, 404, 'no such page')
end)

handle = app:handler()
