-- Path patterns, and the function that finds the pattern for a path.
--
--   /users          this path, byte for byte as sent /users/:id      one segment, not empty /files/*path
--   all that is left, not empty; only at the end
-- Patterns become a tree of segments, and each node a function generated from source text: a request's path
-- through it has no loops and no recursion, so LuaJIT compiles it to one trace. If several patterns match,
-- literal segments win over parameters, and these over a tail, from left to right.
local percent = require 'moonring.percent'

local find, format, gmatch, match, sub = string.find, string.format, string.gmatch, string.match,
  string.sub
local concat = table.concat
local assert, ipairs, loadstring, next = assert, ipairs, loadstring, next
local pairs, setmetatable, type, unpack = pairs, setmetatable, type, unpack

-- Maximum segments of a pattern: bounds the calls caused by a long path.
local DEPTH = 32

local _M = {}

-- Unreserved, sub-delims, `:` and `@` of RFC 3986 §3.3, and escapes. `:` and `*` are ours.
local LITERAL = "^[%w%-._~!$&'()+,;=@%%]*$"

local function segment_problem(kind, name, is_last)
  if kind == '' then
    if not find(name, LITERAL) or not percent.decode(name) then
      return ('%q is no path segment: a parameter is a whole segment, and other signs stand '
        .. 'percent-encoded, as clients send them'):format(name)
    end
  elseif not find(name, '^[%a_][%w_]*$') then
    return ('%q is not a parameter: its name is letters, digits and _, as in :id. There are no '
      .. 'optional segments and no expressions: add a route for each path'):format(kind .. name)
  elseif kind == '*' and not is_last then
    return ('*%s takes all that is left: it can only be the last segment'):format(name)
  end
end

-- The segments { kind = '' (literal), ':' or '*', name = } of a pattern. nil and what is wrong.
function _M.parse(pattern)
  if type(pattern) ~= 'string' or sub(pattern, 1, 1) ~= '/' then
    return nil, 'a pattern is a string that begins with /'
  end
  local segments, seen = {}, {}
  for text in gmatch(sub(pattern, 2) .. '/', '([^/]*)/') do
    local kind, name = match(text, '^([:*]?)(.*)$')
    segments[#segments + 1] = { kind = kind, name = name }
  end
  if #segments > DEPTH then
    return nil, 'more than ' .. DEPTH .. ' segments'
  end
  for i, segment in ipairs(segments) do
    local problem = segment_problem(segment.kind, segment.name, i == #segments)
    if problem then
      return nil, problem
    end
    if segment.kind ~= '' then
      if seen[segment.name] then
        return nil, ('two parameters have the name %q'):format(segment.name)
      end
      seen[segment.name] = true
    end
  end
  return segments
end

-- A node: its literal children by text, the child of `:name`, the leaf of `*name`. A parameter's child has
-- its `name`, and a node where a pattern ends has a `route`.
function _M.new_tree()
  return { literals = {} }
end

local new_node = _M.new_tree

local function child_for(node, segment)
  local child
  if segment.kind == '' then
    child = node.literals[segment.name] or new_node()
    node.literals[segment.name] = child
    return child
  end
  local slot = segment.kind == ':' and 'parameter' or 'tail'
  child = node[slot]
  if not child then
    child = new_node()
    child.name = segment.name
    node[slot] = child
  elseif child.name ~= segment.name then
    return nil, ('%s%s and %s%s stand in the same place: give them one name'):format(
      segment.kind, child.name, segment.kind, segment.name)
  end
  return child
end

-- The leaf of `segments` in the tree, with its place for a `route`. nil and what is wrong.
function _M.insert(tree, segments)
  local node = tree
  for _, segment in ipairs(segments) do
    local problem
    node, problem = child_for(node, segment)
    if not node then
      return nil, problem
    end
  end
  return node
end

-- The source of a node's function. `names` are the parameters on the path to it, whose values it gets as p1,
-- p2, …
local HEAD = [[
local find, sub, inner, leaves, parameter, parameter_route, tail_route = ...
return function(path, at%s)
  local stop = find(path, '/', at, true)
  local segment = sub(path, at, stop and stop - 1 or -1)
  if stop then]]
local INNER = [[
    local child = inner[segment]
    if child then
      local route, params = child(path, stop + 1%s)
      if route then return route, params end
    end]]
local PARAMETER = [[
    if segment ~= '' then
      local route, params = parameter(path, stop + 1%s, segment)
      if route then return route, params end
    end]]
local LEAVES = [[
  else
    local route = leaves[segment]
    if route then return route, { %s } end]]
local PARAMETER_ROUTE = [[
    if segment ~= '' then return parameter_route, { %s } end]]
local TAIL = [[
  if at <= #path then return tail_route, { %s } end]]

-- `, p1, p2` for two names.
local function arguments(names)
  local text = ''
  for i = 1, #names do
    text = text .. ', p' .. i
  end
  return text
end

-- `["a"] = p1, ["b"] = segment` for the names and one more.
local function fields(names, last_name, last_value)
  local parts = {}
  for i, name in ipairs(names) do
    parts[i] = format('[%q] = p%d', name, i)
  end
  if last_name then
    parts[#parts + 1] = format('[%q] = %s', last_name, last_value)
  end
  return concat(parts, ', ')
end

local function with_name(names, name)
  local longer = { unpack(names) }
  longer[#longer + 1] = name
  return longer
end

-- Chunks by their source. Nodes of the same shape share a chunk, so LuaJIT compiles it only once.
local chunks = setmetatable({}, { __mode = 'v' })

local function maker(text)
  local make = chunks[text]
  if not make then
    make = assert(loadstring(text, '=(routes)'))
    chunks[text] = make
  end
  return make
end

local compile_node

-- The functions of literal children with nodes below them, and the routes of those where a pattern ends, both
-- by the child's text.
local function compile_literals(node, names)
  local inner, leaves = {}, {}
  for text, child in pairs(node.literals) do
    inner[text] = compile_node(child, names)
    leaves[text] = child.route
  end
  return inner, leaves
end

-- The function of a node; nil if nothing is below it.
compile_node = function(node, names)
  local child, tail = node.parameter, node.tail
  if not child and not tail and next(node.literals) == nil then
    return nil
  end
  local inner, leaves = compile_literals(node, names)
  local parameter = child and compile_node(child, with_name(names, child.name))
  local given = arguments(names)
  local out = { format(HEAD, given) }
  if next(inner) then
    out[#out + 1] = format(INNER, given)
  end
  if parameter then
    out[#out + 1] = format(PARAMETER, given)
  end
  out[#out + 1] = format(LEAVES, fields(names))
  if child and child.route then
    out[#out + 1] = format(PARAMETER_ROUTE, fields(names, child.name, 'segment'))
  end
  out[#out + 1] = '  end'
  if tail then
    out[#out + 1] = format(TAIL, fields(names, tail.name, 'sub(path, at)'))
  end
  out[#out + 1] = 'end'
  return maker(concat(out, '\n'))(find, sub, inner, leaves, parameter, child and child.route, tail and tail.route)
end

local function find_nothing() end

-- A function of a path and 2, the start of its first segment. It returns the `route` of the matching leaf and
-- the parameters as sent; nothing if none matches.
function _M.compile(tree)
  return compile_node(tree, {}) or find_nothing
end

return _M
