local test = require 'moonring.test'
local app = test.load 'handler.lua'

test.case('greets by name', function()
  local response = app:get('/hello/ann')
  test.equal(response.status, 200)
  test.equal(response:json(), { message = 'hello, ann' })
end)

test.case('adds up', function()
  local response = app:post('/sums', { json = { numbers = { 1, 2, 3.5 } } })
  test.equal(response.status, 201)
  test.equal(response:json(), { total = 6.5 })
end)

test.case('says which part of the content is wrong', function()
  local response = app:post('/sums', { json = { numbers = { 1, 'two' } } })
  test.equal(response.status, 400)
  test.equal(response:json().errors, { { path = 'numbers[2]', message = 'is not a number' } })
end)

test.case('has no other pages', function()
  test.equal(app:get('/nowhere').status, 404)
end)
