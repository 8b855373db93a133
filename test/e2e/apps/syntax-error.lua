-- The closing bracket of the parameters is missing.
function handle(req, res
  res:send()
end
