-- Every mistake that a handler can make, chosen by the path.
local kept_req, kept_res

local function outcome(name, call)
  local ok, message = pcall(call)
  local one_line = string.gsub(tostring(message), '%c', '?')
  return name .. ': ' .. (ok and 'no error' or 'error: ' .. one_line) .. '\n'
end

local bad_headers = {
  { 'X-Bad', 'a\r\nX-Injected: 1' },
  { 'X-Bad', 'a\rb' },
  { 'X-Bad', 'a\nb' },
  { 'X-Bad', 'a\0b' },
  { 'X-Bad\r\nX-Injected', '1' },
  { 'X-Bad\n', '1' },
  { 'X-Bad\0', '1' },
  { 'X Bad', '1' },
  { 'X-Bad:', '1' },
  { '', '1' },
}

local function raise()
  error('raised on purpose') -- here it is raised
end

local mistakes = {
  ['/raise'] = function()
    raise()
  end,

  ['/raise-table'] = function()
    error({ reason = 'not a string' })
  end,

  ['/raise-after-send'] = function(_, res)
    res:status(200):body('sent'):send()
    error('raised after send')
  end,

  ['/send-twice'] = function(_, res)
    res:status(200):body('first'):send()
    res:status(201):body('second'):send() -- here it is sent again
  end,

  ['/never'] = function() end,

  ['/never-but-built'] = function(_, res)
    res:status(201):body('built')
  end,

  ['/keep'] = function(req, res)
    kept_req, kept_res = req, res
    res:status(200):body('kept'):send()
  end,

  ['/late'] = function(_, res)
    local lines = {
      outcome('method', function() return kept_req.method end),
      outcome('url', function() return kept_req.url end),
      outcome('header', function() return kept_req:header('Host') end),
      outcome('body', function() return kept_req:body() end),
      outcome('status', function() return kept_res:status(200) end),
      outcome('set header', function() return kept_res:header('X-Late', '1') end),
      outcome('set body', function() return kept_res:body('late') end),
      outcome('send', function() return kept_res:send() end),
    }
    res:status(200):body(table.concat(lines)):send()
  end,

  ['/late-unprotected'] = function(_, res)
    res:body(kept_req.url):send() -- here it is too late
  end,

  ['/bad-header'] = function(_, res)
    res:status(200):header('X-Bad', 'a\r\nX-Injected: 1'):body('sent'):send()
  end,

  ['/bad-headers'] = function(_, res)
    local lines = {}
    for i, pair in ipairs(bad_headers) do
      lines[i] = outcome(tostring(i), function()
        res:header(pair[1], pair[2])
      end)
    end
    res:status(200):header('X-Good', 'yes'):body(table.concat(lines)):send()
  end,

  ['/bad-status'] = function(_, res)
    res:status(99):body('sent'):send()
  end,

  ['/bad-body'] = function(_, res)
    res:status(200):body({}):send()
  end,
}

function handle(req, res)
  local mistake = mistakes[req.path]
  if mistake then
    return mistake(req, res)
  end
  res:status(200):body('fine'):send()
end
