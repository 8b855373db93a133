-- Computes what test/e2e/crypto-agrees-with-node.test.ts asks for.
local crypto, json = moonring.crypto, moonring.json

function handle(req, res)
  local orders = json.decode(req:body())
  local results = {}
  for i, order in ipairs(orders) do
    local data = crypto.base64_decode(order.data)
    local result
    if order.key then
      result = crypto.hmac(order.algorithm, crypto.base64_decode(order.key), data, order.encoding)
    elseif order.algorithm then
      result = crypto[order.algorithm](data, order.encoding)
    else
      result = crypto[order.encoding .. '_encode'](data)
      assert(crypto[order.encoding .. '_decode'](result) == data)
    end
    results[i] = result
  end
  json.send(res, results)
end
