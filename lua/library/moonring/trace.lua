---@meta moonring.trace

---W3C Trace Context.
---@class moonring.trace
local trace = {}

---@class moonring.TraceContext
---@field trace_id string 32 hexadecimal digits
---@field parent_id? string 16 hexadecimal digits, the span of the caller; nil in a new trace
---@field span_id string 16 hexadecimal digits, of this request
---@field sampled boolean
---@field flags integer
---@field traceparent string to pass on
---@field tracestate? string

---The parts of a traceparent field.
---@param text string
---@return {trace_id: string, parent_id: string, sampled: boolean, flags: integer}?
---@return string? problem
function trace.parse(text) end

---The trace of a request, with a span for this request: the same in each call.
---@param req moonring.Request
---@return moonring.TraceContext?
function trace.read(req) end

---The same, or a new trace if there is none.
---@param req moonring.Request
---@param sampled? boolean of a new trace (true)
---@return moonring.TraceContext
function trace.begin(req, sampled) end

return trace
