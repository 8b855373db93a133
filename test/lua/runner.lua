-- The handler loaded by test/native/exec/test_lua_modules.c: /suite responds with the names of the
-- cases in test/lua/suite.lua, one per line, and /suite/case runs one. A suite is a file that returns
-- a table of functions, which raise an error on failure.
local traceback = debug.traceback

local function names_of(suite)
  local names = {}
  for name in pairs(suite) do
    names[#names + 1] = name
  end
  table.sort(names)
  return table.concat(names, '\n')
end

function handle(req, res)
  local suite, case = req.url:match('^/([%w_]+)/?([%w_]*)$')
  local cases = require(suite)
  if case == '' then
    return res:body(names_of(cases)):send()
  end
  local ok, failure = xpcall(cases[case], traceback)
  res:status(ok and 200 or 500):body(ok and 'passed' or failure):send()
end
