---@meta moonring.router

---@class moonring.router
local router = {}

---@alias moonring.Params table<string, string>
---@alias moonring.Req moonring.Request
---@alias moonring.Run fun(req: moonring.Req, res: moonring.Response, params: moonring.Params): any

---Routes and hooks, until handler() is called. A pattern is a path; `:name` stands for a segment
---and `*name`, at the end, for all that is left. What is wrong with a call raises at its line.
---@class moonring.App
local App = {}

---A method by its name, in upper case.
---@param method string
---@param pattern string
---@param run moonring.Run
---@return moonring.App
function App:route(method, pattern, run) end

---The methods that the pattern has no function for.
---@param pattern string
---@param run moonring.Run
---@return moonring.App
function App:any(pattern, run) end

---HEAD too, unless it has a function of its own.
---@param pattern string
---@param run moonring.Run
---@return moonring.App
function App:get(pattern, run) end

---@param pattern string
---@param run moonring.Run
---@return moonring.App
function App:post(pattern, run) end

---@param pattern string
---@param run moonring.Run
---@return moonring.App
function App:put(pattern, run) end

---@param pattern string
---@param run moonring.Run
---@return moonring.App
function App:patch(pattern, run) end

---@param pattern string
---@param run moonring.Run
---@return moonring.App
function App:delete(pattern, run) end

---@param pattern string
---@param run moonring.Run
---@return moonring.App
function App:head(pattern, run) end

---Without it the router answers, with Allow.
---@param pattern string
---@param run moonring.Run
---@return moonring.App
function App:options(pattern, run) end

---Runs before the function of every route; what it returns, unless nil, ends the request there.
---@param hook moonring.Run
---@return moonring.App
function App:before(hook) end

---Answers paths that no route has.
---@param run fun(req: moonring.Request, res: moonring.Response): any
---@return moonring.App
function App:not_found(run) end

---The function for the global `handle`.
---@return fun(req: moonring.Request, res: moonring.Response): any
function App:handler() end

---@return moonring.App
function router.new()
  return App
end

return router
