-- /stuck never returns; all other paths respond at once.
function handle(req, res)
  if req.url == "/stuck" then
    while true do end
  end
  res:body("ok")
  res:send()
end
