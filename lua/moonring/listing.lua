-- The page that lists a directory (moonring.static with listing = true). File names are not trusted: they are
-- escaped for HTML and for URLs, and the page runs no script.
local members = require 'moonring.members'
local percent = require 'moonring.percent'

local format, gmatch, gsub = string.format, string.gmatch, string.gsub
local concat, sort = table.concat, table.sort
local ipairs, tonumber, date = ipairs, tonumber, os.date

local _M = {}

local ESCAPES = { ['&'] = '&amp;', ['<'] = '&lt;', ['>'] = '&gt;', ['"'] = '&quot;',
  ["'"] = '&#39;' }
local UNITS = { 'B', 'KiB', 'MiB', 'GiB', 'TiB' }

local function escape(text)
  return (gsub(text, '[&<>"\']', ESCAPES))
end

local function size_text(size)
  local unit = 1
  while size >= 1024 and unit < #UNITS do
    size, unit = size / 1024, unit + 1
  end
  return format(unit == 1 and '%d %s' or '%.1f %s', size, UNITS[unit])
end

-- Directories first, then by name.
local function comes_before(a, b)
  if a.kind ~= b.kind then
    return a.kind == 'd'
  end
  return a.name < b.name
end

local HEAD = [[<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>%s</title><style>body{font:15px/1.6 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em}
table{width:100%%;border-collapse:collapse}td{padding:.1em .6em .1em 0}td+td{text-align:right;white-space:nowrap;color:#777}
a{text-decoration:none}a:hover{text-decoration:underline}</style></head><body><h1>%s</h1><table>
]]

-- `text`: the output of hs_static_list.
function _M.page(path, text, is_whole)
  local entries = {}
  for kind, size, modified, name in gmatch(text, '(%a) (%d+) (%-?%d+) (%Z+)%z') do
    entries[#entries + 1] = { kind = kind, size = tonumber(size), modified = tonumber(modified),
      name = name }
  end
  sort(entries, comes_before)
  local title = escape(percent.decode(path) or path)
  local out = { format(HEAD, title, title) }
  if path ~= '/' then
    out[#out + 1] = '<tr><td><a href="../">../</a></td><td></td><td></td></tr>\n'
  end
  for _, entry in ipairs(entries) do
    local is_directory = entry.kind == 'd'
    local slash = is_directory and '/' or ''
    -- "./" keeps a name with a colon from being read as a scheme.
    out[#out + 1] = format('<tr><td><a href="./%s%s">%s%s</a></td><td>%s</td><td>%s</td></tr>\n',
      percent.encode(entry.name), slash, escape(entry.name), slash,
      is_directory and '' or size_text(entry.size), date('!%Y-%m-%d %H:%M', entry.modified))
  end
  out[#out + 1] = '</table>\n'
  if not is_whole then
    out[#out + 1] = format('<p>Only %d entries are shown.</p>\n', #entries)
  end
  out[#out + 1] = '</body></html>\n'
  return concat(out)
end

function _M.send(req, res, text, is_whole)
  return res:header('Content-Type', 'text/html; charset=utf-8')
    :header('Cache-Control', 'no-cache')
    :header('Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'")
    :header('X-Content-Type-Options', 'nosniff')
    :body(_M.page(req.path, text, is_whole)):send()
end

return members.strict(_M, 'moonring.listing')
