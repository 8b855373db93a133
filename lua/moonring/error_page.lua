-- The response with --dev to an error of a handler, or while an app cannot be reloaded: where the error was
-- raised, the lines around it, the traceback and the request. HTML for browsers, with everything escaped and
-- no script; JSON or text for others. Without --dev nothing loads this module.
local api = require 'moonring.abi'
local failures = require 'moonring.failure'
local json = require 'moonring.json'
local members = require 'moonring.members'

local find, format, gmatch, gsub, lower, match, sub = string.find, string.format, string.gmatch,
  string.gsub, string.lower, string.match, string.sub
local concat, getinfo = table.concat, debug.getinfo
local ipairs, open, pcall, tonumber, tostring = ipairs, io.open, pcall, tonumber, tostring

local _M = {}

-- How many bytes of the error's text and of the request's content, lines around the error, and frames are
-- shown.
local TEXT_BYTES, BODY_BYTES, AROUND, FRAMES = 16384, 4096, 5, 64

local REJECTED = 'The app could not be reloaded. This is the response to every request until it can.'

local ESCAPES = { ['&'] = '&amp;', ['<'] = '&lt;', ['>'] = '&gt;', ['"'] = '&quot;',
  ["'"] = '&#39;' }

local function escape(text)
  return (gsub(text, '[&<>"\']', ESCAPES))
end

local function cut(text, most)
  return #text > most and sub(text, 1, most) .. '…' or text
end

-- ---- Where it was raised. ----

-- The active Lua functions, innermost first, as { path =, line = }: of `co`, which the error ended, or of the
-- caller's caller. Functions of the runtime are left out.
function _M.frames(co)
  local frames, level = {}, co and 0 or 3
  while #frames < FRAMES do
    local info = co and getinfo(co, level, 'Sl') or not co and getinfo(level, 'Sl')
    if not info then
      break
    end
    if sub(info.source, 1, 1) == '@' and not failures.is_own(info) then
      frames[#frames + 1] = { path = sub(info.source, 2), line = info.currentline,
        short = info.short_src }
    end
    level = level + 1
  end
  return frames
end

-- The file and line at the start of the message, whose path may be cut, else the innermost frame. For a
-- coroutine that has ended, LuaJIT does not know the line of that frame (it is -1).
local function place_of(message, frames)
  local short, line = match(message, '^([^\n]-):(%d+): ')
  for _, frame in ipairs(frames) do
    if frame.short == short then
      return { path = frame.path, line = tonumber(line) }
    end
  end
  for _, frame in ipairs(frames) do
    if frame.line > 0 then
      return frame
    end
  end
end

