-- An HTTP/1.1 client for handlers: http.fetch(url, options). It waits without holding up other
-- requests; see docs/lua-http-client.md.
local members = require 'moonring.members'
local request_of = require 'moonring.http_request'
local response_of = require 'moonring.http_response'
local scheduler = require 'moonring.scheduler'
local socket = require 'moonring.socket'
local spans = require 'moonring.spans'

local error, pairs, pcall, tostring, type = error, pairs, pcall, tostring, type
local max, min = math.max, math.min
local now = scheduler.now

local _M = {}

local MAX_BODY = 8 * 1024 * 1024
-- READ_TIMEOUT is the default of sockets.
local CONNECT_TIMEOUT, READ_TIMEOUT = 10, 60
-- Sockets use milliseconds, and 0 means no limit.
local LEAST_TIMEOUT = 0.001
-- Content that fits the system's buffers is sent before waiting for the response. A separate task sends
-- longer content, since a server may respond before it has read all.
local SENT_AT_ONCE = 64 * 1024
local JOINED = 16 * 1024
-- How much content of a redirect is read, so that its connection can be reused.
local SKIPPED = 64 * 1024

local NO_OPTIONS = {}
local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

-- The type of each option, and the range of numbers.
local TYPES = {
  method = { string = true }, headers = { table = true },
  body = { string = true, ['function'] = true }, timeout = { number = true },
  connect_timeout = { number = true }, read_timeout = { number = true },
  redirect = { number = true }, retry = { boolean = true, string = true },
  decompress = { boolean = true }, max_body = { number = true },
  tls = { boolean = true, table = true }, pool = { boolean = true, table = true },
  trace = { table = true }, unix = { string = true },
}
local IS_COUNT = { redirect = true, max_body = true }

local function is_allowed(name, value)
  if not TYPES[name][type(value)] then
    return false
  elseif name == 'retry' then
    return type(value) == 'boolean' or value == 'always'
  elseif type(value) ~= 'number' then
    return true
  end
  return IS_COUNT[name] and value >= 0 and value % 1 == 0 or not IS_COUNT[name] and value > 0
end

-- Raises at the line that called fetch.
local function check_options(options)
  if type(options) ~= 'table' then
    error('http.fetch(url, options): options is a ' .. type(options) .. ', not a table', 3)
  end
  for name, value in pairs(options) do
    if not TYPES[name] then
      error('http.fetch: ' .. members.unknown('the table of options', name, { TYPES }), 3)
    elseif not is_allowed(name, value) then
      error(('http.fetch: option %s may not be %s (a %s)'):format(name, tostring(value), type(value)), 3)
    end
  end
end

-- TLS for one origin: another origin gets neither our client certificate nor the `sni`.
local function tls_of(request, options)
  if request.address.scheme ~= 'https' then
    return nil
  end
  local tls = options.tls
  if type(tls) ~= 'table' or not request.is_other_origin then
    return tls or true
  end
  return { verify = tls.verify, ca = tls.ca }
end

local function connect(request, options, deadline, is_fresh)
  local seconds = options.connect_timeout or CONNECT_TIMEOUT
  local is_total = false
  if deadline then
    local left = deadline - now()
    if left <= 0 then
      return nil, 'timeout'
    end
    is_total = left < seconds
    seconds = min(left, seconds)
  end
  local pool = options.pool
  if is_fresh then
    pool = false
  end
  local address, path = request.address, options.unix
  local sock, problem = socket.connect {
    host = not path and address.host or nil, port = not path and address.port or nil, path = path,
    tls = tls_of(request, options), pool = pool, timeout = seconds,
  }
  if not sock then
    return nil, problem == 'timeout' and not is_total and 'connect timeout' or problem
  end
  return sock
end

-- Sends content while another task reads the response.
local function send_beside(exchange, request)
  return function()
    local sock = exchange.sock
    local ran, ok, problem, is_own = pcall(request_of.send_content, request, sock)
    exchange.is_sent = ran and ok or false
    exchange.sender = nil
    if not ran then
      exchange.send_failure = ok
    elseif not ok then
      exchange.send_error = problem
    end
    if not ran or is_own then -- the request will never be complete
      sock:close()
    end
  end
end

