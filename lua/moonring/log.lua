-- The server's log from a handler: log.info('text'), also debug, warn and error. One record a call.
local api = require 'moonring.abi'
local members = require 'moonring.members'

local tostring = tostring

local DEBUG, INFO, WARN, ERROR = 0, 1, 2, 3

local _M = {}

local function writer(level)
  return function(text)
    text = tostring(text)
    api.log_write(api.log, level, text, #text)
  end
end

_M.debug = writer(DEBUG)
_M.info = writer(INFO)
_M.warn = writer(WARN)
_M.error = writer(ERROR)

return members.strict(_M, 'moonring.log')
