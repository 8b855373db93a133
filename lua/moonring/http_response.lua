-- A response of moonring.http as it arrives: head, content, and what happens to the connection. Compressed
-- content is decoded here on request.
-- Copies are avoided where possible: a string from the socket that is all content is passed on unchanged.
local ffi = require 'ffi'
local api = require 'moonring.http_api'
local scheduler = require 'moonring.scheduler'

local cast, ffi_gc, ffi_string = ffi.cast, ffi.gc, ffi.string
local find, gmatch, gsub = string.find, string.gmatch, string.gsub
local lower, match, sub, concat = string.lower, string.match, string.sub, table.concat
local error, pcall, setmetatable, tonumber, type = error, pcall, setmetatable, tonumber, type
local now = scheduler.now

-- Outcomes of http/hs_parse_response.h.
local NEED_MORE, HEAD, COMPLETE = 0, 1, 2
local LENGTH_UNKNOWN = cast('uint64_t', cast('int64_t', -1))

-- Outcomes of http/hs_inflate.h, and the formats' names in Content-Encoding.
local DECODED_ALL, DECODED_SOME = 0, 1
local DECODER_ERRORS = { [2] = 'corrupt compressed content',
  [3] = 'compressed content inflates too much', [4] = 'out of memory' }
local FORMATS = { gzip = 0, ['x-gzip'] = 0, deflate = 1 }

-- Parsers that wait for their next response.
local IDLE_MAX = 64
local chars_t = ffi.typeof 'const char *'

local idle, idle_count = {}, 0

local function take_parser()
  if idle_count == 0 then
    local parser = api.reply_new()
    if parser == nil then
      error('not enough memory', 0)
    end
    return ffi_gc(parser, api.reply_free)
  end
  local parser = idle[idle_count]
  idle[idle_count] = nil
  idle_count = idle_count - 1
  return parser
end

local function give_parser(parser)
  if idle_count < IDLE_MAX then
    idle_count = idle_count + 1
    idle[idle_count] = parser
  end
end

local _M = {}

-- A response, as handlers have it:
--   status, url
--   _head      "reason\n" and "name:value\n" for each field
--   _exchange  the connection and the parser, until the content has arrived or is given up
--   _piece     content that has arrived with the head
--   _error     why there is no more content
--   _decoder   of compressed content; _coded and _coded_at: what it is given, how much it has taken
local methods = {}

-- What an exchange is made of:
--   sock, parser
--   read_timeout, deadline   seconds; when all must be over, nil: never
--   data, at                 bytes received and how many of them have been parsed
--   has_begun                a byte of the response has arrived
--   is_sent                  the request has been sent to its end
--   sender                   the task that sends it, if one does
function _M.begin(sock, is_to_head, read_timeout, deadline)
  local parser = take_parser()
  api.reply_begin(parser, is_to_head and 1 or 0)
  return { sock = sock, parser = parser, read_timeout = read_timeout, deadline = deadline,
    data = '', at = 0, has_begun = false, is_sent = false }
end

-- Ends an unfinished exchange: nothing else may use its connection.
function _M.break_off(exchange)
  local sender, parser = exchange.sender, exchange.parser
  if not parser then
    return
  end
  exchange.parser = nil
  give_parser(parser)
  exchange.sock:close()
  if sender then
    exchange.sender = nil
    sender:cancel()
  end
end

-- The response is complete: the connection goes back to the pool if it may carry another request.
local function finish(exchange)
  local parser = exchange.parser
  local is_reusable = parser.reusable ~= 0 and exchange.is_sent and exchange.at == #exchange.data
  if not is_reusable then
    return _M.break_off(exchange)
  end
  exchange.parser = nil
  give_parser(parser)
  exchange.sock:setkeepalive()
end

-- Receives the next bytes; nil and an error.
local function receive(exchange)
  local sock, seconds = exchange.sock, exchange.read_timeout
  local is_total = false
  if exchange.deadline then
    local left = exchange.deadline - now()
    if left <= 0 then
      return nil, 'timeout'
    end
    is_total = not seconds or left < seconds
    seconds = is_total and left or seconds
    sock:settimeouts(nil, nil, seconds)
  end
  local data, problem = sock:receive 'any'
  if not data then
    return nil, problem == 'timeout' and not is_total and 'read timeout' or problem
  end
  exchange.data, exchange.at, exchange.has_begun = data, 0, true
  return true
