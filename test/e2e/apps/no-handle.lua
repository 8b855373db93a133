-- A file that defines no global function handle(req, res).
handler = function(_, res)
  res:send()
end
