-- GET /page: 20 KiB of HTML. GET /large: 1 MiB. POST /echo: the content.
local page = ('<p>twenty kilobytes</p>'):rep(1000):sub(1, 20 * 1024)
local large = ('x'):rep(1024 * 1024)

function handle(req, res)
  local url = req.url
  if url == '/page' then
    res:header('Content-Type', 'text/html'):body(page):send()
  elseif url == '/large' then
    res:header('Content-Type', 'text/plain'):body(large):send()
  else
    res:header('Content-Type', 'text/plain'):body(req:body()):send()
  end
end
