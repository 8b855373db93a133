-- Dates of the Gregorian calendar, in UTC, as days since 1970-01-01.
local floor = math.floor

local _M = {}

-- Years begin in March here, so that the leap day is the last of its year.
local EPOCH = 719468 -- days from 0000-03-01 to 1970-01-01
local DAYS_PER_ERA = 146097 -- of 400 years

function _M.days_of(year, month, day)
  if month <= 2 then
    year = year - 1
    month = month + 12
  end
  return 365 * year + floor(year / 4) - floor(year / 100) + floor(year / 400)
    + floor((153 * (month - 3) + 2) / 5) + day - 1 - EPOCH
end

-- The year, month and day.
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

return _M
