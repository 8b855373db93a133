-- Dates of the Gregorian calendar, in UTC, independent of the locale.
local date, floor, format = os.date, math.floor, string.format

local _M = {}

-- Years begin in March here, so that the leap day is the last of its year.
local EPOCH = 719468 -- days from 0000-03-01 to 1970-01-01
local DAYS_PER_ERA = 146097 -- of 400 years

-- Days since 1970-01-01.
function _M.days_of(year, month, day)
  if month <= 2 then
    year = year - 1
    month = month + 12
  end
  return 365 * year + floor(year / 4) - floor(year / 100) + floor(year / 400)
    + floor((153 * (month - 3) + 2) / 5) + day - 1 - EPOCH
end

-- The year, month and day of such a number.
function _M.date_of(days)
  days = days + EPOCH
  local era = floor(days / DAYS_PER_ERA)
  local of_era = days - era * DAYS_PER_ERA
  local year_of_era = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524)
    - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year_of_era + floor(year_of_era / 4) - floor(year_of_era / 100))
  local shifted = floor((5 * of_year + 2) / 153)
  local month = shifted < 10 and shifted + 3 or shifted - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  return year, month, of_year - floor((153 * shifted + 2) / 5) + 1
end

local MONTHS = { 'Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec' }
local DAYS = { 'Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat' }

-- "nov" → 11
_M.month_numbers = {}
for number, name in pairs(MONTHS) do
  _M.month_numbers[name:lower()] = number
end

-- The parts of a time in seconds since 1970, as os.date has them, and the names of its day and month.
function _M.parts_of(seconds)
  local parts = date('!*t', floor(seconds))
  return parts, DAYS[parts.wday], MONTHS[parts.month]
end

-- As fields of HTTP have it (RFC 9110 §5.6.7).
function _M.http_date(seconds)
  local parts, day, month = _M.parts_of(seconds)
  return format('%s, %02d %s %04d %02d:%02d:%02d GMT', day, parts.day, month, parts.year, parts.hour,
    parts.min, parts.sec)
end

return _M
