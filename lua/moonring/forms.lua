-- HTML forms: forms.read(req) parses application/x-www-form-urlencoded and multipart/form-data.
local failure = require 'moonring.failure'
local members = require 'moonring.members'
local multipart = require 'moonring.multipart'
local query = require 'moonring.query'

local lower, match = string.lower, string.match
local error, pairs, type = error, pairs, type

local _M = {}

-- Default limits: fields or parts of a form, and bytes of the header fields of one part. --max-body limits
-- the size of the body.
local PARTS, HEAD_BYTES = 1000, 4096

local function limits_of(given)
  local limits = { parts = PARTS, head_bytes = HEAD_BYTES }
  if given ~= nil and type(given) ~= 'table' then
    error('forms: the limits are a table, not a ' .. type(given), 3)
  end
  for name, value in pairs(given or {}) do
    if not limits[name] or type(value) ~= 'number' then
      error('forms: the limits are parts and head_bytes, numbers', 3)
    end
    limits[name] = value
  end
  return limits
end

local function parts_of(body, content_type, limits)
  local kind = lower(match(content_type, '^[^; \t]*'))
  if kind == 'application/x-www-form-urlencoded' then
    local parts, problem, too_many = query.parse_pairs(body, limits.parts)
    return parts, problem, too_many and 413 or 400
  end
  if kind ~= 'multipart/form-data' then
    return nil, 'the body is not a form: urlencoded or multipart expected', 415
  end
  local boundary = multipart.boundary(content_type)
  if not boundary then
    return nil, 'multipart/form-data without a boundary', 400
  end
  return multipart.parse(body, boundary, limits)
end

local function parse(body, content_type, limits)
  local parts, problem, status = parts_of(body, content_type, limits)
  if not parts then
    return nil, problem, status
  end
  local fields, files = {}, {}
  for i = 1, #parts do
    local part = parts[i]
    local name = part.name
    if part.filename then
      files[name] = files[name] or not part.no_file and part or nil
    else
      fields[name] = fields[name] or part.value
    end
  end
  return { fields = fields, files = files, parts = parts }
end

-- The form in `body`. `content_type` is the value of that field. The result:
--   fields   name -> value, the first one where a name is repeated
--   files    name -> { name =, filename =, content_type =, value = }, the first one; value is the
--            content
--   parts    fields and files in the order in which they were sent, repeats too, and file inputs in
--            which no file was chosen: their no_file is true
-- For anything that is not a form, malformed or over a limit: nil, what is wrong, and the matching status:
-- 415, 400 or 413. `limits` may change `parts` (1000) and `head_bytes` (4096).
function _M.parse(body, content_type, limits)
  if type(body) ~= 'string' or type(content_type) ~= 'string' then
    failure.raise(('forms.parse(body, content_type) takes strings, got %s and %s'):format(type(body),
      type(content_type)))
  end
  limits = limits_of(limits)
  return parse(body, content_type, limits)
end

-- The form in a request, as returned by parse.
function _M.read(req, limits)
  failure.check_request(req, 'forms.read(req)')
  limits = limits_of(limits)
  return parse(req:body(), req:header('Content-Type') or '', limits)
end

return members.strict(_M, 'moonring.forms')
