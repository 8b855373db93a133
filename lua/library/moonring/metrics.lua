---@meta moonring.metrics

---Metrics of the application, shown in /metrics, summed over all processes.
---@class moonring.metrics
local metrics = {}

---@alias moonring.LabelValue string|number|boolean

---@class moonring.MetricOptions
---@field labels? string[] names, at most 4
---@field max_series? integer combinations of values of the labels; further ones count as `_other` (100)

---@class moonring.HistogramOptions: moonring.MetricOptions
---@field buckets? number[] upper bounds in rising order, at most 24 (0.005 to 10)

---@class moonring.Counter
local Counter = {}

---@param n? number not negative (1)
---@param ... moonring.LabelValue of the labels in their order
function Counter:inc(n, ...) end

---@class moonring.Gauge
local Gauge = {}

---The value in this process.
---@param n number
---@param ... moonring.LabelValue
function Gauge:set(n, ...) end

---@param n? number (1)
---@param ... moonring.LabelValue
function Gauge:inc(n, ...) end

---@param n? number (1)
---@param ... moonring.LabelValue
function Gauge:dec(n, ...) end

---@class moonring.Histogram
local Histogram = {}

---@param n number
---@param ... moonring.LabelValue
function Histogram:observe(n, ...) end

---@param name string ends in _total
---@param help string
---@param options? moonring.MetricOptions
---@return moonring.Counter
function metrics.counter(name, help, options) end

---@param name string
---@param help string
---@param options? moonring.MetricOptions
---@return moonring.Gauge
function metrics.gauge(name, help, options) end

---@param name string
---@param help string
---@param options? moonring.HistogramOptions
---@return moonring.Histogram
function metrics.histogram(name, help, options) end

return metrics
