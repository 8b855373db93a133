-- HTTP URLs (RFC 3986, RFC 9110 §4.2): url.parse(text) and url.resolve(base, reference). Strict: characters
-- that need encoding are refused, not repaired.
local members = require 'moonring.members'
local percent = require 'moonring.percent'

local find, format, gmatch, gsub = string.find, string.format, string.gmatch, string.gsub
local lower, match, sub = string.lower, string.match, string.sub
local ipairs, setmetatable, tonumber, type = ipairs, setmetatable, tonumber, type
local concat = table.concat
local decode = percent.decode

local _M = {}

local DEFAULT_PORTS = { http = 80, https = 443 }
-- Of a name in DNS, RFC 1035 §2.3.4.
local HOST_MAX, LABEL_MAX = 253, 63
-- The part before the path is parsed once and cached: at most this many, none longer than this.
local REMEMBERED, REMEMBERED_LENGTH = 256, 256

local NOT_IN_TARGET = "[^%w%-._~!$&'()*+,;=:@/?%%]"

local function fail(words, ...)
  return nil, 'bad URL: ' .. format(words, ...)
end

-- Four decimal numbers up to 255, and nothing else.
local function is_ipv4(text)
  local a, b, c, d = match(text, '^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$')
  if not a then
    return false
  end
  for _, part in ipairs { a, b, c, d } do
    if tonumber(part) > 255 or find(part, '^0.') then
      return false
    end
  end
  return true
end

-- RFC 4291 §2.2: eight groups, one run of them left out by `::`, the last two as an IPv4 address.
local function is_ipv6(text)
  local groups_max = 8
  local before, ipv4 = match(text, '^(.*:)([%d.]+)$')
  if before and find(ipv4, '.', 1, true) then
    if not is_ipv4(ipv4) then
      return false
    end
    text = before .. '0'
    groups_max = 7
  end
  if find(text, '[^%x:]') or find(text, ':::', 1, true) then
    return false
  end
  local gap = find(text, '::', 1, true)
  if gap and find(text, '::', gap + 1, true) then
    return false
  end
  if find(text, '^:[^:]') or find(text, '[^:]:$') then
    return false
  end
  local count = 0
  for group in gmatch(text, '[^:]+') do
    count = count + 1
    if #group > 4 then
      return false
    end
  end
  return gap and count < groups_max or not gap and count == groups_max
end

-- A name or an IPv4 address, in lower case. Numbers that the system would take for an address, such as
-- 2130706433 or 0x7f.1, are refused: a check of the name would not see the address.
local function check_name(host)
  if host == '' then
    return fail 'no host'
  elseif find(host, '[\128-\255]') then
    return fail 'the host has characters that are not ASCII: write its name as IDNA (xn--)'
  elseif find(host, '[^%w%-._~]') then
    return fail("the host may not contain '%s'", match(host, '[^%w%-._~]'))
  elseif #host > HOST_MAX then
    return fail('the host is longer than %d characters', HOST_MAX)
  end
  local name = gsub(host, '%.$', '')
  local last = match(name, '[^.]*$')
  if find(last, '^%d+$') or find(last, '^0[xX]%x*$') then
    if not is_ipv4(host) then
      return fail 'the host is no IPv4 address of four decimal numbers'
    end
  end
  for label in gmatch(name .. '.', '([^.]*)%.') do
    if label == '' or #label > LABEL_MAX then
      return fail 'the host has an empty or too long label'
    end
  end
  return lower(host)
end

local function check_userinfo(text)
  if find(text, "[^%w%-._~!$&'()*+,;=:%%]") then
    return fail 'the user name or password has characters that must be percent-encoded'
  end
  local user, password = match(text, '^([^:]*):?(.*)$')
  user, password = decode(user), decode(password)
  if not user or not password then
    return fail "a '%%' is not followed by two hexadecimal digits"
  elseif find(user, ':', 1, true) then
    return fail 'a user name may not contain a colon'
  end
  return user, password
end

