-- The content of a request without its content coding (RFC 9110 §8.4): req:decoded_body. The decoded size is
-- bounded twice, by a number of bytes and by the ratio in http/hs_inflate.h.
local ffi = require 'ffi'
local api = require 'moonring.http_api'

local cast, ffi_gc, ffi_string = ffi.cast, ffi.gc, ffi.string
local concat, format, lower = table.concat, string.format, string.lower
local error, tonumber = error, tonumber

local _M = {}

-- Outcomes of http/hs_inflate.h, and its format.
local TAKEN_ALL, MADE_SOME, MALFORMED, RATIO = 0, 1, 2, 3
local RATIO_MAX = 256
local GZIP = 0
local chars_t = ffi.typeof 'const char *'

local function inflate(decoder, data, most)
  local out, size, at = {}, 0, 0
  while true do
    local outcome = api.decoder_next(decoder, cast(chars_t, data) + at, #data - at)
    at = at + tonumber(decoder.taken)
    if outcome == MADE_SOME then
      size = size + tonumber(decoder.out_len)
      if size > most then
        return nil, format('the content is more than %d bytes', most), 413
      end
      out[#out + 1] = ffi_string(decoder.out, decoder.out_len)
    elseif outcome == MALFORMED then
      return nil, 'the content is malformed: it is not gzip', 400
    elseif outcome == RATIO then
      return nil, format('the content is more than %d times what was sent', RATIO_MAX), 413
    elseif outcome ~= TAKEN_ALL then
      error('not enough memory', 0)
    elseif api.decoder_is_complete(decoder) == 0 then
      return nil, 'the content is incomplete: its gzip ends too early', 400
    else
      return concat(out)
    end
  end
end

-- Decodes the content `body`, sent with the Content-Encoding `coding` ('': none), to at most `most` bytes;
-- nil, what is wrong, and the matching status.
function _M.decode(body, coding, most)
  local name = lower(coding)
  if name == '' or name == 'identity' then
    if #body > most then
      return nil, format('the content is more than %d bytes', most), 413
    end
    return body
  elseif name ~= 'gzip' and name ~= 'x-gzip' then
    return nil, format('Content-Encoding %s is not supported: gzip is', coding), 415
  end
  local decoder = api.decoder_new(GZIP)
  if decoder == nil then
    error('not enough memory', 0)
  end
  decoder = ffi_gc(decoder, api.decoder_free)
  local text, problem, status = inflate(decoder, body, most)
  api.decoder_free(ffi_gc(decoder, nil)) -- 72 KiB that the collector does not see
  return text, problem, status
end

return _M
