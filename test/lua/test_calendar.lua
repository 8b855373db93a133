local calendar = require 'moonring.calendar'
local expect = require 'expect'

local cases = {}

local function expect_day(days, year, month, day)
  expect.equal(calendar.days_of(year, month, day), days)
  local found_year, found_month, found_day = calendar.date_of(days)
  expect.equal(('%d-%d-%d'):format(found_year, found_month, found_day),
    ('%d-%d-%d'):format(year, month, day))
end

function cases.days_around_leap_years()
  expect_day(0, 1970, 1, 1)
  expect_day(-1, 1969, 12, 31)
  expect_day(11016, 2000, 2, 29)
  expect_day(11017, 2000, 3, 1)
  expect_day(-25509, 1900, 2, 28)
  expect_day(-25508, 1900, 3, 1)
  expect_day(2932896, 9999, 12, 31)
end

function cases.each_day_of_five_centuries_follows_the_one_before()
  for days = -100000, 82000 do
    expect.equal(calendar.days_of(calendar.date_of(days)), days)
  end
end

function cases.dates_of_fields()
  expect.equal(calendar.http_date(784111777), 'Sun, 06 Nov 1994 08:49:37 GMT')
  expect.equal(calendar.http_date(0.9), 'Thu, 01 Jan 1970 00:00:00 GMT')
  expect.equal(calendar.month_numbers.nov, 11)
end

return cases
