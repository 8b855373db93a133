#include "http/hs_date.h"

#define SECONDS_PER_DAY 86400
#define DAYS_PER_400_YEARS 146097

static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

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
    memcpy(to, month_names + 3 * (month - 1), 3);
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

/* ---- Reading. ---- */

/* What is read, and where. */
typedef struct reader {
    hs_span_t left;
    bool failed;
} reader_t;

static void skip(reader_t *reader, const char *text)
{
    size_t len = strlen(text);
    reader->failed |= reader->left.len < len || memcmp(reader->left.data, text, len) != 0;
    if (!reader->failed)
        reader->left = hs_span(reader->left.data + len, reader->left.len - len);
}

static unsigned read_digits(reader_t *reader, size_t count)
{
    unsigned value = 0;
    reader->failed |= reader->left.len < count;
    for (size_t i = 0; i < count && !reader->failed; i++) {
        char c = reader->left.data[i];
        reader->failed = c < '0' || c > '9';
        value = value * 10 + (unsigned)(c - '0');
    }
    if (!reader->failed)
        reader->left = hs_span(reader->left.data + count, reader->left.len - count);
    return value;
}

/* 1 to 12. */
static unsigned read_month(reader_t *reader)
{
    for (unsigned month = 0; month < 12 && !reader->failed && reader->left.len >= 3; month++)
        if (memcmp(reader->left.data, month_names + 3 * month, 3) == 0) {
            reader->left = hs_span(reader->left.data + 3, reader->left.len - 3);
            return month + 1;
        }
    reader->failed = true;
    return 1;
}

typedef struct civil {
    unsigned year, month, day, hour, minute, second;
} civil_t;

static void read_time(reader_t *reader, civil_t *civil)
{
    civil->hour = read_digits(reader, 2);
    skip(reader, ":");
    civil->minute = read_digits(reader, 2);
    skip(reader, ":");
    civil->second = read_digits(reader, 2);
}

/* Number 0 is 1970-01-01; the inverse of civil_of_days. */
static int64_t days_of_civil(unsigned year, unsigned month, unsigned day)
{
    int64_t y = (int64_t)year - (month <= 2 ? 1 : 0);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_400_YEARS + day_of_era - 719468;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && is_leap ? 29 : days[month - 1];
}

static bool second_of_civil(const civil_t *civil, int64_t *second)
{
    /* 60: a leap second. */
    if (civil->day == 0 || civil->day > days_in_month(civil->year, civil->month) ||
        civil->hour > 23 || civil->minute > 59 || civil->second > 60)
        return false;
    *second = days_of_civil(civil->year, civil->month, civil->day) * SECONDS_PER_DAY +
              civil->hour * 3600 + civil->minute * 60 + civil->second;
    return true;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool read_fixdate(reader_t reader, civil_t *civil)
{
    skip(&reader, ", ");
    civil->day = read_digits(&reader, 2);
    skip(&reader, " ");
    civil->month = read_month(&reader);
    skip(&reader, " ");
    civil->year = read_digits(&reader, 4);
    skip(&reader, " ");
    read_time(&reader, civil);
    skip(&reader, " GMT");
    return !reader.failed && reader.left.len == 0;
}

/* "Sunday, 06-Nov-94 08:49:37 GMT" */
static bool read_rfc850(reader_t reader, civil_t *civil)
{
    skip(&reader, ", ");
    civil->day = read_digits(&reader, 2);
    skip(&reader, "-");
    civil->month = read_month(&reader);
    skip(&reader, "-");
    civil->year = read_digits(&reader, 2);
    skip(&reader, " ");
    read_time(&reader, civil);
    skip(&reader, " GMT");
    return !reader.failed && reader.left.len == 0;
}

/* "Sun Nov  6 08:49:37 1994" */
static bool read_asctime(reader_t reader, civil_t *civil)
{
    skip(&reader, " ");
    civil->month = read_month(&reader);
    skip(&reader, " ");
    bool is_padded = reader.left.len > 0 && reader.left.data[0] == ' ';
    skip(&reader, is_padded ? " " : "");
    civil->day = read_digits(&reader, is_padded ? 1 : 2);
    skip(&reader, " ");
    read_time(&reader, civil);
    skip(&reader, " ");
    civil->year = read_digits(&reader, 4);
    return !reader.failed && reader.left.len == 0;
}

/* The length of the weekday's name at the start of `text`, 0: none. */
static size_t weekday_len(hs_span_t text, bool *is_long)
{
    static const char *const days[] = { "Monday", "Tuesday",  "Wednesday", "Thursday",
                                        "Friday", "Saturday", "Sunday" };
    for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++) {
        size_t len = strlen(days[i]);
        *is_long = text.len > len && memcmp(text.data, days[i], len) == 0;
        if (*is_long)
            return len;
        if (text.len > 3 && memcmp(text.data, days[i], 3) == 0)
            return 3;
    }
    return 0;
}

bool hs_date_parse(hs_span_t text, int64_t now_s, int64_t *second)
{
    bool is_long;
    size_t weekday = weekday_len(text, &is_long);
    if (weekday == 0)
        return false;
    reader_t reader = { .left = hs_span(text.data + weekday, text.len - weekday) };
    civil_t civil = { .month = 1 };
    if (!is_long)
        return (read_fixdate(reader, &civil) || read_asctime(reader, &civil)) &&
               second_of_civil(&civil, second);
    if (!read_rfc850(reader, &civil))
        return false;
    unsigned this_year, month, day;
    civil_of_days(now_s / SECONDS_PER_DAY, &this_year, &month, &day);
    civil.year += this_year / 100 * 100;
    if (civil.year > this_year + 50)
        civil.year -= 100;
    return second_of_civil(&civil, second);
}