-- The full path for one that LuaJIT cut at the front: a file of the app, whose own path is `app`. nil if
-- there is none.
local function whole_path(short, app)
  local tail = match(short, '^%.%.%.(.*)$')
  if not tail then
    return short
  end
  local directory = match(app, '^(.*)/') or '.'
  for at in gmatch(tail, '()/') do
    local path = directory .. sub(tail, at)
    local file = sub(path, -#tail) == tail and open(path, 'r')
    if file then
      file:close()
      return path
    end
  end
end

-- The first file and line that a text with a traceback names, except the runtime's own.
local function place_in(text, app)
  for short, line in gmatch(text, '\n%s*([^\n]-):(%d+): ') do
    local path = not find(short, '/lua/moonring/', 1, true) and whole_path(short, app)
    if path then
      return { path = path, line = tonumber(line) }
    end
  end
end

-- The lines around the place in the current file: { number =, text =, is_it = }; {} if it cannot be read.
local function excerpt_of(place)
  local lines = {}
  local file = place and open(place.path, 'r')
  if not file then
    return lines
  end
  local number = 0
  for text in file:lines() do
    number = number + 1
    if number > place.line + AROUND then
      break
    elseif number >= place.line - AROUND then
      lines[#lines + 1] = { number = number, text = cut(text, 400), is_it = number == place.line }
    end
  end
  file:close()
  return lines
end

-- ---- The request. ----

local function request_of(req)
  local fields = {}
  for name, value in req:headers() do
    fields[#fields + 1] = { name = name, value = value }
  end
  -- Content that arrives while the handler runs is not waited for.
  local body = api.streams_content == 0 and req:body() or ''
  return { method = req.method, url = req.url, version = req.version, id = req.id, peer = req.peer,
    fields = fields, body = cut(body, BODY_BYTES) }
end

-- ---- Three ways to write it. `it`: message, place, excerpt, trace (lines), request, status; note, or
-- nil. ----

local STYLE = [[body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.3em;color:#b00020;white-space:pre-wrap;overflow-wrap:anywhere}h2{font-size:1em;margin:1.5em 0 .3em}
pre{background:#f5f5f7;padding:.8em 1em;overflow-x:auto;border-radius:6px;margin:0}
pre b{background:#ffd7dc;display:inline-block;min-width:100%}table{border-collapse:collapse}
td{padding:.1em 1em .1em 0;vertical-align:top;overflow-wrap:anywhere}td:first-child{white-space:nowrap;color:#666}
footer{margin-top:2em;color:#777}@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1f}
pre{background:#26262b}pre b{background:#5c1a24}h1{color:#ff7b8b}}]]

local function excerpt_html(lines)
  local out = {}
  for _, line in ipairs(lines) do
    local text = format('%5d  %s', line.number, escape(line.text))
    out[#out + 1] = line.is_it and '<b>' .. text .. '</b>' or text
  end
  return concat(out, '\n')
end

local function as_html(it)
  local request = it.request
  local out = { format('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    .. '<meta name="viewport" content="width=device-width"><title>%s</title><style>%s</style></head>'
    .. '<body>\n<h1>%s</h1>\n', escape(cut(match(it.message, '^[^\n]*'), 100)), STYLE,
    escape(it.message)) }
  if it.note then
    out[#out + 1] = format('<p>%s</p>\n', escape(it.note))
  end
  local function add(heading, html)
    out[#out + 1] = format('<h2>%s</h2>\n%s\n', heading, html)
  end
  if it.place then
    add(escape(format('%s:%d', it.place.path, it.place.line)),
      '<pre>' .. excerpt_html(it.excerpt) .. '</pre>')
  end
  if #it.trace > 0 then
    add('Traceback', '<pre>' .. escape(concat(it.trace, '\n')) .. '</pre>')
  end
  local rows = {}
  for _, field in ipairs(request.fields) do
    rows[#rows + 1] = format('<tr><td>%s</td><td>%s</td></tr>\n', escape(field.name),
      escape(field.value))
  end
  add(escape(request.method .. ' ' .. request.url), '<table>\n' .. concat(rows) .. '</table>')
  if request.body ~= '' then
    add('Content', '<pre>' .. escape(request.body) .. '</pre>')
  end
  out[#out + 1] = format('<footer>%d, request %s. This page is there because the server runs with '
    .. '--dev.</footer>\n</body></html>\n', it.status, escape(request.id))
  return 'text/html; charset=utf-8', concat(out)
end

local function list_json(values)
  local out = {}
  for i, value in ipairs(values) do
    out[i] = '    ' .. json.encode(value)
  end
  return #out == 0 and '[]' or '[\n' .. concat(out, ',\n') .. '\n  ]'
end

-- Problem details (RFC 9457) with members of ours, of one line each: curl shows them as they are.
local function as_json(it)
  local out = {}
  local function add(name, text)
    out[#out + 1] = format('  "%s": %s', name, text)
  end
  add('status', tostring(it.status))
  add('title', '"Internal Server Error"')
  add('detail', json.encode(it.message))
  if it.note then
    add('note', json.encode(it.note))
  end
  if it.place then
    add('file', json.encode(it.place.path))
    add('line', tostring(it.place.line))
  end
  local lines = {}
  for i, line in ipairs(it.excerpt) do
    lines[i] = format('%s %d  %s', line.is_it and '>' or ' ', line.number, line.text)
  end
  add('source', list_json(lines))
  add('traceback', list_json(it.trace))
  local request, fields = it.request, {}
  for i, field in ipairs(request.fields) do
    fields[i] = field.name .. ': ' .. field.value
  end
  add('request', json.encode(request.method .. ' ' .. request.url))
  add('requestId', json.encode(request.id))
  add('headers', list_json(fields))
  if request.body ~= '' then
    add('content', json.encode(request.body))
  end
  return 'application/problem+json', '{\n' .. concat(out, ',\n') .. '\n}\n'
end

local function as_text(it)
  local out = { it.message, '' }
  if it.note then
    out[#out + 1] = it.note .. '\n'
  end
  if it.place then
    out[#out + 1] = format('%s:%d', it.place.path, it.place.line)
    for _, line in ipairs(it.excerpt) do
      out[#out + 1] = format('%s %5d  %s', line.is_it and '>' or ' ', line.number, line.text)
    end
    out[#out + 1] = ''
  end
  out[#out + 1] = concat(it.trace, '\n')
  local request = it.request
  out[#out + 1] = format('\n%s %s (request %s)', request.method, request.url, request.id)
  for _, field in ipairs(request.fields) do
    out[#out + 1] = format('%s: %s', field.name, field.value)
  end
  if request.body ~= '' then
    out[#out + 1] = '\n' .. request.body
  end
  return 'text/plain; charset=utf-8', concat(out, '\n') .. '\n'
end

-- By what the client accepts; `standard` is for clients that accept anything, like curl.
local function writer_for(req, standard)
  local accept = lower(concat(req:header_values 'Accept', ','))
  if find(accept, 'text/html', 1, true) then
    return as_html
  elseif find(accept, 'json', 1, true) then
    return as_json
  end
  return standard
end

-- `it`: text, its message with the traceback; place_of(message), status, note.
local function respond(req, res, it, is_json)
  local message, trace = match(it.text, '^(.-)\nstack traceback:\n(.*)$')
  local lines = {}
  for line in gmatch(trace or '', '[^\n]+') do
    lines[#lines + 1] = match(line, '^%s*(.*)$')
  end
  message = cut(message or it.text, TEXT_BYTES)
  local place = it.place_of(message)
  local kind, body = writer_for(req, is_json and as_json or as_text) {
    message = message, place = place, excerpt = excerpt_of(place), trace = lines,
    request = request_of(req), status = it.status, note = it.note,
  }
  res:reset():status(it.status):header('Content-Type', kind):header('Cache-Control', 'no-store')
    :header('X-Content-Type-Options', 'nosniff')
    :header('Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'")
    :body(body)
end

-- Builds the response to an error, and does not send it: `text` is its message with the traceback,
-- `frames` what frames() has given. `is_json`: clients that accept anything get JSON, not text. False if this
-- is not possible, because the response was already sent.
function _M.build(req, res, error_, is_json)
  return (pcall(respond, req, res, { text = error_.text, status = error_.status,
    place_of = function(message)
      return place_of(message, error_.frames)
    end }, is_json))
end

-- Builds the response to every request after a rejected reload of the app at the path `app`, until one is
-- accepted.
function _M.build_rejected(req, res, reason, app)
  respond(req, res, { text = reason, status = 500, note = REJECTED, place_of = function()
    return place_in('\n' .. reason, app)
  end })
end

return members.strict(_M, 'moonring.error_page')
