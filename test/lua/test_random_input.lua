-- Whatever a client sends, no parser raises an error: it returns a value, or nil and a message.
local cookies = require 'moonring.cookies'
local forms = require 'moonring.forms'
local json = require 'moonring.json'
local query = require 'moonring.query'
local router = require 'moonring.router'

local ROUNDS = 20000

local cases = {}

-- Texts of pieces in random order, the same in every run.
local function texts(pieces)
  local seed = 1
  local function random(limit)
    seed = (seed * 16807) % 2147483647
    return seed % limit + 1
  end
  return function()
    local parts = {}
    for i = 1, random(12) do
      parts[i] = random(8) == 1 and string.char(random(256) - 1) or pieces[random(#pieces)]
    end
    return table.concat(parts)
  end
end

local function check(next_text, parse)
  for _ = 1, ROUNDS do
    local text = next_text()
    local ok, value, problem = pcall(parse, text)
    if not ok or value == nil and type(problem) ~= 'string' then
      error(('%q: %s, %s'):format(text, tostring(value), tostring(problem)), 2)
    end
  end
end

function cases.queries()
  local next_text = texts { 'a', '=', '&', '+', '%', '%41', '%4' }
  check(next_text, query.parse)
  check(next_text, query.parse_all)
  check(next_text, query.parse_pairs)
end

function cases.cookies()
  check(texts { 'a', '=', ';', '; ', ' ', '\t', '"' }, cookies.parse)
end

function cases.json()
  check(texts { '{', '}', '[', ']', ',', ':', '"a"', '"', '\\u00', '1', '-', '.5e', 'null', ' ' },
    json.decode)
end

function cases.bodies_of_forms()
  check(texts {
    '--X', '\r\n--X', '\r\n', '--', 'Content-Disposition: form-data', '; name=', '"a"', '"', '\\"',
    '; filename="f"', 'Content-Type: a/b', ';', ' ', 'text', '\r\n\r\n', ': ',
  }, function(body)
    return forms.parse(body, 'multipart/form-data; boundary=X')
  end)
end

function cases.content_types_of_forms()
  check(texts {
    'multipart/form-data', '; boundary=', 'X', '"', '\\', ';', ' ', '=', 'boundary', '/',
    'application/x-www-form-urlencoded',
  }, function(content_type)
    return forms.parse('--X--', content_type)
  end)
end

function cases.paths()
  local res = setmetatable({}, { __index = function()
    return function(self) return self end
  end })
  local function answer() return true end
  local handle = router.new():get('/a/:b', answer):get('/a/:b/c', answer):get('/:x/:y/*z', answer)
    :handler()
  check(texts { '/', '/a', '/a/', '%41', '%', '*', '/c', '.' }, function(path)
    return handle({ method = 'GET', path = path }, res)
  end)
end

return cases
