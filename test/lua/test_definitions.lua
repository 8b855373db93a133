-- lua/library describes the API to editors exactly as it is.
local expect = require 'expect'

local cases = {}

local function read(path)
  local file = assert(io.open(path))
  local text = file:read '*a'
  file:close()
  return text
end

-- Name -> number of parameters, for functions; else 'value'.
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

-- The modules that are members of the global `moonring`.
function cases.modules()
  local described, list = {}, read('lua/moonring/runtime.lua'):match '\nlocal modules = (%b{})'
  for name, class in read('lua/library/moonring.lua'):gmatch '%-%-%-@field ([%w_]+) moonring%.([%w_]+)\n' do
    if list:find(name .. ' = true') then
      described[name] = class
      expect.equal(read('lua/library/moonring/' .. name .. '.lua'):find('---@class moonring.' .. name, 1, true) ~= nil, true)
    end
  end
  for name in list:gmatch '([%w_]+) = true' do
    expect.equal(described[name], name)
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

-- Names of functions and tables, nested ones with a dot; for constants only that there are some.
local function names_in(object, prefix, names)
  for name, member in pairs(object) do
    if type(member) == 'table' and name ~= 'shared' and name ~= 'header' and name ~= 'var' then
      names_in(member, prefix .. name .. '.', names)
    elseif type(member) == 'function' then
      names[prefix .. name] = true
    end
  end
  return names
end

function cases.ngx()
  local global = rawget(_G, 'ngx')
  local ngx = require 'moonring.ngx'
  rawset(_G, 'ngx', global)
  expect.equal(names_in(defined 'ngx', '', {}), names_in(ngx, '', {}))
end

function cases.shared()
  local library, runtime = read 'lua/library/moonring/shared.lua', read 'lua/moonring/shared.lua'
  local described, there = {}, {}
  for name, parameters in library:gmatch '\nfunction Dictionary:([%w_]+)%((.-)%)' do
    described[name] = parameters
  end
  for name, parameters in runtime:gmatch '\nfunction Dictionary:([%w_]+)%((.-)%)' do
    there[name] = parameters
  end
  expect.equal(described, there)
  expect.equal(members_of(defined 'shared'), members_of(require 'moonring.shared'))
end

-- The names in a text that follow a match of `pattern`.
local function names_in(text, pattern)
  local names = {}
  for name in text:gmatch(pattern) do
    names[name] = true
  end
  return names
end

-- Read instead of loaded: another case replaces the module with a table.
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

function cases.postgres()
  local members, postgres = members_of(defined 'postgres'), require 'moonring.postgres'
  local library, runtime = read 'lua/library/moonring/postgres.lua', read 'lua/moonring/postgres.lua'
  members.null = 'value'
  expect.equal(members, members_of(postgres))
  for _, class in ipairs { 'Queries', 'Listener' } do
    local described = names_in(library, '\nfunction ' .. class .. ':(%a[%w_]*)')
    if class == 'Queries' then -- a pool and a transaction have one each
      described.transaction, described.copy_out = nil, nil
    end
    expect.equal(described, names_in(runtime, '\nfunction ' .. class .. '%.(%a[%w_]*)'))
  end
  local known = names_in(library:match 'moonring.PostgresOptions(.-)\n\n', '%-%-%-@field ([%w_]+)')
  for name in pairs(known) do
    expect.raises(name == 'null' and 'user is missing' or '', postgres.connect, { [name] = print })
  end
  expect.raises('has no member "sslmodes"', postgres.connect, { user = 'u', sslmodes = 1 })
end

-- Modules with objects: methods and options as in the runtime.
for module, classes in pairs { limit = { 'Rate', 'Concurrency', 'Lease' }, lock = { 'Lock' },
  cache = { 'Cache' } } do
  cases[module] = function()
    local library, runtime = read('lua/library/moonring/' .. module .. '.lua'),
      read('lua/moonring/' .. module .. '.lua')
    expect.equal(members_of(defined(module)), members_of(require('moonring.' .. module)))
    for _, class in ipairs(classes) do
      expect.equal(names_in(library, '\nfunction ' .. class .. ':(%a[%w_]*)'),
        names_in(runtime, '\nfunction ' .. class .. '%.(%a[%w_]*)'))
    end
    local options, known = {}, {}
    for class in library:gmatch '%-%-%-@class moonring%.%a+Options\n(.-)\n\n' do
      for name in class:gmatch '%-%-%-@field ([%w_]+)%??' do
        options[name] = true
      end
    end
    for list in runtime:gmatch '\nlocal [%u_]*OPTIONS = (%b{})' do
      for name in list:gmatch '([%w_]+) = true' do
        known[name] = true
      end
    end
    expect.equal(options, known)
  end
