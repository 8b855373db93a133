-- Files: moonring.static(root, options) is a handler for all files below a directory;
-- res:file(path, options) and res:preconditions(validators) are also here. See docs/static-files.md. The work
-- for a file is done in C (exec/hs_static.c).
local ffi = require 'ffi'
local api = require 'moonring.abi'
local calendar = require 'moonring.calendar'
local failure = require 'moonring.failure'
local viewer = require 'moonring.handle'
local listing = require 'moonring.listing'
local members = require 'moonring.members'
local native = require 'moonring.native'

local VERSION = 1

ffi.cdef(native.files_abi)

local files = ffi.cast('hs_lua_files_api_t *', native.files)
if files.version ~= VERSION then
  error(('the Lua runtime speaks files ABI %d, the server %d: install them from one version')
    :format(VERSION, files.version))
end
if files.config_size ~= ffi.sizeof('hs_lua_site_config_t') then
  error('LuaJIT and the C compiler disagree about hs_lua_site_config_t')
end

local find, format, gsub, match, sub = string.find, string.format, string.gsub, string.match,
  string.sub
local error, ipairs, pairs, tostring, type = error, ipairs, pairs, tostring, type
local raise = failure.raise

local _M = {}

-- As in exec/hs_static.h and exec/hs_lua_files_abi.h.
local BUILT, MISSING, MALFORMED, FORBIDDEN, DIRECTORY, BUSY, FAILED = 0, 1, 2, 3, 4, 5, 6
local INDEXES, RULES = 4, 32
local CODINGS = { gzip = 2, br = 4, zstd = 8 }
local ALL_CODINGS = 14
local IMMUTABLE = 'public, max-age=31536000, immutable'
-- Sites created by res:file, one for each combination of options.
local SITES = 64

local view_of = viewer(ffi.typeof 'hs_lua_response_t *', 'res',
  'this request is over: its response can no longer be changed')

-- ---- Options. ----

local OPTIONS = {
  index = 'the file of a directory: a name or up to 4 of them; false: none',
  precompressed = 'true, or a list of br, zstd and gzip',
  cache_control = 'a text, or a list of { pattern, text }',
  immutable = 'a list of patterns',
  fallback = 'the name of a file',
  not_found = 'the name of a file',
  listing = 'true or false',
  dotfiles = 'true or false',
  clean_urls = 'true or false',
  charset = "a text; false: none",
}

-- Raises at the line that called into the runtime.
local function refuse(call, name, value)
  raise(format('%s: the option %s is %s, not %s', call, name, OPTIONS[name],
    type(value) == 'string' and format('%q', value) or tostring(value)))
end

local function check_options(call, options, known)
  if type(options) ~= 'table' then
    raise(format('%s: the options are a table, not a %s', call, type(options)))
  end
  for name in pairs(options) do
    if not known[name] then
      raise(members.unknown('the options of ' .. call, name, { known }))
    end
  end
end

local function check_switch(call, options, name)
  local value = options[name]
  if value ~= nil and type(value) ~= 'boolean' then
    refuse(call, name, value)
  end
  return value == true
end

local function codings_of(call, value)
  if value == nil or value == false then
    return 0
  elseif value == true then
    return ALL_CODINGS
  elseif type(value) ~= 'table' then
    refuse(call, 'precompressed', value)
  end
  local codings = 0
  for _, name in ipairs(value) do
    if not CODINGS[name] then
      refuse(call, 'precompressed', name)
    end
    codings = bit.bor(codings, CODINGS[name])
  end
  return codings
end

local function is_field_value(text)
  return type(text) == 'string' and text ~= '' and not find(text, '[%z\1-\31\127]')
end

