/* RFC 9110 §13 and §14 as tables: the conditions and ranges of a request for a representation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/hs_conditional.h"
#include "http/parse_run.h"

#define ETAG "\"v1\""
#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"
#define EARLIER "Sun, 06 Nov 1994 08:49:36 GMT"
#define LATER "Sun, 06 Nov 1994 08:49:38 GMT"
#define MODIFIED_S INT64_C(784111777)
#define SIZE 100

static const hs_validators_t strong = { .etag = { ETAG, 4 },
                                        .modified_s = MODIFIED_S,
                                        .now_s = MODIFIED_S + 1000 };

/* The head of a request with these field lines. */
static void parse(parse_run_t *run, const char *method, const char *fields)
{
    char text[2048];
    int len = snprintf(text, sizeof(text), "%s /f HTTP/1.1\r\nHost: a\r\n%s\r\n", method, fields);
    hs_limits_t limits = parse_run_limits();
    parse_run(run, &limits, text, (size_t)len, (size_t)len, 1);
    assert_int_equal(run->outcome, HS_PARSE_COMPLETE);
}

static hs_precondition_t check_with(const hs_validators_t *validators, const char *method,
                                    const char *fields)
{
    parse_run_t run;
    parse(&run, method, fields);
    hs_precondition_t result = hs_conditional_check(&run.msg, validators);
    parse_run_free(&run);
    return result;
}

enum {
    MET = HS_PRECONDITION_MET,
    NOT_MODIFIED = HS_PRECONDITION_NOT_MODIFIED,
    FAILED = HS_PRECONDITION_FAILED
};

typedef struct row {
    const char *fields;
    int get;
    int put; /* any method except GET and HEAD */
} row_t;

static const row_t rows[] = {
    { "", MET, MET },
    { "X-If-Match: \"v2\"\r\n", MET, MET },
    /* If-Match compares strongly. */
    { "If-Match: " ETAG "\r\n", MET, MET },
    { "If-Match: \"v2\"\r\n", FAILED, FAILED },
    { "If-Match: *\r\n", MET, MET },
    { "If-Match: W/" ETAG "\r\n", FAILED, FAILED },
    { "If-Match: \"v2\", " ETAG "\r\n", MET, MET },
    { "If-Match: \"v2\"\r\nIf-Match: " ETAG "\r\n", MET, MET },
    { "If-Match: \"a,b\",," ETAG "\r\n", MET, MET },
    { "If-Match: v1\r\n", FAILED, FAILED },
    { "If-Match: \"v1\r\n", FAILED, FAILED },
    { "If-Match:\r\n", FAILED, FAILED },
    /* If-None-Match compares weakly. */
    { "If-None-Match: " ETAG "\r\n", NOT_MODIFIED, FAILED },
    { "If-None-Match: W/" ETAG "\r\n", NOT_MODIFIED, FAILED },
    { "If-None-Match: *\r\n", NOT_MODIFIED, FAILED },
    { "If-None-Match: \"v2\"\r\n", MET, MET },
    { "If-None-Match: \"v2\" , W/\"v3\",\t" ETAG "\r\n", NOT_MODIFIED, FAILED },
    { "If-None-Match: \"V1\"\r\n", MET, MET },
    { "If-None-Match: nonsense, " ETAG "\r\n", MET, MET },
    { "If-None-Match: \"*\"\r\n", MET, MET },
    /* Dates, in three forms. */
    { "If-Modified-Since: " MODIFIED "\r\n", NOT_MODIFIED, MET },
    { "If-Modified-Since: " LATER "\r\n", NOT_MODIFIED, MET },
    { "If-Modified-Since: " EARLIER "\r\n", MET, MET },
    { "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n", NOT_MODIFIED, MET },
    { "If-Modified-Since: Sun Nov  6 08:49:37 1994\r\n", NOT_MODIFIED, MET },
    { "If-Modified-Since: yesterday\r\n", MET, MET },
    { "If-Modified-Since: " MODIFIED "\r\nIf-Modified-Since: " MODIFIED "\r\n", MET, MET },
    { "If-Unmodified-Since: " MODIFIED "\r\n", MET, MET },
    { "If-Unmodified-Since: " LATER "\r\n", MET, MET },
    { "If-Unmodified-Since: " EARLIER "\r\n", FAILED, FAILED },
    { "If-Unmodified-Since: nonsense\r\n", MET, MET },
    /* §13.2.2: If-Match before If-Unmodified-Since, If-None-Match before If-Modified-Since. */
    { "If-Match: " ETAG "\r\nIf-Unmodified-Since: " EARLIER "\r\n", MET, MET },
    { "If-Match: \"v2\"\r\nIf-Unmodified-Since: " LATER "\r\n", FAILED, FAILED },
    { "If-None-Match: \"v2\"\r\nIf-Modified-Since: " LATER "\r\n", MET, MET },
    { "If-None-Match: " ETAG "\r\nIf-Modified-Since: " EARLIER "\r\n", NOT_MODIFIED, FAILED },
    { "If-Match: " ETAG "\r\nIf-None-Match: " ETAG "\r\n", NOT_MODIFIED, FAILED },
    { "If-Match: \"v2\"\r\nIf-None-Match: " ETAG "\r\n", FAILED, FAILED },
    { "If-Unmodified-Since: " MODIFIED "\r\nIf-Modified-Since: " MODIFIED "\r\n", NOT_MODIFIED,
      MET },
    { "If-Unmodified-Since: " EARLIER "\r\nIf-Modified-Since: " EARLIER "\r\n", FAILED, FAILED },
    { "If-Unmodified-Since: " MODIFIED "\r\nIf-None-Match: \"v2\"\r\n", MET, MET },
};

