-- A file that defines no function handle(req, res).
handler = function(_, res)
  res:send()
end