end

-- Read instead of loaded: another case replaces the scheduler with a table.
function cases.redis()
  local library, runtime = read 'lua/library/moonring/redis.lua', read 'lua/moonring/redis.lua'
  local members = names_in(library, '\nfunction redis%.(%a[%w_]*)')
  members.is_error, members.null = nil, nil -- assigned
  expect.equal(members, names_in(runtime, '\nfunction _M%.(%a[%w_]*)'))
  local described = names_in(library, '\nfunction Client:(%a[%w_]*)')
  described.run = nil -- the same in a client and a session
  expect.equal(described, names_in(runtime, '\nfunction Client%.(%a[%w_]*)'))
  local methods = names_in(runtime, '\nfunction Subscription%.(%a[%w_]*)')
  methods.closed, methods.replied = nil, nil -- for its connection
  expect.equal(names_in(library, '\nfunction Subscription:(%a[%w_]*)'), methods)
  for class, checks in pairs { RedisOptions = 'CHECKS', RedisPool = 'POOL_CHECKS', RedisScanOptions = 'SCAN_CHECKS',
    RedisViewOptions = 'VIEW_CHECKS' } do
    local options = library:match('%-%-%-@class moonring.' .. class .. '\n(.-)\n\n')
    local known = runtime:match('\nlocal ' .. checks .. ' = {\n(.-)\n}\n')
    expect.equal(names_in(options, '%-%-%-@field ([%w_]+)%?'), names_in('\n' .. known, '\n  ([%w_]+) ='))
  end
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

-- The names in the text, with the parameters of functions; sorted.
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
  expect.equal(#methods, 23)
  -- Not the fields of the other classes.
  local own = library:match '%-%-%-@class moonring.Request(\n.-)\nlocal Request = '
  expect.equal(named(own .. library:gsub('\n%-%-%-@field [^\n]*', ''), '\n%-%-%-@field ([%w_]+)',
    '\nfunction Request:([%w_]+)%((.-)%)'), methods)
  expect.equal(named(library, '\nfunction Response:([%w_]+)%((.-)%)'),
    named(without_self(read 'lua/moonring/response.lua'), '\nfunction methods%.([%w_]+)%((.-)%)'))
  expect.equal(named(library, '\nfunction ([%w_]+)%((.-)%)'), { 'hs_queue_push(task)' })
  expect.equal(type(hs_queue_push), 'function')
end

function cases.websockets()
  local library = read 'lua/library/moonring.lua'
  local runtime = read 'lua/moonring/websocket.lua'
  local methods = named((runtime:gsub('%(ws,? ?', '(')), '\nfunction methods%.([%w_]+)%((.-)%)')
  for name in runtime:match('\nlocal getters = (%b{})'):gmatch '\n  ([%w_]+) = ' do
    methods[#methods + 1] = name .. '()'
  end
  table.sort(methods)
  local own = library:match '%-%-%-@class moonring.WebSocket(\n.-)\nlocal WebSocket = '
  expect.equal(named(own .. library:gsub('\n%-%-%-@field [^\n]*', ''), '\n%-%-%-@field ([%w_]+)',
    '\nfunction WebSocket:([%w_]+)%((.-)%)'), methods)
  local options = {}
  for name in runtime:match('\nlocal KNOWN = (%b{})'):gmatch '([%w_]+) = true' do
    options[#options + 1] = name .. '()'
  end
  table.sort(options)
  local described = library:match '%-%-%-@class moonring.WebSocketOptions(\n.-)\n\n'
  expect.equal(named(described, '\n%-%-%-@field ([%w_]+)'), options)
end

function cases.runtime()
  local library, described = read 'lua/library/moonring.lua', {}
  for name, parameters in library:gmatch '\nfunction moonring%.([%w_]+)%((.-)%)' do
    local _, commas = parameters:gsub(',', '')
    local count = parameters == '' and 0 or commas + 1
    described[name] = parameters:find('...', 1, true) and count - 1 or count
  end
  local found = members_of(moonring)
  found.spawn, described.spawn = nil, nil -- its first parameter is optional
  expect.equal(described, found)
  local files = { Task = 'scheduler', Timer = 'timers', Semaphore = 'semaphore',
    Subscription = 'topics' }
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