-- { pattern, value } in the order in which they are tried.
local function rules_of(call, options)
  local rules = {}
  local immutable, cache_control = options.immutable, options.cache_control
  if immutable ~= nil and type(immutable) ~= 'table' then
    refuse(call, 'immutable', immutable)
  end
  for _, pattern in ipairs(immutable or {}) do
    rules[#rules + 1] = { pattern, IMMUTABLE }
  end
  if is_field_value(cache_control) then
    rules[#rules + 1] = { '*', cache_control }
  elseif type(cache_control) == 'table' then
    for _, rule in ipairs(cache_control) do
      if type(rule) ~= 'table' or not is_field_value(rule[2]) then
        refuse(call, 'cache_control', rule)
      end
      rules[#rules + 1] = rule
    end
  elseif cache_control ~= nil then
    refuse(call, 'cache_control', cache_control)
  end
  for _, rule in ipairs(rules) do
    if type(rule[1]) ~= 'string' or find(rule[1], '%z') then
      refuse(call, 'immutable', rule[1])
    end
  end
  if #rules > RULES then
    raise(format('%s: more than %d patterns for Cache-Control', call, RULES))
  end
  return rules
end

local function indexes_of(call, value)
  if value == nil then
    return { 'index.html' }
  elseif value == false then
    return {}
  elseif type(value) == 'string' then
    value = { value }
  elseif type(value) ~= 'table' then
    refuse(call, 'index', value)
  end
  for _, name in ipairs(value) do
    if type(name) ~= 'string' or find(name, '[/%z]') then
      refuse(call, 'index', name)
    end
  end
  if #value > INDEXES then
    refuse(call, 'index', #value .. ' names')
  end
  return value
end

-- C's site for a directory; nil and the reason if it cannot be opened. C copies the strings.
local function open_site(root, indexes, rules, options)
  local config = ffi.new 'hs_lua_site_config_t'
  config.root = root
  for i, name in ipairs(indexes) do
    config.indexes[i - 1] = name
  end
  for i, rule in ipairs(rules) do
    config.patterns[i - 1], config.values[i - 1] = rule[1], rule[2]
  end
  config.rule_count = #rules
  config.codings = options.codings
  config.charset = options.charset
  config.extension = options.extension
  config.shows_dotfiles = options.dotfiles and 1 or 0
  local site = files.open(files.self, config)
  if site == nil then
    return nil, ffi.string(files.error)
  end
  return site
end

-- The path, as in a URL, of a file below the root named by an option.
local function file_option(call, options, name)
  local value = options[name]
  if value == nil then
    return nil
  elseif type(value) ~= 'string' or value == '' then
    refuse(call, name, value)
  end
  return (gsub(gsub(value, '^/+', ''), '[^%w%-._~/]', function(character)
    return format('%%%02X', character:byte())
  end))
end

local function charset_of(call, options)
  local charset = options.charset
  if charset == nil then
    return 'utf-8'
  elseif charset ~= false and not (type(charset) == 'string' and find(charset, '^[%w%-_]+$')) then
    refuse(call, 'charset', charset)
  end
  return charset or nil
end

-- ---- Responses without a file. ----

local function send_text(res, status, text)
  return res:status(status):header('Content-Type', 'text/plain; charset=utf-8'):body(text .. '\n')
    :send()
end

local function send_plain(status, text)
  return function(_, res)
    return send_text(res, status, text)
  end
end

local responses = {
  [MISSING] = send_plain(404, 'not found'),
  [MALFORMED] = send_plain(400, 'bad request: a malformed percent-encoding or a NUL in the path'),
  [FORBIDDEN] = send_plain(403, 'forbidden'),
  [BUSY] = function(_, res)
    return send_text(res:header('Retry-After', '1'), 503, 'too many files are open')
  end,
  [FAILED] = send_plain(500, 'the file cannot be read'),
}

local function send_method(req, res)
  res:header('Allow', 'GET, HEAD, OPTIONS')
  if req.method == 'OPTIONS' then
    return res:status(204):send()
  end
  return send_text(res, 405, 'method not allowed')
end

-- Whether a page is requested rather than a part of one: the last path segment has no extension, or the
-- client accepts HTML.
local function is_navigation(req)
  local accept = req:header 'Accept'
  return not find(match(req.path, '[^/]*$'), '.', 1, true)
    or accept ~= nil and find(accept, 'text/html', 1, true) ~= nil
end

-- ---- moonring.static. ----

-- `slashes` is the number of slashes before the part of the path that is below the root; `missing` responds
-- for nonexistent files, false: 404.
function _M.handler(root, options, slashes, missing)
  local call = 'moonring.static(root, options)'
  options = options or {}
  if type(root) ~= 'string' or root == '' or find(root, '%z') then
    raise(call .. ': the root is the path of a directory, not ' .. tostring(root))
  end
  check_options(call, options, OPTIONS)
  local fallback = file_option(call, options, 'fallback')
  local not_found = file_option(call, options, 'not_found')
  local lists = check_switch(call, options, 'listing')
  local site, problem = open_site(root, indexes_of(call, options.index), rules_of(call, options), {
    codings = codings_of(call, options.precompressed),
    charset = charset_of(call, options),
    extension = check_switch(call, options, 'clean_urls') and '.html' or nil,
    dotfiles = check_switch(call, options, 'dotfiles'),
  })
  if not site then
    raise(format('%s: %s', call, problem))
  end

  local function send_file(res, path)
    if files.respond(site, view_of(res), path, #path, '', 0) ~= BUILT then
      return false
    end
    res:send()
    return true
  end

  local function send_missing(req, res)
    if fallback and is_navigation(req) and send_file(res, fallback) then
      return
    end
    if not_found then
      res:status(404)
      if send_file(res, not_found) then
        return
      end
    end
    return (missing or responses[MISSING])(req, res)
  end

  local function send_other(req, res, outcome)
    if outcome == DIRECTORY and lists then
      local is_whole = files.list(files.self, site, view_of(res), slashes)
      if is_whole >= 0 then
        return listing.send(req, res, ffi.string(files.listing, files.listing_len), is_whole == 1)
      end
    elseif outcome == DIRECTORY or outcome == MISSING then
      return send_missing(req, res)
    end
    return (responses[outcome] or responses[FAILED])(req, res)
  end

  return function(req, res)
    local outcome = files.serve(site, view_of(res), slashes)
    if outcome == BUILT then
      return
    elseif outcome > FAILED then
      return send_method(req, res)
    end
    return send_other(req, res, outcome)
  end
end

-- ---- res:file. ----

local FILE_OPTIONS = {
  root = true, type = true, download = true, precompressed = true, cache_control = true,
  charset = true,
}
local REASONS = { [MISSING] = 'not found', [MALFORMED] = 'not found', [FORBIDDEN] = 'forbidden',
  [DIRECTORY] = 'a directory', [BUSY] = 'busy', [FAILED] = 'failed' }

local sites, site_count = {}, 0

local function site_for(options)
  local call = 'res:file(path, options)'
  local codings = codings_of(call, options.precompressed)
  local charset = charset_of(call, options)
  local cache_control = options.cache_control
  if cache_control ~= nil and not is_field_value(cache_control) then
    raise(call .. ': the option cache_control is a text')
  end
  local root = options.root
  if root ~= nil and (type(root) ~= 'string' or find(root, '%z')) then
    raise(call .. ': the option root is the path of a directory')
  end
  local key = format('%s\0%d\0%s\0%s', root or '', codings, charset or '', cache_control or '')
  if sites[key] then
    return sites[key]
  end
  if site_count == SITES then
    for _, site in pairs(sites) do
      files.close(site)
    end
    sites, site_count = {}, 0
  end
  local site, problem = open_site(root, {}, cache_control and { { '*', cache_control } } or {},
    { codings = codings, charset = charset, dotfiles = true })
  if not site then
    raise(format('%s: %s', call, problem))
  end
  sites[key], site_count = site, site_count + 1
  return site
end

-- RFC 6266; non-ASCII names as in RFC 8187.
local function disposition_of(path, download)
  local name = download == true and match(path, '[^/]*$') or download
  if type(name) ~= 'string' then
    raise('res:file(path, options): the option download is true or the name of a file')
  end
  local plain = gsub(name, '[^%w !#$&\'()+,%-.;=@%[%]^_`{}~]', '_')
  local text = format('attachment; filename="%s"', plain)
  if plain ~= name then
    text = text .. "; filename*=UTF-8''" .. require('moonring.percent').encode(name)
  end
  return text
end

-- A name as in a URL: with a root, C expects the paths of requests.
local function escape(path)
  return (gsub(path, '%%', '%%25'))
end

function _M.send_file(res, path, options)
  local view = view_of(res)
  if type(path) ~= 'string' then
    raise('res:file(path, options) takes a string, got ' .. type(path))
  end
  options = options or {}
  check_options('res:file', options, FILE_OPTIONS)
  local content_type = options.type or ''
  if content_type ~= '' and not is_field_value(content_type) then
    raise('res:file(path, options): the option type is a media type')
  end
  local disposition = options.download and disposition_of(path, options.download)
  local site = site_for(options)
  if options.root then
    if find(path, '%z') then
      return nil, REASONS[MISSING]
    end
    path = escape(path)
  end
  local outcome = files.respond(site, view, path, #path, content_type, #content_type)
  if outcome ~= BUILT then
    return nil, REASONS[outcome] or REASONS[FAILED]
  end
  if disposition then
    res:header('Content-Disposition', disposition)
  end
  return res:send()
end

-- ---- res:preconditions. ----

local VALIDATORS = { etag = true, last_modified = true }

function _M.preconditions(res, validators)
  local view = view_of(res)
  local call = 'res:preconditions(validators)'
  check_options('res:preconditions', validators, VALIDATORS)
  local etag, modified = validators.etag or '', validators.last_modified or -1
  if etag ~= '' and not (type(etag) == 'string' and find(etag, '^W?/?"[!#-~\128-\255]*"$')
    and (sub(etag, 1, 1) == '"' or sub(etag, 1, 2) == 'W/')) then
    raise(call .. ': an etag is written "…" or W/"…", with its quotes')
  end
  if type(modified) ~= 'number' or modified ~= modified or modified >= 253402300800 then
    raise(call .. ': last_modified is a time in seconds since 1970')
  end
  if etag ~= '' then
    res:header('ETag', etag)
  end
  if modified >= 0 then
    modified = math.floor(modified)
    res:header('Last-Modified', calendar.http_date(modified))
  end
  local status = files.check(view, etag, #etag, modified)
  if status == 0 then
    return false
  end
  res:status(status)
  if status == 412 then
    res:header('Content-Type', 'text/plain; charset=utf-8'):body('precondition failed\n')
  end
  res:send()
  return true
end

return members.strict(_M, 'moonring.static')
