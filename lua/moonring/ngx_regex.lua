-- ngx.re: regular expressions with PCRE2 (exec/hs_regex.h). Compiled ones are cached; the least recently used
-- are dropped.
local ffi = require 'ffi'
local api = require 'moonring.ngx_api'
local text_of = require('moonring.ngx_text').text_of

local byte, find, sub = string.byte, string.find, string.sub
local concat = table.concat
local error, next, tonumber, tostring, type = error, next, tonumber, tostring, type
local ffi_string, gc = ffi.string, ffi.gc
local regexes = api.regexes

local _M = {}

-- ---- Compiled expressions, in two halves: what is used moves to the new one; when that is full it
-- becomes the old one, and what was in the old one is dropped. ----

local HALF = 512
local new_half, new_count, old_half = {}, 0, {}

local number = ffi.new 'uint32_t[1]'

-- regex: C's; names: group name -> list of group numbers, nil without names; captures: how many.
local function compile(pattern, flags)
  local handle = api.regex_new(regexes, pattern, #pattern, flags, #flags)
  if handle == nil then
    return nil, ffi_string(api.regex_failure(regexes))
  end
  gc(handle, api.regex_free)
  local names
  for i = 0, handle.names - 1 do
    names = names or {}
    local name = ffi_string(api.regex_name(handle, i, number))
    local groups = names[name] or {}
    groups[#groups + 1] = number[0]
    names[name] = groups
  end
  return { regex = handle, names = names, captures = handle.captures,
    is_utf = find(flags, '[uU]') ~= nil }
end

-- nil and what is wrong with the pattern.
local function compiled(pattern, flags, level)
  if type(pattern) ~= 'string' then
    pattern = text_of(pattern)
  end
  if flags == nil then
    flags = ''
  elseif type(flags) ~= 'string' then
    error(('bad argument #3 (string expected, got %s)'):format(type(flags)), level + 1)
  end
  local key = flags .. '/' .. pattern
  local found = new_half[key]
  if found then
    return found
  end
  found = old_half[key]
  if not found then
    local problem
    found, problem = compile(pattern, flags)
    if not found then
      if find(problem, '^unknown flag') then
        error(problem, level + 1)
      end
      return nil, problem
    end
  end
  if new_count == HALF then
    old_half, new_half, new_count = new_half, {}, 0
  end
  new_half[key] = found
  new_count = new_count + 1
  return found
end

-- ---- Matching. ----

-- The number of offset pairs set, 0 without a match; nil and the error.
local function run(expression, subject, at)
  local pairs_set = api.regex_match(regexes, expression.regex, subject, #subject, at)
  if pairs_set >= 0 then
    return pairs_set
  end
  return nil, 'pcre_exec() failed: ' .. pairs_set
end

-- The text of group `group`, false if it took no part.
local function group_of(offsets, subject, group, pairs_set)
  if group >= pairs_set then
    return false
  end
  local from, to = tonumber(offsets[2 * group]), tonumber(offsets[2 * group + 1])
  if from > #subject or from > to then -- unset (SIZE_MAX), or \K in a look-ahead
    return false
  end
  return sub(subject, from + 1, to)
end

local function captures_of(expression, subject, pairs_set, result)
  local offsets = expression.regex.offsets
  result = result or {}
  for group = 0, expression.captures do
    result[group] = group_of(offsets, subject, group, pairs_set)
  end
  if expression.names then
    for name, groups in next, expression.names do
      if #groups == 1 then
        result[name] = result[groups[1]]
      else -- duplicate names: all that took part
        local values = {}
        for i = 1, #groups do
          values[#values + 1] = result[groups[i]] or nil
        end
        result[name] = values
      end
    end
  end
  return result
end

-- The 0-based start position of a match from the 1-based ctx.pos; nil if past the end.
local function start_of(subject, context, level)
  if context == nil then
    return 0
  elseif type(context) ~= 'table' then
    error('ctx argument is not a table', level + 1)
  end
  local position = context.pos
  if position == nil then
    position = 1
  elseif type(position) ~= 'number' then
    error('bad ctx.pos: a number is expected', level + 1)
  elseif position <= 0 then
    position = 1
  end
  return position - 1 <= #subject and position - 1 or nil
end

-- match(subject, pattern, flags, ctx, captures): a table of captures, or nil and an error.
function _M.match(subject, pattern, flags, context, result)
  subject = text_of(subject)
  local expression, problem = compiled(pattern, flags, 2)
  if not expression then
    return nil, problem
  end
  local at = start_of(subject, context, 2)
  if not at then
    return nil
  end
  local pairs_set, failure = run(expression, subject, at)
  if not pairs_set then
    return nil, failure
  elseif pairs_set == 0 then
    return nil
  end
  if context then
    context.pos = tonumber(expression.regex.offsets[1]) + 1
  end
  return captures_of(expression, subject, pairs_set, result)
end

-- find(subject, pattern, flags, ctx, group): first and last position, or nil, nil and an error.
function _M.find(subject, pattern, flags, context, group)
  subject = text_of(subject)
  local expression, problem = compiled(pattern, flags, 2)
  if not expression then
    return nil, nil, problem
  end
  group = group or 0
  if group > expression.captures or group < 0 then
    return nil, nil, 'nth out of bound'
  end
  local at = start_of(subject, context, 2)
  if not at then
    return nil, nil
  end
  local pairs_set, failure = run(expression, subject, at)
  if not pairs_set then
    return nil, nil, failure
  elseif pairs_set == 0 then
    return nil, nil
  end
  local offsets = expression.regex.offsets
  if context then
    context.pos = tonumber(offsets[1]) + 1
  end
  local from, to = tonumber(offsets[2 * group]), tonumber(offsets[2 * group + 1])
  if group >= pairs_set or from > #subject or from > to then
    return nil, nil
  end
  return from + 1, to
end

-- Where to continue after an empty match at `at`: past one character.
local function step_over(expression, subject, at)
  at = at + 1
  if expression.is_utf then
    local next_byte = byte(subject, at + 1)
    while next_byte and next_byte >= 0x80 and next_byte < 0xc0 do
      at = at + 1
      next_byte = byte(subject, at + 1)
    end
  end
  return at
end

-- for captures, problem in gmatch(subject, pattern, flags) do
function _M.gmatch(subject, pattern, flags)
  subject = text_of(subject)
  local expression, problem = compiled(pattern, flags, 2)
  if not expression then
    return nil, problem
  end
  local at = 0
  return function()
    if at > #subject then
      return nil
    end
    local pairs_set, failure = run(expression, subject, at)
    if not pairs_set or pairs_set == 0 then
      at = #subject + 1
      return nil, failure
    end
    local offsets = expression.regex.offsets
    local from, to = tonumber(offsets[0]), tonumber(offsets[1])
    local captures = captures_of(expression, subject, pairs_set)
    at = from == to and step_over(expression, subject, to) or to
    return captures
  end
end

-- ---- Replacing. ----

-- A replacement: a list of texts and group numbers, from `$1`, `${10}`, `$&` or `$0`, and `$$`.
local replacements, replacement_count = {}, 0

local function parse_replacement(text)
  local parts, at = {}, 1
  while true do
    local dollar = find(text, '$', at, true)
    if not dollar then
      break
    end
    if dollar > at then
      parts[#parts + 1] = sub(text, at, dollar - 1)
    end
    local following = sub(text, dollar + 1, dollar + 1)
    local _, stop, digits = find(text, '^(%d+)', dollar + 1)
    if not stop then
      _, stop, digits = find(text, '^{(%d+)}', dollar + 1)
    end
    if stop then
      parts[#parts + 1] = tonumber(digits)
    elseif following == '$' then
      parts[#parts + 1], stop = '$', dollar + 1
    elseif following == '&' then
      parts[#parts + 1], stop = 0, dollar + 1
    elseif find(text, '^{?[%a_]', dollar + 1) then
      return nil, 'attempt to use named capturing variable "'
        .. text:match('^{?([%w_]+)', dollar + 1) .. '" (named captures not supported yet)'
    else
      return nil, 'invalid capturing variable name found in "' .. text .. '"'
    end
    at = stop + 1
  end
  if at <= #text then
    parts[#parts + 1] = sub(text, at)
  end
  return parts
end

local function replacement_of(text)
  local parts = replacements[text]
  if parts then
    return parts
  end
  local problem
  parts, problem = parse_replacement(text)
  if not parts then
    return nil, 'failed to compile the replacement template: ' .. problem
  end
  if replacement_count == HALF then
    replacements, replacement_count = {}, 0
  end
  replacements[text] = parts
  replacement_count = replacement_count + 1
  return parts
end

local function put_replacement(out, parts, expression, subject, pairs_set)
  local offsets = expression.regex.offsets
  for i = 1, #parts do
    local part = parts[i]
    if type(part) == 'number' then
      part = group_of(offsets, subject, part, pairs_set) or ''
    end
    out[#out + 1] = part
  end
end

local function replace(subject, pattern, replacement, flags, is_global)
  subject = text_of(subject)
  local expression, problem = compiled(pattern, flags, 3)
  if not expression then
    return nil, nil, problem
  end
  local kind = type(replacement)
  local parts
  if kind ~= 'function' then
    if kind ~= 'string' and kind ~= 'number' then
      error(('expecting a string or a function for the replacement, got %s'):format(kind), 3)
    end
    parts, problem = replacement_of(tostring(replacement))
    if not parts then
      return nil, nil, problem
    end
  end
  local out, count, at, copied = {}, 0, 0, 0
  while at <= #subject do
    local pairs_set, failure = run(expression, subject, at)
    if not pairs_set then
      return nil, nil, failure
    elseif pairs_set == 0 then
      break
    end
    count = count + 1
    local offsets = expression.regex.offsets
    local from, to = tonumber(offsets[0]), tonumber(offsets[1])
    out[#out + 1] = sub(subject, copied + 1, from)
    if parts then
      put_replacement(out, parts, expression, subject, pairs_set)
    else
      local text = replacement(captures_of(expression, subject, pairs_set))
      out[#out + 1] = text_of(text)
    end
    copied = to
    at = from == to and step_over(expression, subject, to) or to
    if not is_global then
      break
    end
  end
  if count == 0 then
    return subject, 0
  end
  out[#out + 1] = sub(subject, copied + 1)
  return concat(out), count
end

-- sub and gsub: the text and the number of replacements, or nil, nil and an error. The replacement
-- is a text or a function of the captures.
function _M.sub(subject, pattern, replacement, flags)
  return replace(subject, pattern, replacement, flags, false)
end

function _M.gsub(subject, pattern, replacement, flags)
  return replace(subject, pattern, replacement, flags, true)
end

-- ---- ngx.re, the module of lua-resty-core. ----

-- split(subject, pattern, flags, ctx, max, result): the pieces between matches, and the first group
-- of each match. Empty pieces at the end are left out unless there is a `max`.
function _M.split(subject, pattern, flags, context, max, result)
  subject = tostring(subject)
  max = max or 0
  if result ~= nil and type(result) ~= 'table' then
    error('res is not a table', 2)
  end
  result = result or {}
  local at = context and context.pos or 1
  if at > #subject then
    result[1] = nil
    return result
  end
  local expression, problem = compiled(pattern, flags, 2)
  if not expression then
    return nil, problem
  end
  local count, pieces, piece_at = 0, 1, at
  local look = at - 1
  while look < #subject and (max <= 0 or pieces < max) do
    local pairs_set, failure = run(expression, subject, look)
    if not pairs_set then
      return nil, failure
    elseif pairs_set == 0 then
      break
    end
    local offsets = expression.regex.offsets
    local from, to = tonumber(offsets[0]), tonumber(offsets[1])
    if from == to and from + 1 <= piece_at then
      look = step_over(expression, subject, look) -- an empty match splits nothing off here
    elseif from >= #subject and from == to then
      break
    else
      count, pieces = count + 1, pieces + 1
      result[count] = sub(subject, piece_at, from)
      local group = expression.captures > 0 and group_of(offsets, subject, 1, pairs_set)
      if group then
        count = count + 1
        result[count] = group
      end
      piece_at = to + 1
      look = from == to and step_over(expression, subject, to) or to
    end
  end
  if max > 0 or piece_at <= #subject then
    count = count + 1
    result[count] = sub(subject, piece_at)
  else
    while count > 0 and result[count] == '' do
      result[count] = nil
      count = count - 1
    end
  end
  result[count + 1] = nil
  return result
end

-- ngx.re.opt: only 'jit_stack_size', which grows automatically here.
function _M.opt(option)
  if option ~= 'jit_stack_size' then
    error('unrecognized option name', 2)
  end
end

return _M