static void preconditions_are_evaluated_in_the_order_of_the_rfc(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const row_t *row = &rows[i];
        print_message("%s", row->fields);
        assert_int_equal(check_with(&strong, "GET", row->fields), row->get);
        assert_int_equal(check_with(&strong, "HEAD", row->fields), row->get);
        assert_int_equal(check_with(&strong, "PUT", row->fields), row->put);
        assert_int_equal(check_with(&strong, "DELETE", row->fields), row->put);
        assert_int_equal(check_with(&strong, "OPTIONS", row->fields), MET);
    }
}

static void a_weak_etag_never_matches_strongly(void **state)
{
    (void)state;
    const hs_validators_t weak = { .etag = HS_SPAN_LITERAL("W/\"v1\""),
                                   .modified_s = MODIFIED_S,
                                   .now_s = MODIFIED_S + 1000 };
    assert_int_equal(check_with(&weak, "GET", "If-Match: W/\"v1\"\r\n"), FAILED);
    assert_int_equal(check_with(&weak, "GET", "If-None-Match: \"v1\"\r\n"), NOT_MODIFIED);
}

static void what_a_representation_lacks_is_not_compared(void **state)
{
    (void)state;
    const hs_validators_t bare = { .modified_s = HS_MODIFIED_UNKNOWN, .now_s = MODIFIED_S };
    assert_int_equal(check_with(&bare, "GET", "If-Modified-Since: " LATER "\r\n"), MET);
    assert_int_equal(check_with(&bare, "GET", "If-Unmodified-Since: " EARLIER "\r\n"), MET);
    assert_int_equal(check_with(&bare, "GET", "If-None-Match: \"\"\r\n"), MET);
    assert_int_equal(check_with(&bare, "GET", "If-Match: *\r\n"), MET);
    hs_validators_t missing = bare;
    missing.is_missing = true;
    assert_int_equal(check_with(&missing, "PUT", "If-Match: *\r\n"), FAILED);
    assert_int_equal(check_with(&missing, "PUT", "If-None-Match: *\r\n"), MET);
}

enum {
    WHOLE = HS_RANGE_WHOLE,
    PART = HS_RANGE_PART,
    UNSATISFIABLE = HS_RANGE_UNSATISFIABLE
};

typedef struct range_row {
    const char *fields;
    int result; /* of SIZE bytes, for GET */
    uint64_t first;
    uint64_t len;
} range_row_t;

