-- Writes to standard output and standard error, bypassing the log.
function handle(req, res)
  if req.path == '/io' then
    io.write('half a line, ')
    io.write('and the rest\n')
  elseif req.path == '/shell' then
    os.execute('echo from a program')
  elseif req.path == '/endless' then
    local chunk = ('x'):rep(1024 * 1024)
    for _ = 1, 256 do
      io.stderr:write(chunk)
    end
    io.stderr:write('\n')
  end
  res:body('done')
end
