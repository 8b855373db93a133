#include "http/hs_date.h"

#define SECONDS_PER_DAY 86400
#define DAYS_PER_400_YEARS 146097

static char *put_digits(char *to, unsigned value, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        to[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return to + count;
}

/*
 * The proleptic Gregorian date of a day number (0 = 1970-01-01). Years are counted from March, so
 * that the leap day is a year's last one; month lengths from March on follow (153 m + 2) / 5.
 */
static void civil_of_days(int64_t days, unsigned *year, unsigned *month, unsigned *day)
{
    int64_t since_march_0000 = days + 719468;
    int64_t era = since_march_0000 / DAYS_PER_400_YEARS;
    unsigned day_of_era = (unsigned)(since_march_0000 % DAYS_PER_400_YEARS);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted_month = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    *month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    *year = (unsigned)(era * 400) + year_of_era + (*month <= 2 ? 1 : 0);
}

void hs_date_set(hs_date_t *date, int64_t second)
{
    static const char weekdays[] = "ThuFriSatSunMonTueWed"; /* 1970-01-01 was a Thursday */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    HS_ASSERT(second >= 0);
    int64_t days = second / SECONDS_PER_DAY;
    unsigned second_of_day = (unsigned)(second % SECONDS_PER_DAY);
    unsigned year, month, day;
    civil_of_days(days, &year, &month, &day);

    memcpy(date->ok_line, HS_DATE_OK_LINE, HS_DATE_OK_LINE_LEN);
    char *to = date->line;
    memcpy(to, "Date: ", 6);
    to += 6;
    memcpy(to, weekdays + 3 * (days % 7), 3);
    memcpy(to + 3, ", ", 2);
    to = put_digits(to + 5, day, 2);
    *to++ = ' ';
    memcpy(to, months + 3 * (month - 1), 3);
    to[3] = ' ';
    to = put_digits(to + 4, year, 4);
    *to++ = ' ';
    to = put_digits(to, second_of_day / 3600, 2);
    *to++ = ':';
    to = put_digits(to, second_of_day / 60 % 60, 2);
    *to++ = ':';
    to = put_digits(to, second_of_day % 60, 2);
    memcpy(to, " GMT\r\n", 7);
    date->second = second;
}
