-- For bench/compression.mjs: JSON of /?<kilobytes>, built once.
local ready = {}

function handle(req, res)
  local text = ready[req.query]
  if not text then
    local rows, size, seed = {}, 2, 1
    while size < tonumber(req.query) * 1024 do
      seed = (seed * 16807) % 2147483647
      local row = ('{"id":%d,"name":"item %x","price":%d.%02d,"tags":["%s","sale"],"in_stock":%s}'):format(
        #rows + 1, seed % 4096, seed % 900, seed % 100, seed % 3 == 0 and 'new' or 'classic',
        tostring(seed % 2 == 0))
      rows[#rows + 1] = row
      size = size + #row + 1
    end
    text = '[' .. table.concat(rows, ',') .. ']'
    ready[req.query] = text
  end
  res:header('Content-Type', 'application/json'):body(text):send()
end
