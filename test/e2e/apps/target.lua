-- Responds with the request target, so that the order of the responses is visible.
function handle(req, res)
  res:status(200):header('Content-Type', 'text/plain'):body(req.url):send()
end
