/* hs_proxy_header: both versions at every length, and invalid headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/hs_proxy_header.h"
#include "http/proxy_headers.h"

/* In an allocation of exactly this size, so that a sanitizer reports reads past it. */
static hs_proxy_outcome_t read_exactly(const char *data, size_t len, hs_proxy_header_t *header)
{
    char *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, data, len);
    hs_proxy_outcome_t outcome = hs_proxy_header_read(copy, len, header);
    free(copy);
    return outcome;
}

static void complete_at_the_last_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < PROXY_CASES; i++) {
        const proxy_case_t *expected = &proxy_cases[i];
        hs_proxy_header_t header;
        for (size_t len = 0; len < expected->bytes.len; len++)
            assert_int_equal(read_exactly(expected->bytes.data, len, &header), HS_PROXY_NEED_MORE);
        char more[512];
        memcpy(more, expected->bytes.data, expected->bytes.len);
        memset(more + expected->bytes.len, '\n', 100);
        for (size_t behind = 0; behind <= 100; behind += 50) {
            char text[HS_PEER_TEXT_CAP];
            assert_int_equal(read_exactly(more, expected->bytes.len + behind, &header),
                             HS_PROXY_COMPLETE);
            assert_int_equal(header.len, expected->bytes.len);
            assert_int_equal(header.has_source, expected->source[0] != '\0');
            assert_string_equal(hs_peer_text(&header.source, text), expected->source);
            assert_int_equal(header.source.port, expected->port);
        }
    }
}

/* And it remains so, whatever follows. */
static void malformed_from_some_byte_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < MALFORMED_PROXIES; i++) {
        bool is_malformed = false;
        for (size_t len = 0; len <= malformed_proxies[i].len; len++) {
            hs_proxy_header_t header;
            hs_proxy_outcome_t outcome = read_exactly(malformed_proxies[i].data, len, &header);
            assert_int_not_equal(outcome, HS_PROXY_COMPLETE);
            if (is_malformed)
                assert_int_equal(outcome, HS_PROXY_MALFORMED);
            is_malformed = outcome == HS_PROXY_MALFORMED;
        }
        if (!is_malformed)
            fail_msg("header %zu is not refused", i);
    }
}

static void a_line_that_does_not_end_is_refused(void **state)
{
    (void)state;
    char line[HS_PROXY_HEADER_V1_MAX + 1];
    hs_proxy_header_t header;
    memset(line, ' ', sizeof(line));
    memcpy(line, "PROXY", 5);
    assert_int_equal(read_exactly(line, HS_PROXY_HEADER_V1_MAX - 1, &header), HS_PROXY_NEED_MORE);
    assert_int_equal(read_exactly(line, HS_PROXY_HEADER_V1_MAX, &header), HS_PROXY_MALFORMED);
}

static void the_length_of_version_2_is_known_early(void **state)
{
    (void)state;
    hs_proxy_header_t header;
    hs_span_t head = HS_SPAN_LITERAL(V2_SIGNATURE "\x21\x11\xff\xff");
    assert_int_equal(read_exactly(head.data, head.len, &header), HS_PROXY_NEED_MORE);
    assert_int_equal(header.len, 16 + 65535);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(complete_at_the_last_byte),
        cmocka_unit_test(malformed_from_some_byte_on),
        cmocka_unit_test(a_line_that_does_not_end_is_refused),
        cmocka_unit_test(the_length_of_version_2_is_known_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
