-- moonring.http over a scripted socket: requests sent, responses read, and connections
-- kept or closed.
local fake = require 'fake_socket'
local expect = require 'expect'
local http = require 'moonring.http'

local cases = {}

local OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

-- The response of `script` to a request.
local function fetch(script, options, url)
  fake.script(script)
  return http.fetch(url or 'http://a/', options)
end

local function fate(number)
  local sock = fake.made[number]
  return sock.kept and 'kept' or sock.closed and 'closed' or 'open'
end

function cases.a_plain_request()
  local res = assert(fetch({ OK }))
  expect.equal(fake.sent(1), 'GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: moonring\r\n\r\n')
  expect.equal({ res.status, res.reason, res.url, res:body(), res:body() },
    { 200, 'OK', 'http://a/', 'ok', 'ok' })
  expect.equal(fate(1), 'kept')
  local options = fake.made[1].options
  expect.equal({ options.host, options.port, options.path, options.tls },
    { 'a', 80, nil, nil })
end

function cases.a_trace_is_passed_on()
  local function sent(options)
    fetch({ OK }, options)
    local fields = {}
    for name, value in fake.sent(1):gmatch '(trace%w+): ([^\r]*)' do
      fields[#fields + 1] = name .. '=' .. value
    end
    return fields
  end
  expect.equal(sent { trace = { traceparent = 'a', tracestate = 'b' } },
    { 'traceparent=a', 'tracestate=b' })
  local headers = { traceparent = 'old', tracestate = { 'old', 'older' } }
  expect.equal(sent { trace = { traceparent = 'a' }, headers = headers }, { 'traceparent=a' })
  expect.equal(sent { headers = { traceparent = 'old' } }, { 'traceparent=old' })
  expect.equal(sent {}, {}) -- nothing is left from before
end

function cases.where_it_connects_to()
  fetch({ OK }, nil, 'https://Example.org:8443/x?y')
  local options = fake.made[1].options
  expect.equal({ options.host, options.port, options.tls }, { 'example.org', 8443, true })
  expect.equal(fake.sent(1):match 'Host: [^\r]*', 'Host: example.org:8443')
  fetch({ OK }, { tls = { verify = false } }, 'https://[::1]/')
  options = fake.made[1].options
  expect.equal({ options.host, options.port, options.tls }, { '::1', 443, { verify = false } })
  expect.equal(fake.sent(1):match 'Host: [^\r]*', 'Host: [::1]')
  fetch({ OK }, { unix = '/run/x.sock', pool = { max = 3 } }, 'http://docker/info')
  options = fake.made[1].options
  expect.equal({ options.host, options.path, options.pool }, { nil, '/run/x.sock', { max = 3 } })
end

function cases.fields_of_a_request()
  fetch({ OK }, { method = 'put', body = 'abc', headers = { ['X-A'] = 1, ['user-agent'] = 'me',
    ['X-B'] = { 'c', 'd' }, Host = 'other:1', ['Content-Length'] = '3' } }, 'http://u:p@a/')
  local sent = fake.sent(1)
  expect.equal(sent:match '^[^\n]*\n[^\n]*\n', 'PUT / HTTP/1.1\r\nHost: other:1\r\n')
  for _, line in ipairs { 'X-A: 1', 'user-agent: me', 'X-B: c\r\nX-B: d', 'Content-Length: 3',
    'Authorization: Basic dTpw' } do
    expect.equal({ line, select(2, sent:gsub(line:gsub('%-', '%%-'), '')) }, { line, 1 })
  end
  expect.equal(select(2, sent:lower():gsub('user%-agent', '')), 1)
  expect.equal(sent:sub(-7), '\r\n\r\nabc')
end

function cases.credentials_in_base64()
  for given, encoded in pairs { ['u'] = 'dTo=', ['uu'] = 'dXU6', ['uuu'] = 'dXV1Og==',
    ['%FF%FE:%00'] = '//46AA==' } do
    fetch({ OK }, nil, 'http://' .. given .. '@a/')
    expect.equal(fake.sent(1):match 'Basic ([^\r]*)', encoded)
  end
  fetch({ OK }, { headers = { authorization = 'Bearer x' } }, 'http://u:p@a/')
  expect.equal(fake.sent(1):match '[Aa]uthorization: ([^\r]*)', 'Bearer x')
  expect.equal(fake.sent(1):find 'Basic', nil)
end

function cases.fields_of_the_connection_are_left_out()
  fetch({ OK }, { headers = { Connection = 'close, X-Hop', ['x-hop'] = '1', ['Keep-Alive'] = 'x',
    ['Transfer-Encoding'] = 'chunked', Upgrade = 'h2c', TE = 'x', Trailer = 'x', Expect = 'x',
    ['Proxy-Connection'] = 'x' } })
  expect.equal(fake.sent(1), 'GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: moonring\r\n\r\n')
  fetch({ OK }, { headers = { connection = { 'keep-alive', 'X-Hop' }, ['x-hop'] = '1', X = '2' } })
  expect.equal(fake.sent(1), 'GET / HTTP/1.1\r\nHost: a\r\nX: 2\r\nUser-Agent: moonring\r\n\r\n')
end

function cases.requests_that_would_inject_are_refused()
  fake.script()
  for _, value in ipairs { 'a\r\nb: c', 'a\nb', 'a\rb', 'a\0b', '\127' } do
    expect.failure('bad header', http.fetch('http://a/', { headers = { x = value } }))
    expect.failure('bad header', http.fetch('http://a/', { headers = { x = { 'y', value } } }))
    expect.failure('bad header', http.fetch('http://a/', { headers = { ['x' .. value] = 'y' } }))
    expect.failure('bad header', http.fetch('http://a/', { headers = { host = value } }))
    expect.failure('bad method', http.fetch('http://a/', { method = 'GET' .. value }))
    expect.failure('bad URL', http.fetch('http://a/' .. value))
    expect.failure('bad URL', http.fetch('http://a' .. value .. '/'))
  end
  expect.failure('bad header', http.fetch('http://a/', { headers = { [''] = 'y' } }))
  expect.failure('bad header', http.fetch('http://a/', { headers = { 'a: b' } }))
  expect.failure('bad header', http.fetch('http://a/', { headers = { x = true } }))
  expect.failure('bad header', http.fetch('http://a/', { headers = { ['a b'] = 'y' } }))
  expect.failure('bad method', http.fetch('http://a/', { method = 'GET / HTTP/1.1\r\n' }))
  expect.failure('bad method', http.fetch('http://a/', { method = 'connect' }))
  expect.failure('bad header', http.fetch('http://a/', { body = 'abc',
    headers = { ['Content-Length'] = '4' } }))
  expect.failure('bad header', http.fetch('http://a/', { body = 'abc',
    headers = { ['Content-Length'] = '3, 3' } }))
end

function cases.mistakes_in_the_call_are_raised_at_its_line()
  for words, options in pairs {
    ['has no member "redirects": did you mean "redirect"?'] = { redirects = 1 },
    ['option timeout may not be 3 (a string)'] = { timeout = '3' },
    ['option method may not be 1'] = { method = 1 },
    ['option timeout may not be -1'] = { timeout = -1 },
    ['option body may not be table'] = { body = {} },
    ['option headers may not be x'] = { headers = 'x' },
    ['option retry may not be x'] = { retry = 'x' },
  } do
    local message = expect.raises(words, function() return (http.fetch('http://a/', options)) end)
    expect.equal(message:match '^[^:]*', 'test/lua/test_http.lua')
  end
  expect.raises('options is a string', http.fetch, 'http://a/', 'GET')
end

function cases.content_of_a_request()
  fetch({ OK }, { body = 'abc' })
  expect.equal(fake.sent(1):match '^POST .*(Content%-Length: 3\r\n\r\nabc)$' ~= nil, true)
  fetch({ OK }, { method = 'POST' })
  expect.equal(fake.sent(1):match 'Content%-Length: 0\r\n\r\n$' ~= nil, true)
  fetch({ OK }, { body = '' })
  expect.equal(fake.sent(1):match 'Content%-Length: 0\r\n\r\n$' ~= nil, true)
  local long = ('x'):rep(1000000)
  fetch({ OK }, { body = long })
  expect.equal(fake.sent(1):match '\r\n\r\n(.*)$' == long, true)
end

local function reader_of(...)
  local pieces, at = { ... }, 0
  return function()
    at = at + 1
    return pieces[at]
  end
end

function cases.content_from_a_function_is_chunked()
  fetch({ OK }, { body = reader_of('abc', '', ('x'):rep(26)) })
  local head, content = fake.sent(1):match '^(.-\r\n\r\n)(.*)$'
  expect.equal(head:match 'Transfer%-Encoding: chunked' ~= nil, true)
  expect.equal(content, '3\r\nabc\r\n1a\r\n' .. ('x'):rep(26) .. '\r\n0\r\n\r\n')
  expect.equal(fate(1), 'kept')
end

function cases.content_from_a_function_with_a_length()
  local headers = { ['content-length'] = 5 }
  fetch({ OK }, { body = reader_of('abc', 'de'), headers = headers })
  expect.equal(fake.sent(1):match '\r\n\r\n(.*)$', 'abcde')
  expect.failure('shorter than its Content-Length', fetch({ OK }, { body = reader_of 'abc',
    headers = headers }))
  expect.equal(fate(1), 'closed')
  expect.failure('longer than its Content-Length', fetch({ OK }, { body = reader_of 'abcdef',
    headers = headers }))
  expect.equal(fake.sent(1):match '\r\n\r\n(.*)$', '')
  expect.equal(fate(1), 'closed')
end

function cases.a_function_that_fails_ends_the_request()
  expect.failure('disk full', fetch({ OK }, { body = function() return nil, 'disk full' end }))
  expect.equal(fate(1), 'closed')
  expect.raises('a mistake', fetch, { function(sock) return sock.closed and 'closed' end },
    { body = function() error 'a mistake' end })
  expect.equal(fate(1), 'closed')
  expect.failure('returned a number', fetch({ OK }, { body = function() return 1 end }))
  expect.equal(fate(1), 'closed')
end

function cases.fields_of_a_response()
  local res = fetch { 'HTTP/1.1 200 All  right\r\nX-A: 1\r\nSet-Cookie: a=b, c\r\nx-a: 2\r\n'
    .. 'SET-COOKIE: d\r\nEmpty:\r\nDate: a:b\r\nContent-Length: 0\r\n\r\n' }
  expect.equal(res.reason, 'All  right')
  expect.equal({ res.headers['x-a'], res.headers['X-A'], res.headers.Empty, res.headers.date },
    { '1, 2', '1, 2', '', 'a:b' })
  expect.equal(res.headers['x-b'], nil)
  expect.equal(res.headers['set-cookie'], 'a=b, c')
  expect.equal(res:values 'Set-Cookie', { 'a=b, c', 'd' })
  expect.equal(res:values 'x-b', {})
  local names = {}
  for name, value in res:fields() do
    names[#names + 1] = name .. '=' .. value
  end
  expect.equal(table.concat(names, ' '),
    'x-a=1 set-cookie=a=b, c x-a=2 set-cookie=d empty= date=a:b content-length=0')
end

function cases.content_in_pieces()
  local res = fetch { 'HTTP/1.1 200 OK\r\nContent-Le', 'ngth: 6\r\n\r\n', 'ab', 'cd', 'ef' }
  expect.equal(fate(1), 'open')
  local pieces = {}
  for chunk in res:chunks() do
    pieces[#pieces + 1] = chunk
  end
  expect.equal(pieces, { 'ab', 'cd', 'ef' })
  expect.equal(fate(1), 'kept')
  expect.equal({ res:read() }, {})
end

function cases.chunked_content()
  local res = fetch { 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab', 'c\r\n2\r\nde\r\n',
    '0\r\nX: y\r\n', '\r\n' }
  expect.equal({ res:body() }, { 'abcde' })
  expect.equal(fate(1), 'kept')
end

function cases.content_that_ends_with_the_connection()
  local res = fetch { 'HTTP/1.0 200 OK\r\n\r\nabc', 'def', 'closed' }
  expect.equal({ res:body() }, { 'abcdef' })
  res = fetch { 'HTTP/1.0 200 OK\r\n\r\nabc', 'closed', truncated = true }
  expect.equal({ res:body() }, { nil, 'truncated response' })
  expect.equal(fate(1), 'closed')
end

function cases.responses_without_content_free_their_connection_at_once()
  local res = fetch({ 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n' }, { method = 'HEAD' })
  expect.equal({ fate(1), res:body(), res.headers['content-length'] }, { 'kept', '', '5' })
  fetch { 'HTTP/1.1 204 No Content\r\n\r\n' }
  expect.equal(fate(1), 'kept')
  fetch { 'HTTP/1.1 100 Continue\r\n\r\n', 'HTTP/1.1 304 Not Modified\r\n\r\n' }
  expect.equal(fate(1), 'kept')
end

function cases.connections_that_may_not_be_used_again_are_closed()
  for _, response in ipairs {
    'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok',
    'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
    OK .. 'HTTP/1.1 200 OK\r\n',
    OK .. '\r\n',
  } do
    expect.equal(fetch({ response }):body(), 'ok')
    expect.equal(fate(1), 'closed')
  end
end

function cases.without_a_pool_the_server_is_told()
  fetch({ OK }, { pool = false })
  expect.equal(fake.sent(1):match 'Connection: close' ~= nil, true)
  expect.equal(fake.made[1].options.pool, false)
end

function cases.errors_have_names()
  local none = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'
  for _, case in ipairs {
    { 'closed', 'closed' }, { 'timeout', 'read timeout' }, { 'reset', 'reset' },
    { 'nonsense', 'malformed response' }, { 'HTTP/2.0 200 OK\r\n\r\n', 'unsupported HTTP version' },
    { 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      'conflicting content length' },
    { 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n', 'unsupported transfer coding' },
    { 'HTTP/1.1 101 Switching\r\n\r\n', 'unexpected protocol switch' },
    { 'HTTP/1.1 200 OK\r\nA: ' .. ('x'):rep(70000), 'response head too large' },
    { ('HTTP/1.1 100 Continue\r\n\r\n'):rep(17), 'too many informational responses' },
  } do
    expect.equal({ fetch { case[1] } }, { nil, case[2] })
    expect.equal(fate(1), 'closed')
  end
  expect.equal({ fetch { 'HTTP/1.1 200', 'closed' } }, { nil, 'truncated response' })
  for step, name in pairs { closed = 'truncated response', timeout = 'read timeout', reset = 'reset' } do
    local res = fetch { none, 'ab', step }
    expect.equal({ res:body() }, { nil, name })
    expect.equal({ res:read() }, { nil, name })
    expect.equal(fate(1), 'closed')
  end
  local res = fetch { 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', '1\r\nabc' }
  expect.raises('http://a/: malformed response', function() for _ in res:chunks() do end end)
  expect.equal(fate(1), 'closed')
  expect.equal({ fetch { refuses = 'refused' } }, { nil, 'refused' })
  expect.equal({ fetch { refuses = 'timeout' } }, { nil, 'connect timeout' })
  expect.equal({ fetch { send = 'timeout' } }, { nil, 'send timeout' })
end

function cases.content_is_bounded()
  local function body_of(...)
    return fetch({ ... }, { max_body = 4 }):body()
  end
  expect.equal({ body_of 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd' }, { 'abcd' })
  expect.equal({ body_of 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na' },
    { nil, 'response too large' })
  expect.equal(fate(1), 'closed')
  expect.equal({ body_of 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde' },
    { nil, 'response too large' })
  expect.equal({ body_of('HTTP/1.1 200 OK\r\n\r\nab', 'cde') }, { nil, 'response too large' })
  expect.equal(fate(1), 'closed')
end

function cases.a_response_that_is_given_up_closes_its_connection()
  local res = fetch { 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab' }
  res:close()
  expect.equal(fate(1), 'closed')
  expect.equal({ res:body() }, { nil, 'closed' })
  res:close()
  res = fetch { OK }
  res:close()
  expect.equal(fate(1), 'kept')
end

function cases.an_error_that_is_raised_closes_the_connection()
  expect.raises('aborted', fetch, { function() error('aborted', 0) end })
  expect.equal(fate(1), 'closed')
  local res = fetch { 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab', function() error('aborted', 0) end }
  expect.raises('aborted', res.body, res)
  expect.equal(fate(1), 'closed')
  expect.equal({ res:body() }, { nil, 'aborted' })
end

function cases.the_total_timeout_covers_everything()
  expect.equal({ fetch({ 3, 'HTTP/1.1 200', 3, ' OK\r\n', 3, 'A: b', 3, '\r\n' }, { timeout = 10 }) },
    { nil, 'timeout' })
  expect.equal(fate(1), 'closed')
  local res = fetch({ 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n', 'a', 6, 'b', 6, 'c' },
    { timeout = 10 })
  expect.equal({ res:body() }, { nil, 'timeout' })
  fetch({ OK }, { timeout = 3 })
  expect.equal(fake.made[1].options.timeout, 3)
  expect.equal({ fake.made[1].send_timeout, fake.made[1].read_timeout }, { 3, 3 })
  expect.equal({ fetch({ send = function() fake.clock = 3; return 'timeout' end }, { timeout = 3 }) },
    { nil, 'timeout' })
  fetch({ OK }, { timeout = 30, connect_timeout = 1, read_timeout = 2 })
  expect.equal(fake.made[1].options.timeout, 1)
  expect.equal(fake.made[1].read_timeout, 2)
end

local function retried(options, first)
  fake.script(first or { 'closed', reused = 1 }, { OK })
  local res = http.fetch('http://a/', options)
  expect.equal(#fake.connections, res and 0 or 1)
  return res ~= nil
end

function cases.a_connection_that_died_idle_is_replaced()
  expect.equal(retried(), true)
  expect.equal({ fate(1), fate(2) }, { 'closed', 'kept' })
  expect.equal(fake.sent(1), fake.sent(2))
  expect.equal(fake.made[2].options.pool, false)
  for method, expected in pairs { HEAD = true, OPTIONS = true, PUT = true, DELETE = true, POST = false,
    PATCH = false, X = false } do
    expect.equal({ method, retried { method = method, body = 'x' } }, { method, expected })
  end
  expect.equal(retried { body = 'x', retry = 'always' }, true)
  expect.equal(retried { body = 'x', headers = { ['Idempotency-Key'] = '1' } }, true)
  expect.equal(retried { retry = false }, false)
  expect.equal(retried { method = 'PUT', body = reader_of 'x' }, false)
  expect.equal(retried(nil, { 'closed', reused = 1, send = 'closed' }), true)
end

function cases.nothing_else_is_tried_again()
  expect.equal(retried(nil, { 'closed' }), false)
  expect.equal(retried(nil, { 'timeout', reused = 1 }), false)
  expect.equal(retried(nil, { 'H', 'closed', reused = 1 }), false)
  expect.equal(retried(nil, { 'nonsense', reused = 1 }), false)
  expect.equal(retried(nil, { refuses = 'refused' }), false)
end

function cases.an_early_response_is_read_although_the_request_was_cut_off()
  local response = 'HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno'
  local res = fetch({ response, send = 'closed' }, { body = 'abc' })
  expect.equal({ res.status, res:body(), fate(1) }, { 413, 'no', 'closed' })
end

local function redirect(status, location, fields)
  return ('HTTP/1.1 %d x\r\nLocation: %s\r\nContent-Length: 2\r\n%s\r\nxx'):format(status, location,
    fields or '')
end

function cases.redirects_are_followed_on_request()
  local res = fetch { redirect(302, '/b') }
  expect.equal({ res.status, res.headers.location }, { 302, '/b' })
  fake.script({ redirect(302, 'b?c#d') }, { redirect(301, '//other/e') }, { OK })
  res = http.fetch('http://u:p@a/x/y', { redirect = 2 })
  expect.equal({ res.status, res.url }, { 200, 'http://other/e' })
  expect.equal(fake.sent(2):match '^[^\r]*', 'GET /x/b?c HTTP/1.1')
  expect.equal(fake.sent(2):match 'Authorization' ~= nil, true)
  expect.equal(fake.sent(3):match 'Authorization', nil)
  expect.equal({ fate(1), fate(2) }, { 'kept', 'kept' })
  expect.equal(fetch({ 'HTTP/1.1 302 x\r\nContent-Length: 0\r\n\r\n' }, { redirect = 1 }).status, 302)
  expect.equal(fetch({ redirect(304, '/b'):sub(1, -3) }, { redirect = 1 }).status, 304)
end

function cases.redirects_are_bounded()
  fake.script({ redirect(302, '/') }, { redirect(302, '/') }, { redirect(302, '/') })
  expect.failure('too many redirects', http.fetch('http://a/', { redirect = 2 }))
  expect.equal(#fake.made, 3)
end

local function after_redirect(status, options)
  fake.script({ redirect(status, '/b') }, { OK })
  options.redirect = 1
  local res, problem = http.fetch('http://a/', options)
  if not res then
    return problem
  end
  return fake.sent(2):match '^%u+' .. ' ' .. (fake.sent(2):match '\r\n\r\n(.*)$')
end

function cases.methods_after_redirects()
  for status, expected in pairs { [301] = 'GET ', [302] = 'GET ', [303] = 'GET ', [307] = 'POST abc',
    [308] = 'POST abc' } do
    expect.equal({ status, after_redirect(status, { body = 'abc' }) }, { status, expected })
  end
  expect.equal(after_redirect(302, { method = 'PUT', body = 'abc' }), 'PUT abc')
  expect.equal(after_redirect(303, { method = 'PUT', body = 'abc',
    headers = { ['Content-Type'] = 'x' } }), 'GET ')
  expect.equal(fake.sent(2):lower():find 'content', nil)
  expect.equal(after_redirect(303, { method = 'HEAD' }), 'HEAD ')
  expect.equal(after_redirect(303, { body = reader_of 'abc' }), 'GET ')
  expect.equal(after_redirect(307, { body = reader_of 'abc' }),
    'bad redirect: the body was sent and cannot be read again')
end

function cases.credentials_stay_with_their_origin()
  local headers = { Authorization = 'x', Cookie = 'y', Host = 'z', ['X-A'] = 'b' }
  for location, stays in pairs { ['/b'] = true, ['http://A:80/b'] = true, ['https://a/b'] = false,
    ['http://a:81/b'] = false, ['http://b/'] = false } do
    fake.script({ redirect(302, location) }, { OK })
    http.fetch('http://a/', { redirect = 1, headers = headers })
    local sent = fake.sent(2)
    expect.equal({ location, sent:find 'Authorization' ~= nil, sent:find 'Cookie' ~= nil,
      sent:find 'Host: z' ~= nil, sent:find 'X%-A' ~= nil },
      { location, stays, stays, stays, true })
  end
end

function cases.a_client_certificate_stays_with_its_origin()
  local tls = { cert = 'c', key = 'k', ca = 'ca', sni = 's' }
  fake.script({ redirect(302, 'https://b/') }, { redirect(302, 'https://a/') }, { OK })
  http.fetch('https://a/', { redirect = 2, tls = tls })
  expect.equal(fake.made[1].options.tls, tls)
  expect.equal(fake.made[2].options.tls, { ca = 'ca' })
  expect.equal(fake.made[3].options.tls, { ca = 'ca' })
end

function cases.bad_redirects()
  for location, words in pairs { ['ftp://a/'] = "the scheme 'ftp' is neither", ['http://a:0/'] = 'port',
    ['/\\x'] = 'percent-encoded' } do
    fake.script { redirect(302, location) }
    expect.failure('bad redirect: bad URL: ', http.fetch('http://a/', { redirect = 1 }))
    fake.script { redirect(302, location) }
    expect.failure(words, http.fetch('http://a/', { redirect = 1 }))
  end
  fake.script { redirect(302, 'http://b/') }
  expect.failure('leaves the server behind the Unix socket',
    http.fetch('http://a/', { redirect = 1, unix = '/x' }))
end

function cases.a_long_redirect_closes_its_connection()
  local head = 'HTTP/1.1 302 x\r\nLocation: /b\r\nContent-Length: 1000000\r\n\r\n'
  local piece = ('x'):rep(50000)
  fake.script({ head, piece, piece, piece }, { OK })
  expect.equal(http.fetch('http://a/', { redirect = 1 }).status, 200)
  expect.equal({ fate(1), fake.made[1].at }, { 'closed', 3 })
end

local function of_hex(text)
  return (text:gsub('%x%x', function(code) return string.char(tonumber(code, 16)) end))
end

local GZIP = of_hex '1f8b0800000000000203cb48cdc9c957c8402701e3513d8d17000000'
local ZLIB = of_hex '789ccb48cdc9c957c8402701680308b1'
local TEXT = 'hello hello hello hello'

local function compressed(coding, content, length)
  return ('HTTP/1.1 200 OK\r\nA: b\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s')
    :format(coding, length or #content, content)
end

function cases.content_is_decoded_on_request()
  for coding, content in pairs { gzip = GZIP, ['X-Gzip'] = GZIP, deflate = ZLIB } do
    local res = fetch({ compressed(coding, content) }, { decompress = true })
    expect.equal({ coding, res:body() }, { coding, TEXT })
    expect.equal({ res.headers['content-encoding'], res.headers['content-length'], res.headers.a },
      { nil, nil, 'b' })
    expect.equal(fake.sent(1):match 'Accept%-Encoding: ([^\r]*)', 'gzip, deflate')
    expect.equal(fate(1), 'kept')
  end
  local res = fetch { compressed('gzip', GZIP) }
  expect.equal({ res:body(), res.headers['content-encoding'] }, { GZIP, 'gzip' })
  expect.equal(fake.sent(1):find 'Encoding', nil)
  fetch({ OK }, { decompress = true, headers = { ['accept-encoding'] = 'br' } })
  expect.equal(fake.sent(1):match '[aA]ccept%-[eE]ncoding: ([^\r]*)', 'br')
end

function cases.content_in_other_codings_is_left_as_it_is()
  for _, coding in ipairs { 'br', 'gzip, gzip', 'gzip\r\nContent-Encoding: gzip', 'identity', '' } do
    local res = fetch({ compressed(coding, GZIP) }, { decompress = true })
    expect.equal({ coding, res:body() }, { coding, GZIP })
    expect.equal(type(res.headers['content-encoding']), 'string')
  end
end

function cases.compressed_content_in_pieces()
  local script = { compressed('gzip', '', #GZIP) }
  for i = 1, #GZIP do
    script[#script + 1] = GZIP:sub(i, i)
  end
  local res = fetch(script, { decompress = true })
  local pieces = {}
  for chunk in res:chunks() do
    pieces[#pieces + 1] = chunk
  end
  expect.equal(table.concat(pieces), TEXT)
  expect.equal(fate(1), 'kept')
end

function cases.compressed_content_that_is_wrong()
  local function body_of(script, options)
    options = options or {}
    options.decompress = true
    local res = fetch(script, options)
    local body, problem = res:body()
    expect.equal({ res:read() }, { nil, problem })
    return body, problem
  end
  expect.equal({ body_of { compressed('gzip', 'plain text') } }, { nil, 'corrupt compressed content' })
  expect.equal({ body_of { compressed('gzip', 'plain text', 99) } },
    { nil, 'corrupt compressed content' })
  expect.equal(fate(1), 'closed')
  expect.equal({ body_of { compressed('gzip', GZIP:sub(1, -2)) } }, { nil, 'truncated response' })
  expect.equal({ body_of { compressed('gzip', GZIP:sub(1, -2), #GZIP), 'closed' } },
    { nil, 'truncated response' })
  expect.equal({ body_of { compressed('gzip', GZIP .. 'xyz') } }, { nil, 'corrupt compressed content' })
  expect.equal({ body_of({ compressed('gzip', GZIP) }, { max_body = 22 }) },
    { nil, 'response too large' })
  expect.equal({ body_of { compressed('gzip', '') } }, { '' })
  local res = fetch({ compressed('gzip', GZIP) }, { decompress = true, method = 'HEAD' })
  expect.equal(res:body(), '')
end

-- Whatever a server sends, an error has a name and the connection is closed or kept.
function cases.random_responses()
  local words = { 'HTTP/1.1 200 OK\r\n', 'HTTP/1.1 ', '200', '\r\n', '\r\n\r\n', 'Content-Length: 3\r\n', 'abc',
    'Transfer-Encoding: chunked\r\n', '3\r\nabc\r\n', '0\r\n\r\n', 'HTTP/1.1 100 x\r\n\r\n', 'Connection: close\r\n',
    'A: b\r\n', '\0', '\n', 'Location: /\r\n', 'HTTP/1.1 302 x\r\n' }
  for _ = 1, 20000 do
    local script = { math.random() < 0.7 and words[1] or nil }
    for _ = 1, math.random(8) do
      local piece = words[math.random(#words)]
      if math.random() < 0.5 and #script > 0 then
        script[#script] = script[#script] .. piece
      else
        script[#script + 1] = piece
      end
    end
    script[#script + 1] = 'closed'
    local res, problem = fetch(script)
    local body
    if res then
      body, problem = res:body()
    end
    expect.equal(type(body or problem), 'string')
    expect.equal(fate(1) == 'open', false)
  end
end

return cases
