-- A request of moonring.http as bytes: the head, which is checked, and the content.
local crypto = require 'moonring.crypto'
local spans = require 'moonring.spans'
local url = require 'moonring.url'

local find, format, gmatch, match = string.find, string.format, string.gmatch, string.match
local lower, upper = string.lower, string.upper
local concat, remove = table.concat, table.remove
local ipairs, pairs, tonumber, tostring, type = ipairs, pairs, tonumber, tostring, type

local _M = {}

-- Connection-specific fields (RFC 9110 §7.6.1): fetch sets those it needs and drops the caller's, so the
-- fields of a proxied request can be passed unchanged.
local HOP_BY_HOP = {
  connection = true, ['keep-alive'] = true, ['proxy-connection'] = true, te = true, trailer = true,
  ['transfer-encoding'] = true, upgrade = true, expect = true, ['http2-settings'] = true,
}
-- Dropped when a redirect leads to another origin.
local FOR_ONE_ORIGIN = { authorization = true, cookie = true, ['proxy-authorization'] = true,
  host = true }
-- RFC 9110 §9.2.2.
local IDEMPOTENT = { GET = true, HEAD = true, PUT = true, DELETE = true, OPTIONS = true,
  TRACE = true }
local KNOWN = { GET = true, HEAD = true, PUT = true, DELETE = true, OPTIONS = true, POST = true,
  PATCH = true }
local WITH_CONTENT = { POST = true, PUT = true, PATCH = true }

local NO_FIELDS = {}

local NOT_IN_TOKEN = "[^%w!#$%%&'*+%-.^_`|~]"
local NOT_IN_VALUE = '[%z\1-\8\10-\31\127]'

