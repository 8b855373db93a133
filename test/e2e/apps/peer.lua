-- The peer, and the client it forwards for.
function handle(req, res)
  res:body(('%s for %s'):format(req.peer, req:trusted_peer())):send()
end
