local expect = require 'expect'
local forms = require 'moonring.forms'

local URLENCODED = 'application/x-www-form-urlencoded'
local MULTIPART = 'multipart/form-data; boundary=XX'

local cases = {}

-- A multipart/form-data body built from the text of its parts.
local function multipart(...)
  local pieces = {}
  for i, part in ipairs { ... } do
    pieces[i] = '--XX\r\n' .. part .. '\r\n'
  end
  return table.concat(pieces) .. '--XX--\r\n'
end

local function field(name, value)
  return ('Content-Disposition: form-data; name="%s"\r\n\r\n%s'):format(name, value)
end

local function failure(status, words, ...)
  local value, message, found = forms.parse(...)
  expect.failure(words, value, message)
  expect.equal(found, status)
end

function cases.an_urlencoded_form()
  local form = forms.parse('a=1&b=x+y&a=2', URLENCODED .. '; charset=utf-8')
  expect.equal(form.fields, { a = '1', b = 'x y' })
  expect.equal(form.files, {})
  expect.equal(#form.parts, 3)
  expect.equal(forms.parse('', 'Application/X-WWW-Form-Urlencoded').fields, {})
end

function cases.fields_and_files_of_a_multipart_form()
  local form = forms.parse(multipart(
    field('title', 'holidays'),
    'Content-Disposition: form-data; name="photo"; filename="a b.png"\r\n'
      .. 'Content-Type: image/png\r\n\r\n\137PNG\r\n\0--X\r\n--',
    field('title', 'again'), field('empty', '')), MULTIPART)
  expect.equal(form.fields, { title = 'holidays', empty = '' })
  expect.equal(form.files, { photo = {
    name = 'photo', filename = 'a b.png', content_type = 'image/png',
    value = '\137PNG\r\n\0--X\r\n--',
  } })
  expect.equal(#form.parts, 4)
  expect.equal(form.parts[3], { name = 'title', value = 'again' })
end

function cases.preamble_epilogue_and_padding_are_nothing()
  local form = forms.parse('preamble\r\n--XX \t\r\n' .. field('a', 'b') .. '\r\n--XX--epilogue',
    MULTIPART)
  expect.equal(form.fields, { a = 'b' })
  expect.equal(forms.parse('--XX--', MULTIPART).parts, {})
end

function cases.a_part_may_end_with_the_line_of_its_head()
  local form = forms.parse('--XX\r\n' .. field('a', '') .. '--XX\r\n' .. field('b', '')
    .. '\r\n--XX--', MULTIPART)
  expect.equal(form.fields, { a = '', b = '' })
end

function cases.the_first_of_repeated_names_wins()
  local file = 'Content-Disposition: form-data; name="a"; filename="%s"\r\n\r\n'
  local form = forms.parse(multipart(file:format 'x', file:format 'y', field('a', '1'),
    field('a', '2')), MULTIPART)
  expect.equal(form.files.a.filename, 'x')
  expect.equal(form.fields, { a = '1' })
  expect.equal(#form.parts, 4)
end

function cases.fields_of_a_part_in_any_form()
  local form = forms.parse(multipart(
    'X-Other: 1\r\ncontent-disposition:FORM-data ;\tNAME=a; FileName="q\\"q\\x"\r\n\r\n1',
    'Content-Disposition: form-data; name=token;\r\n\r\n2'), MULTIPART)
  expect.equal(form.files.a.filename, 'q"q\\x')
  expect.equal(form.fields, { token = '2' })
end

function cases.names_as_browsers_write_them()
  local form = forms.parse(multipart(
    'Content-Disposition: form-data; name="a%22b%0D%0Ac"; filename="50%25 %22q%22%0d.png"\r\n\r\n1',
    'Content-Disposition: form-data; name="%22%"\r\n\r\n2'), MULTIPART)
  expect.equal(form.files['a"b\r\nc'].filename, '50%25 "q"%0d.png')
  expect.equal(form.fields, { ['"%'] = '2' })
end

function cases.a_name_may_end_with_a_backslash()
  local form = forms.parse(multipart(
    'Content-Disposition: form-data; name="a"; filename="foo\\"\r\n\r\n1',
    'Content-Disposition: form-data; name="b\\"; filename="\\"\r\n\r\n2',
    'Content-Disposition: form-data; name="c"; filename="q\\"; x\\"y"\r\n\r\n3'), MULTIPART)
  expect.equal(form.files.a.filename, 'foo\\')
  expect.equal(form.files['b\\'].filename, '\\')
  expect.equal(form.files.c.filename, 'q"; x"y')
end

function cases.boundaries_in_any_form()
  for _, parameter in ipairs { 'boundary="XX"', ' Boundary=XX', 'charset=utf-8; boundary=XX;' } do
    local form = forms.parse(multipart(field('a', 'b')), 'Multipart/Form-Data;' .. parameter)
    expect.equal(form.fields, { a = 'b' })
  end
  local long = ('x'):rep(70)
  local form = forms.parse('--' .. long .. '--', 'multipart/form-data; boundary=' .. long)
  expect.equal(form.parts, {})
end

-- Sent by real clients, though RFC 2046 allows fewer characters.
function cases.boundaries_of_any_visible_characters()
  for parameter, boundary in pairs {
    ['*****'] = '*****', ['==_Part=1=='] = '==_Part=1==', ['a/b:c?d'] = 'a/b:c?d', ['!#$&^`|~'] = '!#$&^`|~',
    ['"a\\b<>@"'] = 'a\\b<>@', ['"[x] {y}"'] = '[x] {y}', ['(x)'] = '(x)',
  } do
    local body = ('--%s\r\n%s\r\n--%s--'):format(boundary, field('a', 'b'), boundary)
    local form = forms.parse(body, 'multipart/form-data; boundary=' .. parameter)
    expect.equal(form and form.fields, { a = 'b' })
  end
end

function cases.missing_or_bad_boundaries_are_400()
  for _, parameters in ipairs {
    '', ';', '; boundary', '; boundary=', '; boundary=""', '; boundary="a', '; boundary="a "',
    '; boundary="a\r\nb"', '; boundary=a; boundary=b', '; boundary=' .. ('x'):rep(71),
    ' boundary=a',
    '; boundary=a b', '; boundary="\195\169"',
  } do
    failure(400, 'without a boundary', '--a--', 'multipart/form-data' .. parameters)
  end
end

function cases.other_content_is_415()
  for _, kind in ipairs { '', 'text/plain', 'multipart/mixed; boundary=XX', 'application/json' } do
    failure(415, 'the body is not a form: urlencoded or multipart expected', 'a=b', kind)
  end
end

function cases.malformed_bodies_are_400()
  local good = multipart(field('a', 'b'))
  failure(400, 'no part', '', MULTIPART)
  failure(400, 'no part', 'a=b', MULTIPART)
  failure(400, 'no part', 'x--XX--', MULTIPART)
  failure(400, 'delimiter', '--XXY\r\n', MULTIPART)
  failure(400, 'delimiter', '--XX', MULTIPART)
  failure(400, 'fields without an end', '--XX\r\nContent-Disposition: form-data', MULTIPART)
  failure(400, 'content without an end', '--XX\r\n' .. field('a', 'b'), MULTIPART)
  failure(400, 'delimiter', good:sub(1, -5), MULTIPART)
  failure(400, 'no Content-Disposition', multipart '\r\nb', MULTIPART)
  failure(400, 'no Content-Disposition', multipart 'X: y\r\n\r\nb', MULTIPART)
  failure(400, 'malformed percent-encoding', 'a=%4', URLENCODED)
  local folded = field('a', ''):sub(1, -5) .. '\r\n continued'
  for _, head in ipairs { 'no colon', ' folded: 1', ': nameless', 'a b: c', folded } do
    failure(400, 'a malformed field', multipart(head .. '\r\n\r\nb'), MULTIPART)
  end
  for _, value in ipairs {
    'attachment; name="a"', 'form-data', 'form-data; name', 'form-data; name="a', 'form-datax;name=a',
    'form-data; filename="a"', 'form-data; name=a; name=b', 'form-data; name="a"b',
    'form-data; name=a\r\nContent-Disposition: form-data; name=b', 'form-data, name=a',
  } do
    failure(400, 'a malformed Content-Disposition',
      multipart('Content-Disposition: ' .. value .. '\r\n\r\nb'), MULTIPART)
  end
end

local function filename_of(parameters)
  local form, problem = forms.parse(multipart('Content-Disposition: form-data; name="a"' .. parameters
    .. '\r\n\r\ncontent'), MULTIPART)
  if not form then
    return nil, problem
  end
  expect.equal(form.fields, {})
  return form.files.a.filename
end

function cases.an_extended_filename_is_a_file()
  expect.equal(filename_of "; filename*=UTF-8''%e2%82%ac%20rates.txt", '\226\130\172 rates.txt')
  expect.equal(filename_of "; filename*=utf-8'en'a.txt", 'a.txt')
  expect.equal(filename_of "; filename*=ISO-8859-1''%e9.txt", '\195\169.txt')
  expect.equal(filename_of "; FileName*=UTF-8''b.txt; filename=\"c.txt\"", 'b.txt')
  expect.equal(filename_of "; filename=\"c.txt\"; filename*=UTF-8''b.txt", 'b.txt')
  expect.equal(filename_of "; filename*=UTF-8''a%22b", 'a"b')
  expect.equal(filename_of "; filename=c.txt; filename*=KOI8-R''%e9", 'c.txt')
  for _, parameters in ipairs {
    "; filename*=KOI8-R''%e9", "; filename*=UTF-8''%e9", "; filename*=UTF-8''%zz", '; filename*=plain.txt',
    '; filename*0="a"; filename*1="b"', "; filename*0*=UTF-8''a",
  } do
    expect.failure('a malformed Content-Disposition', filename_of(parameters))
  end
end

function cases.an_empty_file_input_is_no_file()
  local input = 'Content-Disposition: form-data; name="%s"; filename=""\r\n'
    .. 'Content-Type: application/octet-stream\r\n\r\n%s'
  local form = forms.parse(multipart(input:format('empty', ''), input:format('nameless', 'x')), MULTIPART)
  expect.equal(form.fields, {})
  expect.equal(form.files.empty, nil)
  expect.equal(form.parts[1].no_file, true)
  expect.equal(form.files.nameless.value, 'x')
  expect.equal(form.parts[2].no_file, nil)
end

function cases.every_prefix_of_a_body_is_refused_or_complete()
  local body = multipart(field('a', 'b'), field('c', 'd'))
  for length = 0, #body do
    local form, message, status = forms.parse(body:sub(1, length), MULTIPART)
    if length < #body - 2 then
      expect.failure('', form, message)
      expect.equal(status, 400)
    else
      expect.equal(form.fields, { a = 'b', c = 'd' })
    end
  end
end

function cases.limits_are_413()
  local two = multipart(field('a', 'b'), field('c', 'd'))
  expect.equal(#forms.parse(two, MULTIPART, { parts = 2 }).parts, 2)
  failure(413, 'more than 1 parts', two, MULTIPART, { parts = 1 })
  failure(413, 'more than 1 fields', 'a&b', URLENCODED, { parts = 1 })
  failure(413, 'more than 1000 fields', ('a&'):rep(1001), URLENCODED)
  failure(413, 'more than 1000 parts', '--XX' .. ('\r\n' .. field('a', '') .. '\r\n--XX'):rep(1001),
    MULTIPART)
  failure(413, 'fields of more than 20 bytes', two, MULTIPART, { head_bytes = 20 })
  failure(413, 'fields of more than 4096 bytes',
    multipart('X: ' .. ('y'):rep(4096) .. '\r\n' .. field('a', 'b')), MULTIPART)
end

function cases.unknown_limits_raise_at_the_caller()
  local message = expect.raises('the limits are', function()
    forms.parse('', URLENCODED, { fields = 1 })
    return true
  end)
  expect.equal(message:match 'test_forms.lua' ~= nil, true)
  expect.raises('the limits are', forms.parse, '', URLENCODED, { parts = '1' })
  expect.raises('the limits are a table', forms.parse, '', URLENCODED, 5)
end

function cases.a_request_is_read()
  local req = {
    header = function(_, name) return name == 'Content-Type' and URLENCODED or nil end,
    body = function() return 'a=b' end,
  }
  expect.equal(forms.read(req).fields, { a = 'b' })
  req.header = function() return nil end
  expect.equal(select(3, forms.read(req)), 415)
end

-- Bodies of one repeated piece, with limits that allow all of it to be read.
local function linear(piece, before, after)
  expect.linear(function(length)
    return (before or '') .. piece:rep(length / #piece) .. (after or '')
  end, function(body)
    forms.parse(body, MULTIPART, { parts = 1e9, head_bytes = 1e9 })
  end)
end

function cases.long_bodies_take_linear_time()
  for _, piece in ipairs {
    'a', '\r\n', '\r', '\r\n--X', '--XX', '--XX\r\n', '\r\n--XX ',
    '\r\n--XX\r\n' .. field('a', 'b'),
  } do
    linear(piece)
    linear(piece, '--XX\r\n' .. field('a', ''))
    linear(piece, '--XX\r\n' .. field('a', ''), '\r\n--XX--')
  end
end

function cases.long_fields_of_a_part_take_linear_time()
  local name = 'Content-Disposition: form-data; name="'
  for _, piece in ipairs { 'a', '\\', '\\"', ' ', ';', '; a=b' } do
    linear(piece, '--XX\r\n' .. name, '"\r\n\r\n\r\n--XX--')
    linear(piece, '--XX\r\n' .. name .. 'a"', '\r\n\r\n\r\n--XX--')
    linear(piece, '--XX\r\n' .. name .. 'a"', 'x\r\n\r\n\r\n--XX--')
    linear(piece, '--XX\r\nContent-Disposition: form-data;' , '\r\n\r\n\r\n--XX--')
    linear(piece, '--XX\r\n', '\r\n\r\n\r\n--XX--')
  end
  linear('a: b\r\n', '--XX\r\n', '\r\n\r\n--XX--')
  linear(' ', '--XX', 'x')
end

return cases
