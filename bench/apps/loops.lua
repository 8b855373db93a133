-- Loops of a few instructions that LuaJIT compiles: /<kind>?<rounds>, to measure the cost per iteration.
local ffi = require 'ffi'

local band, bxor, byte = bit.band, bit.bxor, string.byte
local numbers, bytes, text = {}, ffi.new 'uint8_t[64]', ('moonring'):rep(8)
for i = 1, 64 do
  numbers[i] = i
end

local loops = {
  count = function(rounds)
    local i = 0
    while i < rounds do i = i + 1 end
    return i
  end,
  bxor = function(rounds)
    local x = 0
    for i = 1, rounds do x = bxor(x, i) end
    return x
  end,
  float = function(rounds)
    local x = 0
    for i = 1, rounds do x = x * 0.5 + i end
    return x
  end,
  array = function(rounds)
    local x = 0
    for i = 1, rounds do x = x + numbers[band(i, 63) + 1] end
    return x
  end,
  string = function(rounds)
    local x = 0
    for i = 1, rounds do x = x + byte(text, band(i, 63) + 1) end
    return x
  end,
  ffi = function(rounds)
    for i = 1, rounds do bytes[band(i, 63)] = band(i, 255) end
    return bytes[1]
  end,
}

function handle(req, res)
  local result = loops[req.path:sub(2)](tonumber(req.query))
  res:header('Content-Type', 'text/plain'):body(('%d\n'):format(result)):send()
end
