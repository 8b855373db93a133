/* hs_status: status lines, reason phrases, and which statuses have no content. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/hs_outcome.h"
#include "http/hs_status.h"

static void line_and_phrase_agree_for_every_number(void **state)
{
    (void)state;
    unsigned known = 0;
    for (int status = 0; status <= 1000; status++) {
        hs_span_t line = hs_status_line(status);
        const char *reason = hs_status_reason(status);
        if (line.len == 0) {
            assert_string_equal(reason, "");
            continue;
        }
        known++;
        char expected[96];
        int len = snprintf(expected, sizeof(expected), "HTTP/1.1 %d %s\r\n", status, reason);
        assert_int_equal(line.len, len);
        assert_memory_equal(line.data, expected, line.len);
        assert_true(reason[0] != '\0');
    }
    assert_true(known >= 50);
}

static void phrases_are_those_of_the_registry(void **state)
{
    (void)state;
    assert_string_equal(hs_status_reason(100), "Continue");
    assert_string_equal(hs_status_reason(200), "OK");
    assert_string_equal(hs_status_reason(204), "No Content");
    assert_string_equal(hs_status_reason(304), "Not Modified");
    assert_string_equal(hs_status_reason(404), "Not Found");
    assert_string_equal(hs_status_reason(408), "Request Timeout");
    assert_string_equal(hs_status_reason(413), "Content Too Large");
    assert_string_equal(hs_status_reason(414), "URI Too Long");
    assert_string_equal(hs_status_reason(417), "Expectation Failed");
    assert_string_equal(hs_status_reason(422), "Unprocessable Content");
    assert_string_equal(hs_status_reason(431), "Request Header Fields Too Large");
    assert_string_equal(hs_status_reason(500), "Internal Server Error");
    assert_string_equal(hs_status_reason(501), "Not Implemented");
    assert_string_equal(hs_status_reason(503), "Service Unavailable");
    assert_string_equal(hs_status_reason(505), "HTTP Version Not Supported");
}

static void only_204_and_304_have_no_content(void **state)
{
    (void)state;
    for (int status = HS_STATUS_MIN; status <= HS_STATUS_MAX; status++)
        assert_int_equal(hs_status_has_content(status), status != 204 && status != 304);
}

/* Every refusal has a status with a reason phrase. */
static void every_refusal_has_a_status_with_a_reason_phrase(void **state)
{
    (void)state;
    static const struct {
        hs_parse_outcome_t outcome;
        int status;
    } table[] = {
        { HS_PARSE_NEED_MORE, 0 },          { HS_PARSE_COMPLETE, 0 },
        { HS_PARSE_BAD_REQUEST, 400 },      { HS_PARSE_CONTENT_TOO_LARGE, 413 },
        { HS_PARSE_URI_TOO_LONG, 414 },     { HS_PARSE_EXPECTATION_FAILED, 417 },
        { HS_PARSE_FIELDS_TOO_LARGE, 431 }, { HS_PARSE_OUT_OF_MEMORY, 500 },
        { HS_PARSE_NOT_IMPLEMENTED, 501 },  { HS_PARSE_VERSION_UNSUPPORTED, 505 },
    };
    const size_t count = sizeof(table) / sizeof(table[0]);
    assert_int_equal(count, HS_PARSE_VERSION_UNSUPPORTED + 1);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(table[i].outcome, i);
        assert_int_equal(hs_parse_status(table[i].outcome), table[i].status);
        if (table[i].status != 0)
            assert_true(hs_status_reason(table[i].status)[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_and_phrase_agree_for_every_number),
        cmocka_unit_test(phrases_are_those_of_the_registry),
        cmocka_unit_test(only_204_and_304_have_no_content),
        cmocka_unit_test(every_refusal_has_a_status_with_a_reason_phrase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
