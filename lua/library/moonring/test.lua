---@meta moonring.test

---Tests of handlers: `moonring test` runs the cases of a file that requires it.
---@class moonring.test
local test = {}

---@class moonring.TestOptions
---@field method? string 'GET' by default
---@field path? string with the query
---@field headers? table<string, string|number|(string|number)[]>
---@field body? string
---@field json? any this value, as JSON, is the content

---@class moonring.TestResponse
---@field status integer
---@field headers table<string, string> by names in any case
---@field body string
---@field failure? string message and traceback of the error raised by the handler
local Response = {}

---The decoded JSON content; fails if it is not JSON.
---@return any
function Response:json() end

---@class moonring.TestApp
local App = {}

---Sends a request and waits for its response.
---@param options moonring.TestOptions
---@return moonring.TestResponse
function App:request(options) end

---@param path string
---@param options? moonring.TestOptions
---@return moonring.TestResponse
function App:get(path, options) end

---@param path string
---@param options? moonring.TestOptions
---@return moonring.TestResponse
function App:post(path, options) end

---@param path string
---@param options? moonring.TestOptions
---@return moonring.TestResponse
function App:put(path, options) end

---@param path string
---@param options? moonring.TestOptions
---@return moonring.TestResponse
function App:patch(path, options) end

---@param path string
---@param options? moonring.TestOptions
---@return moonring.TestResponse
function App:delete(path, options) end

---@param path string
---@param options? moonring.TestOptions
---@return moonring.TestResponse
function App:head(path, options) end

---@param path string
---@param options? moonring.TestOptions
---@return moonring.TestResponse
function App:options(path, options) end

---Loads a handler file; the path is relative to the calling file. Raises if it does not load.
---@param path string
---@return moonring.TestApp
function test.load(path) end

---A test: it fails if run() raises an error or takes longer than 10 s.
---@param name string
---@param run fun()
function test.case(name, run) end

---Fails unless they are the same value, or tables with equal members.
---@param found any
---@param expected any
function test.equal(found, expected) end

---Fails unless the text matches the pattern, as in string.find.
---@param text string
---@param pattern string
function test.match(text, pattern) end

---Fails unless run(...) raises an error that matches the pattern; returns the error.
---@param pattern string
---@param run function
---@param ... any
---@return any
function test.raises(pattern, run, ...) end

return test
