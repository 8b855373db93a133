-- The smallest app. Run it with:
--   node dist/master.js --processes 2 examples/hello.lua

function handle(req, res)
  res:status(200):header('Content-Type', 'text/plain'):body('hello, world\n'):send()
end
