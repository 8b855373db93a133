-- Uploads that are written to disk while they arrive: node dist/master.js --max-body 1g examples/lua/upload.lua
--   PUT /notes.txt   201, or 413 and 507 in the middle of the upload
--   GET /            how
-- UPLOAD_DIRECTORY is their directory (default: uploads); it must exist. Writes to a file go to the
-- page cache of the kernel, and do not block the reactor.
local log = require 'moonring.log'
local percent = require 'moonring.percent'

-- The handler is called when the head has arrived, and takes the content piece by piece.
stream_content = true

local DIRECTORY = os.getenv 'UPLOAD_DIRECTORY' or 'uploads'
local MOST_BYTES = tonumber(os.getenv 'UPLOAD_MOST_BYTES') or 512 * 1024 * 1024

-- A name of letters, digits and . _ - that does not begin with a dot, or nil.
local function name_in(path)
  local name = percent.decode(path:sub(2))
  return name and #name <= 100 and name:match '^[%w_-][%w._-]*$'
end

-- Raises errors, whether on the server's or on the client's side.
local function receive(req, file)
  local bytes = 0
  for chunk in req:chunks(256 * 1024) do
    bytes = bytes + #chunk
    if bytes > MOST_BYTES then
      error({ status = 413, message = ('at most %d bytes'):format(MOST_BYTES) })
    end
    local ok, problem = file:write(chunk)
    if not ok then
      error({ status = 507, message = problem })
    end
  end
  return bytes
end

local function put(req, res, name)
  -- Under a temporary name until it is complete.
  local path = ('%s/%s'):format(DIRECTORY, name)
  local partial = ('%s.%s.part'):format(path, req.id)
  local file, problem = io.open(partial, 'wb')
  if not file then
    log.error(problem)
    return res:status(500):body('cannot store files'):send()
  end
  local ok, result = pcall(receive, req, file)
  file:close()
  if not ok then
    os.remove(partial)
    if type(result) == 'table' and result.status then
      return res:status(result.status):body(result.message):send()
    end
    error(result, 0) -- also if the client has disconnected
  end
  assert(os.rename(partial, path))
  res:status(201):body(('%s: %d bytes\n'):format(name, result)):send()
end

function handle(req, res)
  if req.method == 'PUT' then
    local name = name_in(req.path)
    if not name then
      return res:status(400):body('a name of letters, digits and . _ -'):send()
    end
    return put(req, res, name)
  end
  res:body('PUT /<name> stores a file\n'):send()
end