local function send(exchange, request)
  local sock, body = exchange.sock, request.body
  local head = request_of.head(request)
  local ok, problem
  if type(body) == 'string' and #body <= SENT_AT_ONCE then
    ok, problem = sock:send(#body <= JOINED and head .. body or { head, body })
    exchange.is_sent = ok or false
    return ok, problem
  end
  ok, problem = sock:send(head)
  if ok and body then
    exchange.sender = scheduler.spawn(send_beside(exchange, request))
  else
    exchange.is_sent = ok or false
  end
  return ok, problem
end

-- Sends the request and reads the head of the response, on one connection.
local function exchange_on(exchange, request, response)
  local ok, send_error = send(exchange, request)
  -- A server may refuse a request, respond and close before it has read all of it.
  if not ok and send_error ~= 'closed' then
    local deadline = exchange.deadline
    local is_total = deadline and deadline - now() <= LEAST_TIMEOUT
    return nil, send_error == 'timeout' and not is_total and 'send timeout' or send_error
  end
  local done, problem = response_of.read_head(exchange, response, request.decompress)
  if not done then
    return nil, exchange.send_error or send_error or problem
  end
  return done
end

-- One attempt. nil, the error, and whether a reused connection died before it sent a byte.
local function attempt(request, options, deadline, is_fresh)
  local sock, problem = connect(request, options, deadline, is_fresh)
  if not sock then
    return nil, problem
  end
  local read_timeout = options.read_timeout or READ_TIMEOUT
  local send_timeout = deadline and min(read_timeout, max(deadline - now(), LEAST_TIMEOUT))
    or read_timeout
  if read_timeout ~= READ_TIMEOUT or deadline then
    sock:settimeouts(nil, send_timeout, read_timeout)
  end
  local exchange = response_of.begin(sock, request.method == 'HEAD', read_timeout, deadline)
  local response = response_of.new(request_of.url_of(request), options.max_body or MAX_BODY)
  local ok, done
  ok, done, problem = pcall(exchange_on, exchange, request, response)
  if ok and done then
    return response
  end
  local has_died = problem == 'closed' and not exchange.has_begun and sock:reused() > 0
  response_of.break_off(exchange)
  if not ok or exchange.send_failure then
    error(exchange.send_failure or done, 0)
  end
  return nil, problem, has_died
end

-- One attempt as a span: the conventions ask for one per attempt.
local function attempt_in(span, request, options, deadline, is_fresh)
  request_of.send_span(request, span)
  local ok, response, problem, has_died = pcall(attempt, request, options, deadline, is_fresh)
  local name, attributes = request_of.describe(request)
  spans.set_server(attributes, request.address.host, request.address.port, options.unix)
  local failed = problem
  if not ok then
    failed = spans.raised(response)
  elseif response then
    attributes['http.response.status_code'] = response.status
    failed = response.status >= 400 and tostring(response.status) or nil
  end
  spans.finish(span, name, attributes, failed)
  if not ok then
    error(response, 0)
  end
  return response, problem, has_died
end

local function attempt_or_span(request, options, deadline, is_fresh)
  local span = spans.begin()
  if span then
    return attempt_in(span, request, options, deadline, is_fresh)
  end
  return attempt(request, options, deadline, is_fresh)
end

-- One request and its response: retried on another connection if the first was idle and the server had closed
-- it.
local function exchange_once(request, options, deadline)
  local response, problem, has_died = attempt_or_span(request, options, deadline, false)
  if has_died and request_of.is_repeatable(request, options.retry) then
    response, problem = attempt_or_span(request, options, deadline, true)
  end
  return response, problem
end

-- Reads the rest of a response's content if it is short.
local function skip(response)
  local length = 0
  while length <= SKIPPED do
    local piece = response:read()
    if not piece then
      return
    end
    length = length + #piece
  end
  response:close()
end

-- The response to a request; nil and an error. See docs/lua-http-client.md for the options and the
-- errors.
function _M.fetch(url, options)
  if type(url) ~= 'string' then
    error('http.fetch(url, options) takes a URL, got ' .. type(url), 2)
  end
  if options == nil then
    options = NO_OPTIONS
  else
    check_options(options)
  end
  local request, problem = request_of.new(url, options)
  if not request then
    return nil, problem
  end
  local deadline = options.timeout and now() + options.timeout or nil
  local redirects, limit = 0, options.redirect or 0
  while true do
    local response
    response, problem = exchange_once(request, options, deadline)
    if not response then
      return nil, problem
    end
    local location = limit > 0 and REDIRECTS[response.status] and response.headers.location
    if not location then
      return response
    elseif redirects == limit then
      response:close()
      return nil, 'too many redirects'
    end
    skip(response)
    request, problem = request_of.redirected(request, response.status, location)
    if not request then
      return nil, problem
    elseif options.unix and request.is_other_origin then
      return nil, 'bad redirect: it leaves the server behind the Unix socket'
    end
    redirects = redirects + 1
  end
end

return members.strict(_M, 'moonring.http')
