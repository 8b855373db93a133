-- lua/library tells editors exactly what there is.
local expect = require 'expect'

local cases = {}

local function read(path)
  local file = assert(io.open(path))
  local text = file:read '*a'
  file:close()
  return text
end

-- Name -> how many parameters it takes, for functions; else 'value'.
local function members_of(object)
  local members = {}
  for name, member in pairs(object) do
    if not tostring(name):find '^__' then
      members[name] = type(member) == 'function' and debug.getinfo(member, 'u').nparams or 'value'
    end
  end
  return members
end

local function defined(name)
  return dofile('lua/library/moonring/' .. name .. '.lua')
end

for _, name in ipairs { 'cookies', 'crypto', 'env', 'forms', 'log', 'metrics', 'percent', 'query', 'router', 'trace',
  'url' } do
  cases[name] = function()
    expect.equal(members_of(defined(name)), members_of(require('moonring.' .. name)))
  end
end

function cases.json()
  local members = members_of(defined 'json')
  expect.equal(read('lua/library/moonring/json.lua'):match '%-%-%-@field null' ~= nil, true)
  members.null = 'value'
  expect.equal(members, members_of(require 'moonring.json'))
end

function cases.http()
  require 'fake_socket'
  local http = require 'moonring.http'
  expect.equal(members_of(defined 'http'), members_of(http))
  local library, runtime = read 'lua/library/moonring/http.lua', read 'lua/moonring/http_response.lua'
  local methods, described = {}, {}
  for name in runtime:gmatch '\nfunction methods%.([%w_]+)' do
    methods[name] = true
  end
  for name in library:gmatch '\nfunction Response:([%w_]+)' do
    described[name] = true
  end
  expect.equal(described, methods)
  for name in library:match 'moonring.FetchOptions(.-)\n\n':gmatch '%-%-%-@field ([%w_]+)%?' do
    expect.raises('option ' .. name .. ' may not be', http.fetch, 'http://a/', { [name] = coroutine.create(print) })
  end
end

-- The names in a text that follow what `pattern` finds.
local function names_in(text, pattern)
  local names = {}
  for name in text:gmatch(pattern) do
    names[name] = true
  end
  return names
end

-- Read instead of loaded: another case puts a table in the place of the module.
function cases.socket()
  local library, runtime = read 'lua/library/moonring/socket.lua', read 'lua/moonring/socket.lua'
  expect.equal(names_in(library, '\nfunction socket%.(%a[%w_]*)'),
    names_in(runtime, '\nfunction _M%.(%a[%w_]*)'))
  expect.equal(names_in(library, '\nfunction Socket:(%a[%w_]*)'),
    names_in(runtime, '\nfunction Socket%.(%a[%w_]*)'))
  local datagrams = names_in(runtime, '\nfunction Udp%.(%a[%w_]*)')
  datagrams.close = true
  expect.equal(names_in(library, '\nfunction Udp:(%a[%w_]*)'), datagrams)
  local options = library:match 'moonring.SocketOptions(.-)\n\n'
  expect.equal(names_in(options, '%-%-%-@field ([%w_]+)%?'),
    names_in(runtime:match '\nlocal KNOWN = (%b{})', '([%w_]+) ='))
end

function cases.validation()
  local library, validation = read 'lua/library/moonring/validation.lua', require 'moonring.validation'
  expect.equal(members_of(defined 'validation'), members_of(validation))
  local checker = validation.new { type = 'any' }
  local methods = {}
  for name in pairs(getmetatable(checker).__index) do
    methods[name] = true
  end
  expect.equal(names_in(library, '\nfunction Checker:(%a[%w_]*)'), methods)
  local keys, runtime = {}, read 'lua/moonring/validation.lua'
  for name in runtime:match('\nlocal COMMON = (.-)\nlocal KINDS'):gmatch '([%w_]+) = true' do
    keys[name] = true
  end
  expect.equal(names_in(library, '%-%-%-@field ([%w_]+)%?'), keys)
end

