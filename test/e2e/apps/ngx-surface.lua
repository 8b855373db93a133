-- A content_by_lua file: it defines no handle, so it runs for each request (--compat ngx).
local cases = {}

function cases.say()
  ngx.print('a', 1, nil, true, { 'b', { 2 } })
  ngx.say(' ', ngx.null)
  ngx.say 'end'
end

function cases.head()
  local _, problem = pcall(function()
    ngx.status = 999
  end)
  assert(problem:find 'ngx%-surface.lua:%d+: ngx.status: 999 is not', problem)
  ngx.status = 201
  ngx.header.content_type = 'text/x-test'
  ngx.header['X-List'] = { 'one', 'two' }
  ngx.header.x_gone = 'gone'
  ngx.header.x_gone = nil
  ngx.header['X-Split'] = 'a\r\nInjected: yes'
  local before = ngx.headers_sent
  ngx.print(tostring(ngx.header['x-list'][2]), ' ', before, ' ')
  ngx.print(ngx.headers_sent)
  ngx.status = 500 -- too late: logged
end

function cases.worker()
  ngx.say(ngx.worker.id(), ' of ', ngx.worker.count())
end

function cases.variables()
  local var = ngx.var
  ngx.say(var.uri, ' ', var.request_uri, ' ', var.args, ' ', var.is_args, ' ', var.arg_a, ' ',
    var.http_x_test, ' ', var.host, ' ', var.scheme, ' ', var.remote_addr, ' ', var.request_method,
    ' ', var.server_protocol, ' ', #var.binary_remote_addr, ' ', var.cookie_c, ' ',
    tostring(var.nothing))
  ngx.say(tonumber(var.server_port) == tonumber(var.arg_port), ' ', tonumber(var.remote_port) > 0)
  local ok, problem = pcall(function()
    var.unheard = 'x'
  end)
  ngx.say(ok, ' ', problem:match 'variable "unheard" not found for writing')
  ok, problem = pcall(function()
    var.uri = 'x'
  end)
  ngx.say(ok, ' ', problem:match 'not changeable')
end

function cases.request()
  local headers = ngx.req.get_headers()
  ngx.say(headers['X-TEST'], ' ', headers.x_test, ' ', table.concat(headers['x-twice'], '+'))
  ngx.req.set_header('X-Test', 'changed')
  ngx.req.clear_header 'X-Twice'
  ngx.say(ngx.req.get_headers().x_test, ' ', tostring(ngx.req.get_headers()['x-twice']), ' ',
    ngx.var.http_x_test)
  local arguments = ngx.req.get_uri_args()
  ngx.say(arguments.a, ' ', tostring(arguments.flag), ' ', table.concat(arguments.b, '+'))
  ngx.say(ngx.req.get_method(), ' ', ngx.req.http_version(), ' ',
    ngx.req.raw_header():match '^[^\r]*')
  ngx.req.read_body()
  ngx.say(ngx.req.get_body_data(), ' ', ngx.req.get_post_args().x, ' ',
    tostring(ngx.req.get_body_file()))
  ngx.req.set_uri_args { z = 'new value' }
  ngx.say(ngx.var.args, ' ', ngx.req.get_uri_args().z)
end

function cases.body_socket()
  local sock = assert(ngx.req.socket())
  local next_part = sock:receiveuntil '--'
  ngx.say(next_part(), '|', next_part(3), '|', next_part(3), '|', tostring(next_part(3)), '|',
    sock:receive '*l', '|', sock:receive(2), '|', sock:receive '*a')
end

function cases.exit()
  ngx.header.x_kept = 'yes'
  pcall(ngx.exit, ngx.HTTP_FORBIDDEN) -- ends the request anyway
  ngx.say 'not reached'
end

function cases.exit_after()
  ngx.status = 202
  ngx.say 'said'
  ngx.exit(ngx.HTTP_OK)
  error 'not reached'
end

function cases.exit_in_coroutine()
  local co = coroutine.wrap(function()
    ngx.sleep(0.001)
    ngx.exit(404)
  end)
  co()
  error 'not reached'
end

function cases.exit_in_thread()
  ngx.thread.spawn(function()
    ngx.sleep(0.001)
    ngx.exit(409)
  end)
  ngx.sleep(30)
end