-- Appends a field to the list; nil and what is wrong with it.
local function add_field(fields, name, value)
  if type(value) == 'number' then
    value = tostring(value)
  elseif type(value) ~= 'string' then
    return nil, ("bad header: '%s' is a %s, not a string, a number or a list of them")
      :format(name, type(value))
  end
  if find(value, NOT_IN_VALUE) then
    return nil, ("bad header: the value of '%s' has a control character"):format(name)
  end
  fields[#fields + 1] = { lower(name), name, value }
  return true
end

-- Lower-case names listed in a Connection field: connection-specific too.
local function named_by_connection(headers)
  local named = {}
  for name, value in pairs(headers) do
    if type(name) == 'string' and lower(name) == 'connection' then
      for _, text in ipairs(type(value) == 'table' and value or { value }) do
        for option in gmatch(lower(tostring(text)), '[^%s,]+') do
          named[option] = true
        end
      end
    end
  end
  return named
end

-- The caller's fields, { lower-case name, name, value } each.
local function read_fields(headers)
  if headers == nil then
    return NO_FIELDS
  end
  local fields = {}
  local named = named_by_connection(headers)
  for name, value in pairs(headers) do
    if type(name) ~= 'string' then
      return nil, 'bad header: headers maps names to values, it is no list'
    elseif name == '' or find(name, NOT_IN_TOKEN) then
      return nil, ('bad header: %q is no name of a field'):format(name)
    end
    local small = lower(name)
    if not HOP_BY_HOP[small] and not named[small] then
      if type(value) ~= 'table' then
        value = { value }
      end
      for i = 1, #value do
        local ok, problem = add_field(fields, name, value[i])
        if not ok then
          return nil, problem
        end
      end
    end
  end
  return fields
end

local function find_field(fields, name)
  for i = 1, #fields do
    if fields[i][1] == name then
      return i, fields[i][3]
    end
  end
end

-- Removes the field from the list and returns its value.
local function take_field(fields, name)
  local at, value = find_field(fields, name)
  if at then
    remove(fields, at)
  end
  return value
end

-- The trace of the request, replacing the one in proxied fields.
local function set_trace(fields, trace)
  if fields == NO_FIELDS then
    fields = {}
  end
  for _, name in ipairs { 'traceparent', 'tracestate' } do
    while take_field(fields, name) do end
    if trace[name] ~= nil then
      local ok, problem = add_field(fields, name, trace[name])
      if not ok then
        return nil, problem
      end
    end
  end
  return fields
end

-- The request is sent in this span, which becomes the parent in the server that receives it.
function _M.send_span(request, span)
  request.sends = (request.sends or 0) + 1
  local at, traceparent = find_field(request.fields, 'traceparent')
  if at then
    request.fields[at][3] = spans.adopt(span, traceparent)
  end
end

-- The name and attributes of the request's span. The query is left out: it may contain secrets.
function _M.describe(request)
  local method = request.method
  local is_known = KNOWN[method] or method == 'TRACE'
  return is_known and method or 'HTTP', {
    ['http.request.method'] = is_known and method or '_OTHER',
    ['http.request.method_original'] = not is_known and method or nil,
    ['http.request.resend_count'] = request.sends > 1 and request.sends - 1 or nil,
    ['url.full'] = match(_M.url_of(request), '^[^?]*'),
  }
end

local function check_method(method)
  if KNOWN[method] then
    return method
  elseif method == '' or find(method, NOT_IN_TOKEN) then
    return nil, ('bad method: %q is no token'):format(method)
  end
  method = upper(method)
  if method == 'CONNECT' then
    return nil, 'bad method: CONNECT makes a tunnel, which fetch does not'
  end
  return method
end

-- The length of the content, nil if unknown; false and what is wrong.
local function length_of(body, given)
  if given and not find(given, '^%d+$') or given and #given > 15 then
    return false, 'bad header: Content-Length is no number'
  end
  given = tonumber(given)
  if type(body) == 'function' then
    return given
  end
  local length = body and #body or nil
  if given and given ~= (length or 0) then
    return false, ('bad header: Content-Length is %d, the body has %d bytes')
      :format(given, length or 0)
  end
  return length
end

-- The last URL and its parts: many handlers fetch the same one.
local last_text, last_address

local function address_of(text)
  if text == last_text then
    return last_address
  end
  local address, problem = url.parse(text)
  if address then
    last_text, last_address = text, address
  end
  return address, problem
end

-- The request for fetch(text, options); nil and what is wrong with it.
function _M.new(text, options)
  local address, problem = address_of(text)
  if not address then
    return nil, problem
  end
  local body = options.body
  local method
  method, problem = check_method(options.method or (body ~= nil and 'POST' or 'GET'))
  if not method then
    return nil, problem
  end
  local fields
  fields, problem = read_fields(options.headers)
  if fields and options.trace then
    fields, problem = set_trace(fields, options.trace)
  end
  if not fields then
    return nil, problem
  end
  local length
  length, problem = length_of(body, take_field(fields, 'content-length'))
  if length == false then
    return nil, problem
  end
  local decompress, closes = options.decompress, options.pool == false
  return { address = address, method = method, fields = fields, body = body, length = length,
    decompress = decompress, closes = closes,
    is_plain = method == 'GET' and body == nil and not decompress and not closes }
end

-- Whether it may be retried on another connection when the first one died.
function _M.is_repeatable(request, retry)
  if type(request.body) == 'function' or retry == false then
    return false
  end
  return IDEMPOTENT[request.method] or retry == 'always'
    or find_field(request.fields, 'idempotency-key') ~= nil
end

-- The bytes from the request line to the empty line.
function _M.head(request)
  local address, fields = request.address, request.fields
  if #fields == 0 and request.is_plain and not address.user then
    return request.method .. ' ' .. address.target .. ' HTTP/1.1\r\nHost: ' .. address.authority
      .. '\r\nUser-Agent: moonring\r\n\r\n'
  end
  local _, host = find_field(fields, 'host')
  local lines = { request.method .. ' ' .. address.target .. ' HTTP/1.1\r\nHost: '
    .. (host or address.authority) .. '\r\n' }
  local has_agent, has_credentials, has_encoding = false, false, false
  for i = 1, #fields do
    local small, name, value = fields[i][1], fields[i][2], fields[i][3]
    if small == 'user-agent' then
      has_agent = true
    elseif small == 'authorization' then
      has_credentials = true
    elseif small == 'accept-encoding' then
      has_encoding = true
    end
    if small ~= 'host' then
      lines[#lines + 1] = name .. ': ' .. value .. '\r\n'
    end
  end
  if not has_agent then
    lines[#lines + 1] = 'User-Agent: moonring\r\n'
  end
  if address.user and not has_credentials then
    lines[#lines + 1] = 'Authorization: Basic ' .. crypto.base64_encode(address.user .. ':' .. address.password)
      .. '\r\n'
  end
  if request.decompress and not has_encoding then
    lines[#lines + 1] = 'Accept-Encoding: gzip, deflate\r\n'
  end
  if request.closes then
    lines[#lines + 1] = 'Connection: close\r\n'
  end
  if request.length then
    lines[#lines + 1] = format('Content-Length: %d\r\n', request.length)
  elseif request.body then
    lines[#lines + 1] = 'Transfer-Encoding: chunked\r\n'
  elseif WITH_CONTENT[request.method] then
    lines[#lines + 1] = 'Content-Length: 0\r\n'
  end
  lines[#lines + 1] = '\r\n'
  return concat(lines)
end

-- Sends the content; the output of a reader function is sent chunked, or with exactly the announced length.
-- true; nil, an error, and true if it is the reader's.
function _M.send_content(request, sock)
  local reader, length, sent = request.body, request.length, 0
  if type(reader) == 'string' then
    return sock:send(reader)
  end
  while true do
    local piece, problem = reader()
    if piece == nil then
      if problem ~= nil then
        return nil, tostring(problem), true
      end
      break
    elseif type(piece) ~= 'string' then
      return nil, 'the body function returned a ' .. type(piece) .. ', not a string', true
    end
    sent = sent + #piece
    if length and sent > length then
      return nil, 'the body is longer than its Content-Length', true
    elseif piece ~= '' then
      local ok
      if length then
        ok, problem = sock:send(piece)
      else
        ok, problem = sock:send { format('%x\r\n', #piece), piece, '\r\n' }
      end
      if not ok then
        return nil, problem
      end
    end
  end
  if not length then
    return sock:send '0\r\n\r\n'
  elseif sent < length then
    return nil, 'the body is shorter than its Content-Length', true
  end
  return true
end

-- The next request after a redirect to `location`; nil and why there is none. RFC 9110 §15.4; POST becomes
-- GET with 301 and 302 as in browsers.
function _M.redirected(request, status, location)
  local before = request.address
  local address, problem = url.parse(url.resolve(_M.url_of(request), location))
  if not address then
    return nil, 'bad redirect: ' .. problem
  end
  local method = request.method
  local becomes_get = status == 303 and method ~= 'GET' and method ~= 'HEAD'
    or (status == 301 or status == 302) and method == 'POST'
  if not becomes_get and type(request.body) == 'function' then
    return nil, 'bad redirect: the body was sent and cannot be read again'
  end
  local is_other = address.origin ~= before.origin
  local fields = {}
  for _, field in ipairs(request.fields) do
    local drops = is_other and FOR_ONE_ORIGIN[field[1]]
      or becomes_get and find(field[1], '^content%-')
    if not drops then
      fields[#fields + 1] = field
    end
  end
  -- Credentials are sent only to the origin of the first URL.
  if not is_other and not address.user then
    address.user, address.password = before.user, before.password
  end
  return { address = address, method = becomes_get and 'GET' or method,
    fields = fields, body = not becomes_get and request.body or nil,
    length = not becomes_get and request.length or nil, decompress = request.decompress,
    closes = request.closes, is_other_origin = is_other or request.is_other_origin,
    sends = request.sends }
end

-- The absolute URL, without user name and password.
function _M.url_of(request)
  return request.address.origin .. request.address.target
end

return _M