-- The part before the path: scheme, host, port …, shared by the parts of all URLs with it.
local function parse_origin(text)
  local scheme, authority = match(text, '^(%a[%w+.-]*)://(.*)$')
  if not scheme then
    return fail 'it does not begin with http:// or https://'
  end
  scheme = lower(scheme)
  if not DEFAULT_PORTS[scheme] then
    return fail("the scheme '%s' is neither http nor https", scheme)
  end
  local user, password
  local userinfo, rest = match(authority, '^([^@]*)@(.*)$')
  if userinfo then
    user, password = check_userinfo(userinfo)
    if not user then
      return nil, password
    end
    authority = rest
  end
  local host, port, problem
  local literal, after = match(authority, '^%[([^%]]*)%](.*)$')
  if literal then
    if not is_ipv6(literal) then
      return fail 'the brackets hold no IPv6 address'
    end
    host, port = lower(literal), match(after, '^:?(%d*)$')
    if not port or (port ~= '' and sub(after, 1, 1) ~= ':') then
      return fail 'the port is no number'
    end
  else
    host, port = match(authority, '^([^:]*):?(.*)$')
    host, problem = check_name(host)
    if not host then
      return nil, problem
    elseif not find(port, '^%d*$') then
      return fail 'the port is no number'
    end
  end
  port = port == '' and DEFAULT_PORTS[scheme] or #port <= 5 and tonumber(port) or 0
  if port < 1 or port > 65535 then
    return fail 'the port is not between 1 and 65535'
  end
  local bracketed = literal and '[' .. host .. ']' or host
  local shown = port == DEFAULT_PORTS[scheme] and bracketed or bracketed .. ':' .. port
  local origin = { scheme = scheme, user = user, password = password, host = host, port = port,
    authority = shown, origin = scheme .. '://' .. shown }
  origin.__index = origin
  return origin
end

local remembered, remembered_count = {}, 0

-- The parts of an absolute URL; nil and what is wrong if it is not an HTTP URL.
function _M.parse(text)
  if type(text) ~= 'string' then
    return fail('it is a %s', type(text))
  end
  local before, target = match(text, '^([^/?#]*//[^/?#]*)([^#]*)')
  if not before then
    return fail 'it does not begin with http:// or https://'
  end
  local origin = remembered[before]
  if not origin then
    local problem
    origin, problem = parse_origin(before)
    if not origin then
      return nil, problem
    end
    if #before <= REMEMBERED_LENGTH then
      if remembered_count == REMEMBERED then
        remembered, remembered_count = {}, 0
      end
      remembered[before] = origin
      remembered_count = remembered_count + 1
    end
  end
  if find(target, NOT_IN_TARGET) then
    return fail("character %d of path and query must be percent-encoded",
      (find(target, NOT_IN_TARGET)))
  elseif find(target, '%', 1, true) and not decode(target) then
    return fail "a '%%' is not followed by two hexadecimal digits"
  elseif target == '' then
    target = '/'
  elseif find(target, '^?') then
    target = '/' .. target
  end
  return setmetatable({ target = target }, origin)
end

-- RFC 3986 §5.2.4.
local function remove_dot_segments(path)
  if not find(path, '/.', 1, true) then
    return path
  end
  local kept, count, is_directory = {}, 0, false
  for segment in gmatch(path, '/([^/]*)') do
    is_directory = segment == '.' or segment == '..'
    if segment == '..' then
      kept[count] = nil
      count = count > 0 and count - 1 or 0
    elseif segment ~= '.' then
      count = count + 1
      kept[count] = segment
    end
  end
  local text = '/' .. concat(kept, '/', 1, count)
  return is_directory and count > 0 and text .. '/' or text
end

local function percent_of(character)
  return format('%%%02X', character:byte())
end

-- The absolute URL of `reference`, resolved against `base`: RFC 3986 §5.2. Characters that servers often
-- leave unencoded in Location are encoded: spaces and non-ASCII. nil and what is wrong with the base.
function _M.resolve(base, reference)
  local parts, problem = _M.parse(base)
  if not parts then
    return nil, problem
  end
  reference = gsub(match(reference, '^[^#]*'), '[ \128-\255]', percent_of)
  if find(reference, '^%a[%w+.-]*:') then
    return reference
  elseif find(reference, '^//') then
    return parts.scheme .. ':' .. reference
  end
  local path, query = match(reference, '^([^?]*)(.*)$')
  local base_path = match(parts.target, '^[^?]*')
  if path == '' then
    return parts.origin .. (query == '' and parts.target or base_path .. query)
  elseif not find(path, '^/') then
    path = match(base_path, '^.*/') .. path
  end
  return parts.origin .. remove_dot_segments(path) .. query
end

return members.strict(_M, 'moonring.url')