static const range_row_t range_rows[] = {
    { "", WHOLE, 0, 0 },
    { "Range: bytes=0-0\r\n", PART, 0, 1 },
    { "Range: bytes=0-99\r\n", PART, 0, 100 },
    { "Range: bytes=0-100\r\n", PART, 0, 100 },
    { "Range: bytes=10-19\r\n", PART, 10, 10 },
    { "Range: bytes=10-\r\n", PART, 10, 90 },
    { "Range: bytes=-10\r\n", PART, 90, 10 },
    { "Range: bytes=-1000\r\n", PART, 0, 100 },
    { "Range: bytes=99-\r\n", PART, 99, 1 },
    { "Range: BYTES=1-2\r\n", PART, 1, 2 },
    { "Range: bytes= 1-2 ,\r\n", PART, 1, 2 },
    { "Range: bytes=1-99999999999999999999999999\r\n", PART, 1, 99 },
    { "Range: bytes=1-18446744073709551615\r\n", PART, 1, 99 },
    { "Range: bytes=-18446744073709551616\r\n", PART, 0, 100 },
    { "Range: bytes=100-\r\n", UNSATISFIABLE, 0, 0 },
    { "Range: bytes=100-200\r\n", UNSATISFIABLE, 0, 0 },
    { "Range: bytes=-0\r\n", UNSATISFIABLE, 0, 0 },
    { "Range: bytes=99999999999999999999999999-\r\n", UNSATISFIABLE, 0, 0 },
    /* Malformed, or not supported: treated as absent. */
    { "Range: bytes=20-10\r\n", WHOLE, 0, 0 },
    { "Range: bytes=-\r\n", WHOLE, 0, 0 },
    { "Range: bytes=\r\n", WHOLE, 0, 0 },
    { "Range: bytes\r\n", WHOLE, 0, 0 },
    { "Range: bytes=a-b\r\n", WHOLE, 0, 0 },
    { "Range: bytes=1-2-3\r\n", WHOLE, 0, 0 },
    { "Range: bytes=1 -2\r\n", WHOLE, 0, 0 },
    { "Range: bytes=+1-2\r\n", WHOLE, 0, 0 },
    { "Range: lines=1-2\r\n", WHOLE, 0, 0 },
    { "Range: bytes=0-1\r\nRange: bytes=2-3\r\n", WHOLE, 0, 0 },
    /* Several ranges: §14.2 allows sending the whole representation. */
    { "Range: bytes=0-1,5-6\r\n", WHOLE, 0, 0 },
    { "Range: bytes=200-,300-\r\n", WHOLE, 0, 0 },
    /* If-Range compares strongly, dates exactly. */
    { "Range: bytes=0-1\r\nIf-Range: " ETAG "\r\n", PART, 0, 2 },
    { "Range: bytes=0-1\r\nIf-Range: W/" ETAG "\r\n", WHOLE, 0, 0 },
    { "Range: bytes=0-1\r\nIf-Range: \"v2\"\r\n", WHOLE, 0, 0 },
    { "Range: bytes=0-1\r\nIf-Range: " ETAG ", \"v2\"\r\n", WHOLE, 0, 0 },
    { "Range: bytes=0-1\r\nIf-Range: " MODIFIED "\r\n", PART, 0, 2 },
    { "Range: bytes=0-1\r\nIf-Range: " LATER "\r\n", WHOLE, 0, 0 },
    { "Range: bytes=0-1\r\nIf-Range: " EARLIER "\r\n", WHOLE, 0, 0 },
    { "Range: bytes=0-1\r\nIf-Range: nonsense\r\n", WHOLE, 0, 0 },
    { "Range: bytes=200-\r\nIf-Range: \"v2\"\r\n", WHOLE, 0, 0 },
    { "If-Range: " ETAG "\r\n", WHOLE, 0, 0 },
};

static void check_range(const range_row_t *row, const char *method, int expected)
{
    parse_run_t run;
    uint64_t first = 0;
    uint64_t len = 0;
    parse(&run, method, row->fields);
    int result = (int)hs_conditional_range(&run.msg, &strong, SIZE, &first, &len);
    assert_int_equal(result, expected);
    if (expected == PART) {
        assert_int_equal(first, row->first);
        assert_int_equal(len, row->len);
    }
    parse_run_free(&run);
}

static void one_range_of_bytes_is_a_part(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(range_rows) / sizeof(range_rows[0]); i++) {
        print_message("%s", range_rows[i].fields);
        check_range(&range_rows[i], "GET", range_rows[i].result);
        check_range(&range_rows[i], "HEAD", WHOLE);
        check_range(&range_rows[i], "POST", WHOLE);
    }
}

static void no_range_of_an_empty_file_is_a_part(void **state)
{
    (void)state;
    static const range_row_t empty[] = {
        { "Range: bytes=0-\r\n", UNSATISFIABLE, 0, 0 },
        { "Range: bytes=0-0\r\n", UNSATISFIABLE, 0, 0 },
        { "Range: bytes=-1\r\n", WHOLE, 0, 0 },
    };
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        parse_run_t run;
        uint64_t first, len;
        parse(&run, "GET", empty[i].fields);
        assert_int_equal(hs_conditional_range(&run.msg, &strong, 0, &first, &len), empty[i].result);
        parse_run_free(&run);
    }
}

/* §8.8.2.2: a file may change again within the same second. */
static void a_date_of_this_second_is_too_weak_for_if_range(void **state)
{
    (void)state;
    parse_run_t run;
    uint64_t first, len;
    parse(&run, "GET", "Range: bytes=0-1\r\nIf-Range: " MODIFIED "\r\n");
    hs_validators_t recent = strong;
    recent.now_s = MODIFIED_S + 1;
    assert_int_equal(hs_conditional_range(&run.msg, &recent, SIZE, &first, &len), WHOLE);
    recent.now_s = MODIFIED_S + 2;
    assert_int_equal(hs_conditional_range(&run.msg, &recent, SIZE, &first, &len), PART);
    parse_run_free(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preconditions_are_evaluated_in_the_order_of_the_rfc),
        cmocka_unit_test(a_weak_etag_never_matches_strongly),
        cmocka_unit_test(what_a_representation_lacks_is_not_compared),
        cmocka_unit_test(one_range_of_bytes_is_a_part),
        cmocka_unit_test(no_range_of_an_empty_file_is_a_part),
        cmocka_unit_test(a_date_of_this_second_is_too_weak_for_if_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
