-- Debian's packages of OpenResty libraries, unchanged: lua-nginx-* and lua-resty-lrucache.
local redis = require 'nginx.redis'
local memcached = require 'nginx.memcached'
local resolver = require 'nginx.dns.resolver'
local websocket = require 'nginx.websocket.client'
local lrucache = require 'resty.lrucache'
local text = require 'nginx.string'

local cases = {}

local function address(name)
  return (assert(os.getenv('MOONRING_TEST_' .. name), name))
end

function cases.redis()
  local red = redis:new()
  red:set_timeout(5000)
  assert(red:connect('unix:' .. address 'REDIS'))
  assert(red:set('dog', 'an animal\r\n\0'))
  local dog = assert(red:get 'dog')
  red:init_pipeline()
  red:incr 'counter'
  red:hmset('hash', { a = 1, b = 2 })
  red:hgetall 'hash'
  red:get 'missing'
  local results = assert(red:commit_pipeline())
  local hash = red:array_to_hash(results[3])
  local _, problem = red:incr 'dog'
  ngx.say(#dog, ' ', results[1], ' ', results[2], ' ', hash.b, ' ', tostring(results[4] == ngx.null),
    ' ', problem:match '^ERR')
  assert(red:set_keepalive(10000, 10))
  assert(red:connect('unix:' .. address 'REDIS'))
  ngx.say(red:get_reused_times())
  red:close()
end

function cases.subscribe()
  local receiver, sender = redis:new(), redis:new()
  assert(receiver:connect('unix:' .. address 'REDIS'))
  assert(sender:connect('unix:' .. address 'REDIS'))
  assert(receiver:subscribe 'news')
  ngx.thread.spawn(function()
    sender:publish('news', 'hello')
  end)
  ngx.say(table.concat(assert(receiver:read_reply()), ' '))
  receiver:set_timeout(10)
  ngx.say(select(2, receiver:read_reply()))
end

function cases.memcached()
  local memc = assert(memcached:new())
  assert(memc:connect('unix:' .. address 'MEMCACHED'))
  assert(memc:set('dog', ('x'):rep(100000)))
  local value, flags = memc:get 'dog'
  assert(memc:set('n', 41, 0, 7))
  ngx.say(#value, ' ', flags, ' ', memc:incr('n', 1), ' ', tostring((memc:get 'missing')), ' ',
    select(2, memc:add('n', 'again')))
  local all = memc:get { 'n', 'dog' }
  ngx.say(all.n[1], ' ', all.n[2])
  assert(memc:set_keepalive(10000, 10))
end

function cases.dns()
  local function resolve(name, milliseconds)
    local r = assert(resolver:new { nameservers = { { '127.0.0.1', tonumber(address 'DNS') } },
      timeout = milliseconds, retrans = 2 })
    return r:query(name, { qtype = r.TYPE_A })
  end
  local answers = assert(resolve('www.example.test', 30000))
  ngx.say(answers[1].name, ' ', answers[1].address, ' ', answers[1].ttl)
  ngx.say((resolve('unknown.test', 30000)).errstr)
  local silence, problem = resolve('silent.test', 200)
  ngx.say(tostring(silence), ' ', problem:match 'timeout')
end

function cases.websocket()
  local client = assert(websocket:new { timeout = 5000, max_payload_len = 1048576 })
  assert(client:connect('ws://127.0.0.1:' .. address 'WEBSOCKET' .. '/path',
    { protocols = 'echo' }))
  assert(client:send_text 'hello')
  local data, kind = assert(client:recv_frame())
  ngx.say(data, ' ', kind)
  assert(client:send_binary(('\0'):rep(200000)))
  data, kind = client:recv_frame()
  ngx.say(#data, ' ', kind)
  assert(client:send_ping 'p')
  data, kind = client:recv_frame()
  ngx.say(data, ' ', kind)
  assert(client:send_close(1000, 'bye'))
  data, kind = client:recv_frame()
  ngx.say(kind, ' ', data)
  client:close()
end

function cases.string()
  local sha256 = require('nginx.sha256'):new()
  sha256:update 'hello'
  local aes = require('nginx.aes'):new('a key', '12345678')
  local random = require('nginx.random').bytes(8, true)
  ngx.say(text.to_hex '\1\255a', ' ', text.atoi '42', ' ', text.to_hex(sha256:final()):sub(1, 8), ' ',
    aes:decrypt(aes:encrypt 'secret'), ' ', #random, ' ', ngx.md5 'hello')
end

local cache = lrucache.new(3)

function cases.lrucache()
  cache:set('a', 1)
  cache:set('b', 2, 0.001)
  ngx.sleep(0.01)
  cache:set('c', 3)
  ngx.say((cache:get 'a'), ' ', (cache:get 'b'), ' ', (cache:get 'c'))
end

-- TLS over cosockets: the first handshake here opens a connection, later ones find it already done.
function cases.tls()
  local function ask(verify, name)
    local sock = ngx.socket.tcp()
    sock:settimeouts(5000, 5000, 5000)
    assert(sock:connect('127.0.0.1', tonumber(address 'TLS'), { pool = 'of the test' }))
    local ok, problem = sock:sslhandshake(nil, name or 'localhost', verify)
    if not ok then
      return problem
    end
    assert(sock:send { 'one ', { 'line', 2 }, '\n' })
    local line = assert(sock:receive '*l')
    local reused = sock:getreusedtimes()
    assert(sock:setkeepalive(10000, 5))
    return line .. ' ' .. reused
  end
  ngx.say(ask(false))
  ngx.say(ask(false))
  ngx.say(ask(true))
  -- Without a handshake the bytes are not valid TLS: the peer closes.
  local sock = ngx.socket.tcp()
  sock:settimeout(5000)
  assert(sock:connect('127.0.0.1', tonumber(address 'TLS'), { pool = 'of the test' }))
  assert(sock:send 'no TLS\n')
  ngx.say(sock:receive '*l')
end

function cases.upgraded()
  local sock = assert(ngx.socket.connect('127.0.0.1', tonumber(address 'UPGRADE')))
  sock:settimeout(5000)
  assert(sock:send 'STARTTLS\n')
  local go = assert(sock:receive '*l')
  assert(sock:sslhandshake(false, 'localhost', false))
  assert(sock:send 'secret\n')
  ngx.say(go, ' ', (assert(sock:receive '*l')))
  sock:close()
end

function cases.receive()
  local sock = assert(ngx.socket.connect('127.0.0.1', tonumber(address 'LINES')))
  sock:settimeout(5000)
  ngx.say(sock:receive(3), '|', sock:receive(), '|', sock:receiveany(1))
  local next_part = sock:receiveuntil '--end'
  ngx.say(next_part(4), '|', next_part(4), '|', next_part(6), '|', tostring(next_part(6)))
  local inclusive = sock:receiveuntil('!', { inclusive = true })
  ngx.say(inclusive(), '|', sock:receive '*a')
  ngx.say(tostring((sock:receive())), ' ', select(2, sock:receive()))
  local quiet = assert(ngx.socket.connect('127.0.0.1', tonumber(address 'TLS')))
  quiet:settimeout(10)
  ngx.say(select(2, quiet:receive()), ' ', select(2, ngx.socket.connect('127.0.0.1', 0)))
end

local case = cases[ngx.var.uri:sub(2)]
if not case then
  return ngx.exit(404)
end
case()