end

-- Parses the next received bytes; the outcome.
local function parse(exchange)
  local parser, data, at = exchange.parser, exchange.data, exchange.at
  local outcome = api.reply_next(parser, cast(chars_t, data) + at, #data - at)
  exchange.at = at + tonumber(parser.taken)
  return outcome
end

-- The content found by the last call of parse().
local function content_of(exchange)
  local parser, data = exchange.parser, exchange.data
  local length = tonumber(parser.content_len)
  if length == 0 then
    return nil
  elseif length == #data and parser.content == cast(chars_t, data) then
    return data
  end
  return ffi_string(parser.content, length)
end

-- nil if the content ends with the connection, else an error.
local function problem_of_end(exchange)
  local outcome = api.reply_end(exchange.parser)
  if outcome ~= COMPLETE then
    return exchange.send_error or ffi_string(api.refusal_name(outcome))
  end
  return exchange.sock:truncated() and 'truncated response' or nil
end

-- The next piece of content as received: a string; nil at the end; nil and an error.
local function next_piece(exchange)
  while true do
    if exchange.at == #exchange.data then
      local ok, problem = receive(exchange)
      if not ok then
        if problem == 'closed' then
          problem = problem_of_end(exchange)
        end
        _M.break_off(exchange)
        return nil, problem
      end
    end
    local outcome = parse(exchange)
    if outcome > COMPLETE then
      _M.break_off(exchange)
      return nil, ffi_string(api.refusal_name(outcome))
    end
    local piece = content_of(exchange)
    if outcome == COMPLETE then
      finish(exchange)
    end
    if piece or outcome == COMPLETE then
      return piece
    end
  end
end

-- Sets up decoding of compressed content, if the format is known. The fields that describe the coding are
-- removed, since they do not apply to what handlers see.
local function decode_content(response)
  local head = response._head
  local coding, behind = match(head, '\ncontent%-encoding:([^\n]*)()')
  local format = coding and FORMATS[lower(coding)]
  if not format or find(head, '\ncontent-encoding:', behind, true) then
    return
  end
  local decoder = api.decoder_new(format)
  if decoder == nil then
    error('not enough memory', 0)
  end
  response._decoder = ffi_gc(decoder, api.decoder_free)
  response._coded, response._coded_at, response._length = '', 0, nil
  head = gsub(head, '\ncontent%-encoding:[^\n]*', '')
  response._head = gsub(head, '\ncontent%-length:[^\n]*', '')
end

-- Receives the head, and any content that came with it. The response; nil and an error.
function _M.read_head(exchange, response, decompress)
  local parser = exchange.parser
  local outcome = NEED_MORE
  while outcome == NEED_MORE do
    local ok, problem = receive(exchange)
    if not ok then
      if problem == 'closed' and exchange.has_begun then
        problem = 'truncated response'
      end
      return nil, problem
    end
    outcome = parse(exchange)
  end
  if outcome ~= HEAD then
    return nil, ffi_string(api.refusal_name(outcome))
  end
  response.status = parser.status
  response._head = ffi_string(parser.head, parser.head_len)
  if parser.content_length ~= LENGTH_UNKNOWN then
    response._length = tonumber(parser.content_length)
  end
  if decompress then
    decode_content(response)
  end
  outcome = parse(exchange)
  if outcome > COMPLETE then
    return nil, ffi_string(api.refusal_name(outcome))
  end
  response._piece = content_of(exchange)
  if outcome == COMPLETE then
    finish(exchange)
  else
    response._exchange = exchange
  end
  return response
end

-- The value of the field, `name` in lower case; nil: there is none. Repeated fields are joined with ", " (RFC
-- 9110 §5.3); Set-Cookie, which cannot be joined, gives the first.
local function value_of(head, name)
  local line = '\n' .. name .. ':'
  local value
  local _, at = find(head, line, 1, true)
  while at do
    local line_end = find(head, '\n', at + 1, true)
    local text = sub(head, at + 1, line_end - 1)
    value = value and value .. ', ' .. text or text
    if name == 'set-cookie' then
      return value
    end
    _, at = find(head, line, line_end, true)
  end
  return value
end

local headers_type = {
  __index = function(headers, name)
    return type(name) == 'string' and value_of(headers[1], lower(name)) or nil
  end,
}

-- for name, value in res:fields() do: all fields in order, names in lower case.
function methods.fields(response)
  return gmatch(match(response._head, '\n(.*)'), '([^:]+):([^\n]*)\n')
end

-- All values of the fields with this name, in order.
function methods.values(response, name)
  name = lower(name)
  local values = {}
  for found, value in methods.fields(response) do
    if found == name then
      values[#values + 1] = value
    end
  end
  return values
end

-- The response's error for an error of the connection.
local function fail(response, problem)
  response._exchange, response._piece, response._error = nil, nil, problem
  return nil, problem
end

-- The next piece before it is decoded.
local function read_coded(response)
  local piece = response._piece
  if piece then
    response._piece = nil
    return piece
  end
  local exchange = response._exchange
  if not exchange then
    return nil, response._error
  end
  local ok, problem
  ok, piece, problem = pcall(next_piece, exchange)
  if not ok then
    _M.break_off(exchange)
    fail(response, 'aborted')
    error(piece, 0)
  end
  if not exchange.parser then
    response._exchange = nil
  end
  if problem then
    return fail(response, problem)
  end
  return piece
end

local function end_decoding(response)
  api.decoder_free(ffi_gc(response._decoder, nil))
  response._decoder, response._coded = nil, nil
end

-- The next piece after it is decoded.
local function read_decoded(response)
  local decoder = response._decoder
  while true do
    local data, at = response._coded, response._coded_at
    local outcome = api.decoder_next(decoder, cast(chars_t, data) + at, #data - at)
    response._coded_at = at + tonumber(decoder.taken)
    if outcome == DECODED_SOME then
      return ffi_string(decoder.out, decoder.out_len)
    elseif outcome ~= DECODED_ALL then
      end_decoding(response)
      methods.close(response)
      return fail(response, DECODER_ERRORS[outcome])
    end
    local piece, problem = read_coded(response)
    if not piece then
      local is_complete = api.decoder_is_complete(decoder) ~= 0
      end_decoding(response)
      if not problem and not is_complete then
        return fail(response, 'truncated response')
      end
      return nil, problem
    end
    response._coded, response._coded_at = piece, 0
  end
end

-- The next piece of content; nil at its end; nil and an error.
function methods.read(response)
  if response._decoder then
    return read_decoded(response)
  end
  return read_coded(response)
end

-- Discards content that has not arrived: the connection is closed.
function methods.close(response)
  local exchange = response._exchange
  if exchange then
    _M.break_off(exchange)
  end
  if exchange or response._piece or response._decoder then
    fail(response, 'closed')
  end
  if response._decoder then
    end_decoding(response)
  end
end

-- The whole content; nil and an error. Only once, and without pieces already returned by chunks() or read().
function methods.body(response)
  local body = response._body
  if body then
    return body
  end
  local limit = response._max_body
  local pieces, count, total = {}, 0, 0
  local has_length = response._length and response._exchange
  if has_length and response._length > limit then
    methods.close(response)
    return fail(response, 'response too large')
  end
  while true do
    local piece, problem = methods.read(response)
    if problem then
      return nil, problem
    elseif not piece then
      break
    end
    total = total + #piece
    if total > limit then
      methods.close(response)
      return fail(response, 'response too large')
    end
    count = count + 1
    pieces[count] = piece
  end
  body = count == 1 and pieces[1] or concat(pieces)
  response._body = body
  return body
end

local function next_chunk(response)
  local piece, problem = methods.read(response)
  if problem then
    error('response of ' .. response.url .. ': ' .. problem, 2)
  end
  return piece
end

-- for chunk in res:chunks() do: the content as it arrives. Raises when it cannot be read to its end.
function methods.chunks(response)
  return next_chunk, response
end

local response_type = {
  __index = function(response, key)
    local method = methods[key]
    if method then
      return method
    elseif key == 'headers' then
      local headers = setmetatable({ response._head }, headers_type)
      response.headers = headers
      return headers
    elseif key == 'reason' then
      return match(response._head, '^[^\n]*')
    end
    return nil
  end,
}

function _M.new(address, max_body)
  return setmetatable({ url = address, _max_body = max_body }, response_type)
end

return _M
