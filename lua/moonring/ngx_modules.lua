-- The modules of lua-resty-core that OpenResty's libraries require: those of resty.core are empty, because
-- what they replace already exists; those of `ngx.*` wrap ours.
local api = require 'moonring.abi'
local log = require 'moonring.log'
local regex = require 'moonring.ngx_regex'
local request = require 'moonring.ngx_request'
local response = require 'moonring.ngx_response'
local tasks = require 'moonring.ngx_tasks'
local text = require 'moonring.ngx_text'
local ffi = require 'ffi'

local error, ipairs, pairs, pcall, require, type = error, ipairs, pairs, pcall, require, type

local _M = {}

local VERSION = '0.1.32'

local EMPTY = { 'resty.core', 'resty.core.base64', 'resty.core.coroutine', 'resty.core.ctx',
  'resty.core.exit', 'resty.core.hash', 'resty.core.misc', 'resty.core.ndk', 'resty.core.param',
  'resty.core.phase', 'resty.core.regex', 'resty.core.request', 'resty.core.response',
  'resty.core.shdict', 'resty.core.socket', 'resty.core.time', 'resty.core.uri', 'resty.core.utils',
  'resty.core.var', 'resty.core.worker' }

local function new_tab()
  return {}
end

-- The functions of resty.core.base that libraries use.
local function base()
  local ok, of_luajit = pcall(require, 'table.new')
  local has_clear, clear = pcall(require, 'table.clear')
  local buffer, buffer_size = nil, 0
  return {
    version = VERSION,
    new_tab = ok and of_luajit or new_tab,
    clear_tab = has_clear and clear or function(target)
      for name in pairs(target) do
        target[name] = nil
      end
    end,
    allows_subsystem = function() end,
    get_string_buf = function(size)
      if size > buffer_size then
        buffer, buffer_size = ffi.new('unsigned char[?]', size), size
      end
      return buffer
    end,
    get_size_ptr = function()
      return ffi.new 'size_t[1]'
    end,
    get_errmsg_ptr = function()
      return ffi.new 'unsigned char *[1]'
    end,
    FFI_OK = 0, FFI_ERROR = -1, FFI_AGAIN = -2, FFI_BUSY = -3, FFI_DONE = -4, FFI_DECLINED = -5,
    FFI_NO_REQ_CTX = -100, FFI_BAD_CONTEXT = -101,
  }
end

-- ngx.errlog: the log's own level and format stay.
local function errlog(ngx)
  local levels = { [0] = ngx.DEBUG, [1] = ngx.INFO, [2] = ngx.WARN, [3] = ngx.ERR }
  local writers = { [ngx.WARN] = log.warn, [ngx.NOTICE] = log.info, [ngx.INFO] = log.info,
    [ngx.DEBUG] = log.debug }
  return {
    version = VERSION,
    raw_log = function(level, message)
      if type(level) ~= 'number' or type(message) ~= 'string' then
        error('ngx.errlog.raw_log(level, message) takes a number and a string', 2)
      end
      (writers[level] or log.error)(message)
    end,
    get_sys_filter_level = function()
      for number = 0, 3 do
        if api.log_enabled(api.log, number) ~= 0 then
          return levels[number]
        end
      end
      return ngx.EMERG
    end,
    set_filter_level = function()
      return nil, 'not supported: --log-level decides'
    end,
    get_logs = function()
      return nil, 'not supported: the records are in the log'
    end,
  }
end

local function preload(name, loader)
  if not package.loaded[name] then
    package.preload[name] = loader
  end
end

function _M.install(ngx)
  for _, name in ipairs(EMPTY) do
    preload(name, function()
      return { version = VERSION }
    end)
  end
  preload('resty.core.base', base)
  preload('ngx.re', function()
    return { version = VERSION, split = regex.split, opt = regex.opt }
  end)
  preload('ngx.semaphore', function()
    return { version = VERSION, new = tasks.semaphores.new }
  end)
  preload('ngx.base64', function()
    return { version = VERSION, encode_base64url = text.encode_base64url,
      decode_base64url = text.decode_base64url }
  end)
  preload('ngx.req', function()
    return { version = VERSION, add_header = request.req.add_header }
  end)
  preload('ngx.resp', function()
    return { version = VERSION, add_header = response.resp.add_header }
  end)
  preload('ngx.errlog', function()
    return errlog(ngx)
  end)
  preload('ngx.process', function()
    return { version = VERSION, type = function()
      return 'worker'
    end, enable_privileged_agent = function()
      return nil, 'not supported: there is no privileged agent'
    end, get_master_pid = function()
      return nil
    end, signal_graceful_exit = function()
      error('ngx.process.signal_graceful_exit is not supported: the master ends reactors', 2)
    end }
  end)
end

return _M
