-- The options of postgres.connect: a URL (postgres://user:password@host:port/database?name=value) or a table.
-- Mistakes are raised when the pool is created, at that line.
local failure = require 'moonring.failure'
local members = require 'moonring.members'
local percent = require 'moonring.percent'

local pairs, tonumber, tostring, type = pairs, tonumber, tostring, type
local find, format, gmatch, match, sub = string.find, string.format, string.gmatch, string.match,
  string.sub
local decode = percent.decode

local _M = {}

local MEGABYTE = 1024 * 1024

-- All options with their defaults.
local DEFAULTS = {
  host = 'localhost', port = 5432, connect_timeout = 5, timeout = 30, statements = 100,
  max_rows = 100000, max_bytes = 64 * MEGABYTE, max_row = 16 * MEGABYTE, prepare = 'auto',
  application_name = 'moonring', allow_cleartext = false, cancel = true,
}
local POOL_DEFAULTS = { size = 10, queue = 1000, timeout = 5, idle = 60, max_age = 3600 }

local TYPES = {
  host = 'string', port = 'number', path = 'string', user = 'string', password = 'string',
  database = 'string', sslmode = 'string', tls = 'table', connect_timeout = 'number',
  timeout = 'number', statements = 'number', max_rows = 'number', max_bytes = 'number',
  max_row = 'number', application_name = 'string', parameters = 'table', pool = 'table',
  allow_cleartext = 'boolean', cancel = 'boolean',
}
local ANY_TYPE = { prepare = true, null = true }
local POOL_TYPES = { size = true, queue = true, timeout = true, idle = true, max_age = true }
local COUNTS = { port = true, statements = true, max_rows = true, max_bytes = true, max_row = true,
  size = true, queue = true }
local SSLMODES = { disable = true, prefer = true, require = true, ['verify-ca'] = true,
  ['verify-full'] = true }

-- Names in a URL that differ from the options' names.
local URL_NAMES = { dbname = 'database', sslrootcert = 'ca', sslcert = 'cert', sslkey = 'key',
  statement_cache_capacity = 'statements' }
local TLS_NAMES = { ca = true, cert = true, key = true, sni = true }

local function fail(words, ...)
  failure.raise('postgres.connect: ' .. format(words, ...))
end

-- A part of a URL.
local function decoded(what, text)
  return decode(text) or fail('the %s in the URL is not percent-encoded', what)
end

local function number_of(text)
  return tonumber(text) or text
end

-- The options after the `?` of a URL. Those that are not ours are for the server.
local function read_query(options, query)
  for pair in gmatch(query, '[^&]+') do
    local name, value = match(pair, '^([^=]+)=(.*)$')
    name, value = name and decode(name), value and decode(value)
    if not name or not value then
      fail('the URL has a part that is no name=value: %s', pair)
    end
    name = URL_NAMES[name] or name
    if TLS_NAMES[name] then
      options.tls = options.tls or {}
      options.tls[name] = value
    elseif name == 'host' and sub(value, 1, 1) == '/' then
      options.path = value
    elseif TYPES[name] == 'number' then
      options[name] = number_of(value)
    elseif TYPES[name] == 'string' then
      options[name] = value
    elseif name == 'prepare' then
      options.prepare = value == 'true' or (value ~= 'false' and value)
    elseif TYPES[name] == 'boolean' then
      options[name] = value == 'true'
    elseif match(name, '^pool_') and POOL_TYPES[sub(name, 6)] then
      options.pool = options.pool or {}
      options.pool[sub(name, 6)] = number_of(value)
    else
      options.parameters = options.parameters or {}
      options.parameters[name] = value
    end
  end
end

local function read_url(url)
  local rest = match(url, '^postgres://(.*)$') or match(url, '^postgresql://(.*)$')
  if not rest then
    fail('a URL begins with postgres:// or postgresql://')
  end
  local options = {}
  local query = match(rest, '%?(.*)$')
  rest = match(rest, '^[^?]*')
  local authority, database = match(rest, '^([^/]*)/?(.*)$')
  local login, address = match(authority, '^(.*)@([^@]*)$')
  address = address or authority
  if login then
    local user, password = match(login, '^([^:]*):?(.*)$')
    options.user = user ~= '' and decoded('user', user) or nil
    options.password = find(login, ':', 1, true) and decoded('password', password) or nil
  end
  if database ~= '' then
    options.database = decoded('database', database)
  end
  local host, port = match(address, '^%[([%x:.]+)%]:?(%d*)$')
  if not host then
    host, port = match(address, '^([^:]*):?(%d*)$')
  end
  if not host then
    fail('the URL has no host or port that is one: %s', address)
  end
  host = decoded('host', host)
  if sub(host, 1, 1) == '/' then
    options.path = host
  elseif host ~= '' then
    options.host = host
  end
  if port ~= '' then
    options.port = tonumber(port)
  end
  if query then
    read_query(options, query)
  end
  return options
end

local function check(name, value, kind, owner)
  if type(value) ~= kind then
    fail('%s%s is a %s, not a %s', owner, name, kind, type(value))
  elseif kind == 'string' and find(value, '\0', 1, true) then
    fail('%s%s holds a NUL byte', owner, name)
  elseif kind == 'number' and (value < 0 or value ~= value
    or (COUNTS[name] and value % 1 ~= 0)) then
    fail('%s%s is a %snumber, 0 or more, not %s', owner, name, COUNTS[name] and 'whole ' or '',
      tostring(value))
  end
end

local function check_names(options)
  for name, value in pairs(options) do
    if TYPES[name] then
      check(name, value, TYPES[name], '')
    elseif not ANY_TYPE[name] then
      fail('%s', members.unknown('the table of options', name, { TYPES, ANY_TYPE }))
    end
  end
  for name, value in pairs(options.pool or {}) do
    if not POOL_TYPES[name] then
      fail('%s', members.unknown('pool', name, { POOL_TYPES }))
    end
    check(name, value, 'number', 'pool.')
  end
  for name, value in pairs(options.tls or {}) do
    if not TLS_NAMES[name] then
      fail('%s', members.unknown('tls', name, { TLS_NAMES }))
    end
    check(name, value, 'string', 'tls.')
  end
  for name, value in pairs(options.parameters or {}) do
    if type(name) ~= 'string' or type(value) ~= 'string' or find(name .. value, '\0', 1, true) then
      fail('parameters has names and values that are strings without NUL, not %s = %s',
        tostring(name), tostring(value))
    end
  end
end

local function filled(options, defaults)
  local all = {}
  for name, value in pairs(defaults) do
    all[name] = value
  end
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  return all
end

local function is_local(host)
  return host == 'localhost' or host == '::1' or match(host, '^127%.') ~= nil
end

-- A server on this machine is trusted by default; others need a certificate.
local function set_sslmode(all)
  local mode = all.sslmode
  if mode == nil then
    mode = not all.tls and (all.path or is_local(all.host)) and 'disable' or 'verify-full'
  elseif not SSLMODES[mode] then
    fail('sslmode is disable, prefer, require, verify-ca or verify-full, not %s', mode)
  end
  if all.path then
    mode = 'disable' -- TLS is for connections that leave the machine
  end
  all.sslmode = mode
  if mode == 'disable' then
    all.tls = nil
    return
  end
  all.tls = filled(all.tls, {})
  if mode == 'prefer' or mode == 'require' then
    -- As libpq: with a certificate to trust, `require` verifies.
    all.tls.verify = mode == 'require' and all.tls.ca ~= nil
  end
end

-- All options of a pool. `options` is a URL or a table.
function _M.read(options)
  if type(options) == 'string' then
    options = read_url(options)
  elseif type(options) ~= 'table' then
    fail('it takes a URL or a table of options, not a %s', type(options))
  end
  check_names(options)
  local all = filled(options, DEFAULTS)
  all.pool = filled(options.pool, POOL_DEFAULTS)
  if all.port < 1 or all.port > 65535 then
    fail('port is a number from 1 to 65535, not %s', tostring(all.port))
  elseif all.pool.size < 1 then
    fail('pool.size is 1 or more, not %s', tostring(all.pool.size))
  elseif all.prepare ~= 'auto' and type(all.prepare) ~= 'boolean' then
    fail("prepare is 'auto', true or false, not %s", tostring(all.prepare))
  elseif not all.user or all.user == '' then
    fail('the user is missing')
  end
  if all.path and not match(all.path, '%.s%.PGSQL%.%d+$') then
    all.path = match(all.path, '^(.-)/*$') .. format('/.s.PGSQL.%d', all.port)
  end
  all.database = all.database or all.user
  set_sslmode(all)
  return all
end

return _M
