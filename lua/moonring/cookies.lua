-- Cookies (RFC 6265): cookies.read(req) returns those of the request; cookies.set(res, name, value, options)
-- adds a Set-Cookie field; set_signed and read_signed do the same with values that clients cannot forge.
local members = require 'moonring.members'
local signing = require 'moonring.cookie_signing'
local failure = require 'moonring.failure'

local raise = failure.raise

local byte, find, format, lower = string.byte, string.find, string.format, string.lower
local match, sub = string.match, string.sub
local concat = table.concat
local date = os.date
local pairs, type = pairs, type

local _M = {}

-- A request with more cookies than this is refused.
local LIMIT = 200
-- Browsers drop cookies whose name and value together, or any of whose attributes, are longer.
local PAIR_LENGTH, ATTRIBUTE_LENGTH = 4096, 1024

local SPACE, TAB = 32, 9
local DAYS = { 'Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat' }
local MONTHS = {
  'Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec',
}
local SAME_SITE = { Strict = true, Lax = true, None = true }

-- `text` without leading and trailing spaces and tabs.
local function trim(text)
  local first = find(text, '[^ \t]')
  if not first then
    return ''
  end
  local last = #text
  while byte(text, last) == SPACE or byte(text, last) == TAB do
    last = last - 1
  end
  return sub(text, first, last)
end

-- The content of a Cookie field: name -> value, the first one where a name is repeated. Pairs
-- without a name or a `=` are left out: other software may have set them. nil and what is wrong
-- for more than 200 cookies.
function _M.parse(text)
  if type(text) ~= 'string' then
    raise('cookies.parse(text) takes a string, got ' .. type(text))
  end
  local result, count = {}, 0
  local at, length = 1, #text
  while at <= length do
    local stop = find(text, ';', at, true) or length + 1
    local pair = sub(text, at, stop - 1)
    local equals = find(pair, '=', 1, true)
    local name = equals and trim(sub(pair, 1, equals - 1)) or ''
    if name ~= '' then
      count = count + 1
      if count > LIMIT then
        return nil, 'more than ' .. LIMIT .. ' cookies'
      end
      if result[name] == nil then
        result[name] = trim(sub(pair, equals + 1))
      end
    end
    at = stop + 1
  end
  return result
end

-- The cookies of a request, of all its Cookie fields (RFC 9113 lets clients split them, and proxies
-- pass them on so), as parse() gives them.
function _M.read(req)
  failure.check_request(req, 'cookies.read(req)')
  return _M.parse(concat(req:header_values 'Cookie', ';'))
end

local function http_date(seconds)
  local t = date('!*t', seconds)
  return format('%s, %02d %s %04d %02d:%02d:%02d GMT', DAYS[t.wday], t.day, MONTHS[t.month],
    t.year, t.hour, t.min, t.sec)
end

-- How an option is written: a function from its value to the attribute, nil if the value is wrong.
local function flag(attribute)
  return function(value)
    return value == true and attribute or value == false and ''
  end
end

local writers = {
  path = function(value)
    return type(value) == 'string' and find(value, '^/[^%c;\127-\255]*$') and 'Path=' .. value
  end,
  domain = function(value)
    return type(value) == 'string' and find(value, '^%.?%w[%w.-]*$') and 'Domain=' .. value
  end,
  max_age = function(value)
    return type(value) == 'number' and value % 1 == 0 and format('Max-Age=%.0f', value)
  end,
  expires = function(value)
    local is_time = type(value) == 'number' and value >= 0 and value < 2 ^ 37
    return is_time and 'Expires=' .. http_date(value)
  end,
  same_site = function(value)
    return SAME_SITE[value] and 'SameSite=' .. value
  end,
  secure = flag 'Secure',
  http_only = flag 'HttpOnly',
  partitioned = flag 'Partitioned',
}

local ORDER = {
  'path', 'domain', 'max_age', 'expires', 'same_site', 'secure', 'http_only', 'partitioned',
}

