-- The app that the manifests serve until an overlay brings another handler.lua.

function handle(req, res)
  res:status(200):header('Content-Type', 'text/plain'):body('hello from a pod\n'):send()
end
