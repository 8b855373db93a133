-- /stuck never comes back; everything else answers at once.
function handle(req, res)
  if req.url == "/stuck" then
    while true do end
  end
  res:body("ok")
  res:send()
end