-- With ?code=; &said=1, &flushed=1: after output; &waits=1: after a wait.
function cases.exit_silently()
  if ngx.var.arg_said or ngx.var.arg_flushed then
    ngx.say 'said'
  end
  if ngx.var.arg_flushed then
    assert(ngx.flush(true))
  end
  if ngx.var.arg_waits then
    ngx.sleep(0.001)
  end
  pcall(ngx.exit, tonumber(ngx.var.arg_code))
  ngx.say 'not reached'
end

function cases.redirect()
  ngx.redirect('/elsewhere?x=1', 301)
end

function cases.stream()
  for i = 1, 3 do
    ngx.say('line ', i)
    assert(ngx.flush(true))
    ngx.sleep(0.001)
  end
  ngx.eof()
  local ok, problem = ngx.say 'late'
  assert(ok == nil and problem == 'seen eof')
end

function cases.large()
  local line = ('x'):rep(1023)
  for _ = 1, 1024 do
    ngx.say(line)
  end
end

function cases.threads()
  local function work(name)
    ngx.sleep(0.001)
    if name == 'bad' then
      error 'broken on purpose'
    end
    return name
  end
  local order = {}
  local may_end = require('ngx.semaphore').new()
  local first = ngx.thread.spawn(function()
    order[1] = 'thread'
    may_end:wait(60)
    return work 'slow'
  end)
  order[2] = 'parent'
  local second = ngx.thread.spawn(work, 'fast')
  local ok, name = ngx.thread.wait(first, second)
  ngx.say(ok, ' ', name, ' ', table.concat(order, ','), ' ', coroutine.status(second))
  may_end:post()
  ok, name = ngx.thread.wait(first)
  ngx.say(ok, ' ', name)
  local bad = ngx.thread.spawn(work, 'bad')
  ok, name = ngx.thread.wait(bad)
  ngx.say(ok, ' ', name:match 'broken on purpose')
  local doomed = ngx.thread.spawn(ngx.sleep, 30)
  ngx.say(ngx.thread.kill(doomed), ' ', select(2, ngx.thread.kill(doomed)))
  ngx.thread.spawn(function()
    ngx.sleep(0.005)
    ngx.say 'the response waits for threads'
  end)
end

function cases.semaphore()
  local sem = require('ngx.semaphore').new()
  ngx.thread.spawn(function()
    ngx.sleep(0.001)
    sem:post(2)
  end)
  ngx.say(sem:wait(10), ' ', sem:wait(10), ' ', tostring(sem:wait(0.001)), ' ', sem:count())
end

local timer_results = {}

function cases.timer()
  assert(ngx.timer.at(0.001, function(premature, a, b)
    ngx.ctx.of_timer = true
    timer_results[1] = ('%s %s %s %s %s'):format(tostring(premature), a, b, ngx.get_phase(),
      select(2, pcall(ngx.say, 'x')):match 'API disabled in the context of ngx.timer')
  end, 'one', 'two'))
  ngx.print(ngx.timer.pending_count(), ' ')
  while not timer_results[1] do
    ngx.sleep(0.001)
  end
  ngx.say(timer_results[1], ' ', ngx.timer.running_count(), ' ', tostring(ngx.ctx.of_timer))
end

-- A timer longer than the test: it runs when the server drains.
function cases.premature()
  assert(ngx.timer.at(3600, function(premature)
    ngx.log(ngx.WARN, 'premature: ', premature, ', exiting: ', ngx.worker.exiting(), ', again: ',
      select(2, ngx.timer.at(0, print)))
  end))
  ngx.say(ngx.get_phase())
end

function cases.ctx()
  ngx.say(tostring(ngx.ctx.mark))
  ngx.ctx.mark = 'mine'
  ngx.sleep(0.001)
  ngx.say(ngx.ctx.mark)
end

function cases.log()
  ngx.log(ngx.ERR, 'an ', 'error ', nil, ' ', 5)
  ngx.log(ngx.DEBUG, 'hidden')
  ngx.say 'logged'
end

function cases.refused()
  for _, call in ipairs { function() ngx.location.capture '/x' end, function() ngx.exec '/x' end,
    function() ngx.req.set_uri('/x', true) end } do
    local ok, problem = pcall(call)
    ngx.say(ok, ' ', problem:match 'not supported' or problem:match 'no locations')
  end
end

function cases.broken()
  ngx.say 'this is not sent'
  error 'broken on purpose'
end

function cases.empty() end

local case = cases[ngx.var.uri:match '^/([%w_]+)']
if not case then
  return ngx.exit(ngx.HTTP_NOT_FOUND)
end
case()
