-- The scanned app: it sets the fields that scanners expect of an app, so that all findings are about TLS.
function handle(req, res)
  res:header('Content-Type', 'text/plain'):header('X-Content-Type-Options', 'nosniff')
  res:header('Content-Security-Policy', "default-src 'none'"):header('X-Frame-Options', 'DENY')
  res:header('Referrer-Policy', 'no-referrer'):body('hello, world\n')
end