-- What browsers would silently refuse; nil if nothing.
local function contradiction(name, options)
  local prefix = lower(match(name, '^__%a+%-') or '')
  if prefix == '__host-' and (options.path ~= '/' or options.domain) then
    return "a name that begins with __Host- needs path = '/' and no domain"
  end
  if options.secure then
    return nil
  end
  if prefix == '__host-' or prefix == '__secure-' then
    return 'a name that begins with ' .. match(name, '^__%a+%-') .. ' needs secure = true'
  end
  if options.same_site == 'None' or options.partitioned then
    return "same_site = 'None' and partitioned need secure = true"
  end
end

-- What is wrong with the call, nil if nothing.
local function problem_of(name, value, options)
  if type(name) ~= 'string' or not find(name, "^[%w!#$%%&'*+.^_`|~-]+$") then
    return 'the name has to be a token (RFC 6265 §4.1.1)'
  end
  if type(value) ~= 'string' or not find(value, '^[!#-+--:<-[%]^-~]*$') then
    return ('the value of %s has to be a string without controls, spaces, quotes, commas, '
      .. 'semicolons and backslashes: encode it'):format(name)
  end
  if #name + #value > PAIR_LENGTH then
    return name .. ' is longer than ' .. PAIR_LENGTH .. ' bytes'
  end
  if type(options) ~= 'table' then
    return 'the options are a table, not a ' .. type(options)
  end
  for option in pairs(options) do
    if not writers[option] then
      return members.unknown('the table of options', option, { writers })
    end
  end
  return contradiction(name, options)
end

local function format_cookie(name, value, options)
  options = options or {}
  local problem = problem_of(name, value, options)
  if problem then
    raise('cookie: ' .. problem)
  end
  local parts = { name .. '=' .. value }
  for i = 1, #ORDER do
    local option = ORDER[i]
    if options[option] ~= nil then
      local attribute = writers[option](options[option])
      if not attribute or #attribute > ATTRIBUTE_LENGTH then
        raise(('cookie: %s of %s is not valid'):format(option, name))
      end
      if attribute ~= '' then
        parts[#parts + 1] = attribute
      end
    end
  end
  return concat(parts, '; ')
end

-- The content of a Set-Cookie field. Options: path, domain, max_age (seconds), expires (a time as
-- os.time gives it), same_site ('Strict', 'Lax' or 'None'), secure, http_only, partitioned. A broken field,
-- or a cookie that browsers would refuse, raises an error at the caller's line.
function _M.format(name, value, options)
  return format_cookie(name, value, options)
end

-- Adds a Set-Cookie field to the response and returns the response; raises as format does.
function _M.set(res, name, value, options)
  if type(res) ~= 'cdata' and type(res) ~= 'table' then
    raise('cookies.set(res, name, value) takes the response, got ' .. type(res))
  end
  local text = format_cookie(name, value, options)
  return res:header('Set-Cookie', text)
end

-- A signed text for the value of the cookie `name`, valid for max_age seconds. `keys` is a key of at
-- least 16 bytes, or a list: the first one signs.
function _M.sign(name, value, keys, max_age)
  return signing.sign('sign', name, value, keys, max_age)
end

-- The value that was signed for the cookie `name` with one of the keys; nil and what is wrong:
-- 'malformed', 'not signed with these keys' or 'expired'.
function _M.verify(name, text, keys)
  return signing.verify('verify', name, text, keys)
end

-- cookies.set of a signed value, which may be any string; the options need max_age.
function _M.set_signed(res, name, value, keys, options)
  local max_age = type(options) == 'table' and options.max_age or nil
  return _M.set(res, name, signing.sign('set_signed', name, value, keys, max_age), options)
end

-- The value of a signed cookie of the request; nil and what is wrong: 'missing', or as verify.
function _M.read_signed(req, name, keys)
  failure.check_request(req, 'cookies.read_signed(req, name, keys)')
  local cookies, problem = _M.read(req)
  if not cookies then
    return nil, problem
  elseif not cookies[name] then
    return nil, 'missing'
  end
  return signing.verify('read_signed', name, cookies[name], keys)
end

return members.strict(_M, 'moonring.cookies')
