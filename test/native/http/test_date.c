/* hs_date against the C library's calendar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "http/hs_date.h"

#define LAST_SECOND INT64_C(253402300799) /* 9999-12-31 23:59:59 */

static void check(int64_t second)
{
    static const char *const weekdays[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    time_t time = (time_t)second;
    struct tm tm;
    assert_non_null(gmtime_r(&time, &tm));
    char expected[128];
    snprintf(expected, sizeof(expected), "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n",
             weekdays[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour,
             tm.tm_min, tm.tm_sec);
    hs_date_t date = { 0 };
    hs_date_set(&date, second);
    assert_string_equal(date.line, expected);
    assert_int_equal(strlen(date.line), HS_DATE_LINE_LEN);
    assert_int_equal(date.second, second);
}

/* Every format of a formatted date is parsed as the same second. */
static void check_parse(int64_t second)
{
    time_t time = (time_t)second;
    struct tm tm;
    assert_non_null(gmtime_r(&time, &tm));
    hs_date_t date = { 0 };
    hs_date_set(&date, second);
    int64_t parsed = -1;
    assert_true(hs_date_parse(hs_span(date.line + 6, HS_DATE_LEN), second, &parsed));
    assert_int_equal(parsed, second);
    char text[64];
    char clock[16];
    size_t len = strftime(text, sizeof(text), "%A, %d-%b-", &tm);
    assert_int_equal(strftime(clock, sizeof(clock), "%H:%M:%S", &tm), 8);
    len += (size_t)snprintf(text + len, sizeof(text) - len, "%02d %s GMT", tm.tm_year % 100, clock);
    assert_true(hs_date_parse(hs_span(text, len), second, &parsed));
    assert_int_equal(parsed, second);
    len = strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &tm);
    assert_true(hs_date_parse(hs_span(text, len), 0, &parsed));
    assert_int_equal(parsed, second);
}

static bool parses(const char *text)
{
    int64_t second;
    return hs_date_parse(hs_span(text, strlen(text)), 0, &second);
}

static int64_t second_of(int year, int month, int day)
{
    struct tm tm = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day };
    return (int64_t)timegm(&tm);
}

static void the_example_in_the_rfc(void **state)
{
    (void)state;
    hs_date_t date = { 0 };
    hs_date_set(&date, 784111777);
    assert_string_equal(date.line, "Date: "
                                   "Sun, 06 Nov 1994 08:49:37 GMT"
                                   "\r\n");
}

static void the_ends_of_the_range(void **state)
{
    (void)state;
    hs_date_t date = { 0 };
    hs_date_set(&date, 0);
    assert_string_equal(date.line, "Date: "
                                   "Thu, 01 Jan 1970 00:00:00 GMT"
                                   "\r\n");
    hs_date_set(&date, LAST_SECOND);
    assert_string_equal(date.line, "Date: "
                                   "Fri, 31 Dec 9999 23:59:59 GMT"
                                   "\r\n");
}

/* The days around every end of a month and every leap day, of every year. */
static void every_month_of_every_year(void **state)
{
    (void)state;
    for (int year = 1970; year <= 9999; year++)
        for (int month = 1; month <= 12; month++) {
            int64_t first = second_of(year, month, 1);
            check(first);
            if (first > 0)
                check(first - 1);
        }
}

static void leap_days(void **state)
{
    (void)state;
    const int years[] = { 1972, 2000, 2024, 2100, 2200, 2300, 2400, 9996 };
    for (size_t i = 0; i < sizeof(years) / sizeof(years[0]); i++)
        for (int day = 27; day <= 31; day++) /* timegm carries over into March */
            check(second_of(years[i], 2, day));
}

static void every_day_of_a_leap_cycle(void **state)
{
    (void)state;
    for (int64_t second = 0; second < INT64_C(5) * 366 * 86400; second += 86400)
        check(second);
}

static void every_second_of_a_day(void **state)
{
    (void)state;
    int64_t start = second_of(2024, 2, 29);
    for (int64_t second = start - 2; second < start + 86402; second++)
        check(second);
}

static void samples_over_the_whole_range(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int i = 0; i < 100000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        check((int64_t)((random >> 11) % (uint64_t)(LAST_SECOND + 1)));
    }
}

static void update_formats_only_a_new_second(void **state)
{
    (void)state;
    hs_date_t date = { 0 };
    hs_date_update(&date, 0);
    assert_string_equal(date.line, "Date: "
                                   "Thu, 01 Jan 1970 00:00:00 GMT"
                                   "\r\n");
    date.line[0] = '?';
    hs_date_update(&date, 0);
    assert_int_equal(date.line[0], '?');
    hs_date_update(&date, 1);
    assert_string_equal(date.line, "Date: "
                                   "Thu, 01 Jan 1970 00:00:01 GMT"
                                   "\r\n");
}

static void dates_are_read_in_three_forms(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int i = 0; i < 10000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        check_parse((int64_t)((random >> 11) % (uint64_t)(LAST_SECOND + 1)));
    }
    /* RFC 9110 §5.6.7: a two-digit year is never more than 50 years in the future. */
    int64_t second;
    const char text[] = "Sunday, 06-Nov-94 08:49:37 GMT";
    assert_true(hs_date_parse(hs_span(text, strlen(text)), second_of(2026, 1, 1), &second));
    assert_int_equal(second, 784111777);
}

static void what_is_no_date_is_not_read(void **state)
{
    (void)state;
    assert_true(parses("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_true(parses("Sun, 06 Nov 1994 08:49:60 GMT"));
    static const char *const wrong[] = {
        "",
        "Sun",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Xxx, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 94",
        "1994-11-06T08:49:37Z",
        "784111777",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(parses(wrong[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_in_the_rfc),
        cmocka_unit_test(the_ends_of_the_range),
        cmocka_unit_test(every_month_of_every_year),
        cmocka_unit_test(leap_days),
        cmocka_unit_test(every_day_of_a_leap_cycle),
        cmocka_unit_test(every_second_of_a_day),
        cmocka_unit_test(samples_over_the_whole_range),
        cmocka_unit_test(update_formats_only_a_new_second),
        cmocka_unit_test(dates_are_read_in_three_forms),
        cmocka_unit_test(what_is_no_date_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