function cases.app_of_the_router()
  local app = require('moonring.router').new()
  local library = read 'lua/library/moonring/router.lua'
  local function described(classes)
    local members = {}
    for _, class in ipairs(classes) do
      for name, parameters in library:gmatch('\nfunction ' .. class .. ':([%w_]+)%((.-)%)') do
        members[name] = select(2, parameters:gsub('[%w_]+', '')) + 1
      end
    end
    return members
  end
  expect.equal(described { 'Group', 'App' }, members_of(getmetatable(app).__index))
  expect.equal(described { 'Group' }, members_of(getmetatable(app:group '/a').__index))
end

-- Read instead of loaded: it would become the handler.
function cases.test()
  local library, runtime = read 'lua/library/moonring/test.lua', read 'lua/moonring/test.lua'
  expect.equal(names_in(library, '\nfunction test%.(%a[%w_]*)'),
    names_in(runtime, '\nfunction _M%.(%a[%w_]*)'))
  expect.equal(names_in(library, '\nfunction Response:(%a[%w_]*)'),
    names_in(runtime, '\nfunction Response:(%a[%w_]*)'))
  local methods = names_in(runtime:match '\nlocal METHODS = (%b{})', "'(%a+)'")
  methods.request = true
  expect.equal(names_in(library, '\nfunction App:(%a[%w_]*)'), methods)
  local options = names_in(library, '%-%-%-@field ([%w_]+)%?')
  options.failure = nil
  expect.equal(options, names_in(runtime:match '\nlocal KNOWN = (%b{})', '([%w_]+) ='))
end

-- What the text names, with the parameters of functions; sorted.
local function named(text, ...)
  local found = {}
  for _, pattern in ipairs { ... } do
    for name, parameters in text:gmatch(pattern) do
      found[#found + 1] = name .. '(' .. (parameters or '') .. ')'
    end
  end
  table.sort(found)
  return found
end

function cases.request_and_response()
  local library = read 'lua/library/moonring.lua'
  local runtime = read 'lua/moonring/request.lua'
  local function without_self(text)
    return (text:gsub('%(self,? ?', '('))
  end
  local getters = runtime:match '\nlocal getters = (%b{})'
  local methods = named(without_self(runtime), '\nfunction methods%.([%w_]+)%((.-)%)')
  for name in getters:gmatch '\n  ([%w_]+) = ' do
    methods[#methods + 1] = name .. '()'
  end
  table.sort(methods)
  expect.equal(#methods, 17)
  expect.equal(named(library, '\n%-%-%-@field ([%w_]+)', '\nfunction Request:([%w_]+)%((.-)%)'),
    methods)
  expect.equal(named(library, '\nfunction Response:([%w_]+)%((.-)%)'),
    named(without_self(read 'lua/moonring/response.lua'), '\nfunction methods%.([%w_]+)%((.-)%)'))
  expect.equal(named(library, '\nfunction ([%w_]+)%((.-)%)'), { 'hs_queue_push(task)' })
  expect.equal(type(hs_queue_push), 'function')
end

function cases.runtime()
  local library, described = read 'lua/library/moonring.lua', {}
  for name, parameters in library:gmatch '\nfunction moonring%.([%w_]+)%((.-)%)' do
    local _, commas = parameters:gsub(',', '')
    local count = parameters == '' and 0 or commas + 1
    described[name] = parameters:find('...', 1, true) and count - 1 or count
  end
  local found = members_of(moonring)
  found.spawn, described.spawn = nil, nil -- its first parameter may be left out
  expect.equal(described, found)
  local files = { Task = 'scheduler', Timer = 'timers', Semaphore = 'semaphore' }
  for class, file in pairs(files) do
    local there = named(library, '\nfunction ' .. class .. ':([%w_]+)%(')
    local methods = named(read('lua/moonring/' .. file .. '.lua'), '\nfunction ' .. class .. '%.([%w_]+)%(')
    for i = #methods, 1, -1 do
      if methods[i] == 'fire()' then
        table.remove(methods, i)
      end
    end
    expect.equal(there, methods)
  end
end

return cases
