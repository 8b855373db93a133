local expect = require 'expect'
local events = require 'moonring.events'

local cases = {}

function cases.a_string_or_number_is_the_data()
  expect.equal(events.format 'hello', 'data: hello\n\n')
  expect.equal(events.format(12), 'data: 12\n\n')
  expect.equal(events.format '', 'data: \n\n')
  expect.equal(events.format ' x', 'data:  x\n\n')
end

function cases.fields_in_a_fixed_order()
  expect.equal(events.format { data = 'd', retry = 1.5, id = 7, event = 'e', comment = 'c' },
    ': c\nevent: e\nid: 7\nretry: 1500\ndata: d\n\n')
end

function cases.a_table_of_data_is_json()
  expect.equal(events.format { data = { 1, 2 } }, 'data: [1,2]\n\n')
end

function cases.every_kind_of_line_break_separates_lines_of_data()
  expect.equal(events.format 'a\nb\r\nc\rd', 'data: a\ndata: b\ndata: c\ndata: d\n\n')
  expect.equal(events.format '\n', 'data: \ndata: \n\n')
  expect.equal(events.format '\n\r', 'data: \ndata: \ndata: \n\n')
  expect.equal(events.format 'data: x\n\nevent: y', 'data: data: x\ndata: \ndata: event: y\n\n')
end

function cases.a_comment_cannot_become_a_field()
  expect.equal(events.format { comment = 'a\ndata: b\rid: c' }, ': a\n: data: b\n: id: c\n\n')
  expect.equal(events.format { comment = '' }, ': \n\n')
end

function cases.an_id_alone_is_an_event()
  expect.equal(events.format { id = '' }, 'id: \n\n')
  expect.equal(events.format { retry = 0 }, 'retry: 0\n\n')
end

function cases.line_breaks_in_names_and_ids_are_refused()
  for _, text in ipairs { 'a\nb', 'a\r', '\r\ndata: x' } do
    expect.raises('event has a line break', events.format, { event = text, data = 'x' })
    expect.raises('id has a line break', events.format, { id = text, data = 'x' })
  end
  expect.raises('id has a line break or a NUL', events.format, { id = 'a\0b' })
end

function cases.wrong_events_are_refused()
  expect.raises('takes an event', events.format, nil)
  expect.raises("give it data = ''", events.format, { event = 'joined' })
  expect.raises('one of the fields', events.format, {})
  expect.raises('did you mean "data"', events.format, { date = 'x' })
  expect.raises('data is a string, not a boolean', events.format, { data = true })
  expect.raises('data is a string, not a function', events.format, print)
  expect.raises('id is a string, not a table', events.format, { id = {}, data = '' })
  for _, retry in ipairs { -1, 1e7, 0 / 0, '3' } do
    expect.raises('retry takes seconds', events.format, { retry = retry })
  end
end

return cases
