-- Errors of moonring.postgres: tables with a `code` for programs to compare. Server errors also have the
-- server's fields: sqlstate, message, detail, hint, constraint, position…
local match, setmetatable, getmetatable, tonumber = string.match, setmetatable, getmetatable,
  tonumber

local _M = {}

local Error = {}
Error.__index = Error

-- Without `detail`, which contains values: error texts go to logs.
function Error.__tostring(failure)
  local sqlstate = failure.sqlstate
  if not sqlstate then
    return 'postgres: ' .. failure.message
  end
  local name = failure.code == sqlstate and '' or failure.code .. ', '
  local position = failure.position and ', at character ' .. failure.position or ''
  return 'postgres: ' .. failure.message .. ' (' .. name .. sqlstate .. position .. ')'
end

-- The server's condition names that programs are likely to compare.
local NAMES = {
  ['08P01'] = 'protocol_violation', ['0A000'] = 'feature_not_supported',
  ['22001'] = 'string_data_right_truncation', ['22003'] = 'numeric_value_out_of_range',
  ['22007'] = 'invalid_datetime_format', ['22012'] = 'division_by_zero',
  ['22P02'] = 'invalid_text_representation', ['23502'] = 'not_null_violation',
  ['23503'] = 'foreign_key_violation', ['23505'] = 'unique_violation',
  ['23514'] = 'check_violation', ['23P01'] = 'exclusion_violation',
  ['25006'] = 'read_only_sql_transaction', ['25P02'] = 'in_failed_sql_transaction',
  ['26000'] = 'invalid_sql_statement_name', ['28000'] = 'invalid_authorization_specification',
  ['28P01'] = 'invalid_password', ['3D000'] = 'invalid_catalog_name',
  ['40001'] = 'serialization_failure', ['40P01'] = 'deadlock_detected',
  ['42501'] = 'insufficient_privilege', ['42601'] = 'syntax_error',
  ['42703'] = 'undefined_column', ['42804'] = 'datatype_mismatch',
  ['42883'] = 'undefined_function', ['42P01'] = 'undefined_table', ['42P07'] = 'duplicate_table',
  ['53100'] = 'disk_full', ['53200'] = 'out_of_memory', ['53300'] = 'too_many_connections',
  ['55P03'] = 'lock_not_available', ['57014'] = 'query_canceled', ['57P01'] = 'admin_shutdown',
  ['57P02'] = 'crash_shutdown', ['57P03'] = 'cannot_connect_now', ['P0001'] = 'raise_exception',
}

-- Of the fields of a message of the server.
function _M.of_server(fields)
  local failure = {}
  for name, value in next, fields do
    failure[name] = value
  end
  failure.severity = fields.severity or fields.severity_shown
  failure.severity_shown = nil
  failure.sqlstate = fields.sqlstate or 'XX000'
  failure.message = fields.message or 'an error without a message'
  failure.position = tonumber(fields.position)
  failure.code = NAMES[failure.sqlstate] or failure.sqlstate
  return setmetatable(failure, Error)
end

-- Any other.
function _M.new(code, message)
  return setmetatable({ code = code, message = message or code }, Error)
end

-- From the result of a socket call. 'certificate: …' has the code 'certificate'.
function _M.of_socket(problem)
  return _M.new(match(problem, '^(%a+): ') or problem, problem)
end

function _M.is(value)
  return getmetatable(value) == Error
end

return _M
