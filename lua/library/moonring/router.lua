---@meta moonring.router

---@class moonring.router
local router = {}

---@alias moonring.Params table<string, string>
---@alias moonring.Req moonring.Request
---@alias moonring.Run fun(req: moonring.Req, res: moonring.Response, params: moonring.Params): any

---Routes and hooks, until the app's handler() is called. A pattern is a path; `:name` matches a segment and
---`*name`, at the end, all that remain. Mistakes raise an error at the line of the call.
---@class moonring.Group
local Group = {}

---@class moonring.App : moonring.Group
local App = {}

---A method by name, in upper case.
---@param method string
---@param pattern string
---@param run moonring.Run
---@return self
function Group:route(method, pattern, run) end

---All methods for which the pattern has no function.
---@param pattern string
---@param run moonring.Run
---@return self
function Group:any(pattern, run) end

---Also HEAD, unless it has its own function.
---@param pattern string
---@param run moonring.Run
---@return self
function Group:get(pattern, run) end

---@param pattern string
---@param run moonring.Run
---@return self
function Group:post(pattern, run) end

---@param pattern string
---@param run moonring.Run
---@return self
function Group:put(pattern, run) end

---@param pattern string
---@param run moonring.Run
---@return self
function Group:patch(pattern, run) end

---@param pattern string
---@param run moonring.Run
---@return self
function Group:delete(pattern, run) end

---The files below a directory (moonring.static), at the paths that begin with `prefix`.
---@param prefix string '' or '/assets'
---@param root string
---@param options? moonring.StaticOptions
---@return self
function Group:static(prefix, root, options) end

---@param pattern string
---@param run moonring.Run
---@return self
function Group:head(pattern, run) end

---Without it the router responds, with Allow.
---@param pattern string
---@param run moonring.Run
---@return self
function Group:options(pattern, run) end

---Runs before the function of every route of the group, which it may replace: if it returns anything but nil,
---the function does not run and the handler returns that value. It may wait.
---@param hook moonring.Run
---@return self
function Group:before(hook) end

---Runs after the function of every route of the group, or what ran instead of it. It may wait.
---@param hook fun(req: moonring.Request, res: moonring.Response, params: moonring.Params)
---@return self
function Group:after(hook) end

---Routes whose patterns begin with `prefix`; the group's hooks run inside those around it.
---@param prefix string
---@return moonring.Group
function Group:group(prefix) end

---Handles paths that match no route.
---@param run fun(req: moonring.Request, res: moonring.Response): any
---@return moonring.App
function App:not_found(run) end

---Responds when a route or a hook raised `failure`; `trace` is its text with the traceback.
---@param run fun(req: moonring.Request, res: moonring.Response, failure: any, trace: string): any
---@return moonring.App
function App:on_error(run) end

---The function for the global `handle`.
---@return fun(req: moonring.Request, res: moonring.Response): any
function App:handler() end

---@class moonring.RouterOptions
---@field errors? 'text'|'json' how the router writes its own error responses

---@param options? moonring.RouterOptions
---@return moonring.App
function router.new(options)
  return App
end

return router
