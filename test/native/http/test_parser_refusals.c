/* hs_parse on invalid requests: every outcome, every llhttp code, every limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/parse_run.h"

#define HOST "Host: a\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST
#define CHUNKED "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"

typedef struct refusal {
    const char *text;
    hs_parse_outcome_t outcome;
} refusal_t;

static bool has_outcome(const hs_limits_t *limits, const char *text, size_t len, size_t first,
                        size_t step, hs_parse_outcome_t expected)
{
    parse_run_t run;
    parse_run(&run, limits, text, len, first, step);
    bool same = run.outcome == expected;
    if (!same)
        print_error("outcome %d, not %d, cut at %zu: %s\n", run.outcome, expected, first, text);
    parse_run_free(&run);
    return same;
}

/* The outcome does not depend on where the bytes are split. */
static bool at_every_cut(const hs_limits_t *limits, const char *text, size_t len,
                         hs_parse_outcome_t expected)
{
    bool same = has_outcome(limits, text, len, len, len, expected) &&
                has_outcome(limits, text, len, 1, 1, expected);
    for (size_t cut = 1; cut < len && same; cut++)
        same = has_outcome(limits, text, len, cut, len, expected);
    return same;
}

static void refuses(const refusal_t *table, size_t count)
{
    hs_limits_t limits = parse_run_limits();
    bool all = true;
    for (size_t i = 0; i < count; i++)
        all &= at_every_cut(&limits, table[i].text, strlen(table[i].text), table[i].outcome);
    assert_true(all);
}

#define REFUSES(...)                                                                               \
    do {                                                                                           \
        const refusal_t table[] = { __VA_ARGS__ };                                                 \
        refuses(table, sizeof(table) / sizeof(table[0]));                                          \
    } while (0)

static void bad_request_lines(void **state)
{
    (void)state;
    REFUSES({ "FR@B / HTTP/1.1\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { " GET / HTTP/1.1\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET\t/ HTTP/1.1\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET  HTTP/1.1\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET /\tHTTP/1.1\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET /\x01 HTTP/1.1\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET /a b HTTP/1.1\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET /  HTTP/1.1\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / HTTP/1.1 \r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / http/1.1\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / HTTP/x.1\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / HTTP/11\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / HTTPS/1.1\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / RTSP/1.0\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "DESCRIBE / RTSP/1.0\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "SOURCE / ICE/1.0\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "FROB !!!\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { "FROB !!! HTTP/1.1\r\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "FROB /\r\n", HS_PARSE_BAD_REQUEST },
            { "FROB  / HTTP/1.1\r\n", HS_PARSE_BAD_REQUEST },
            { "\n\nGET / HTTP/1.1\n" HOST "\n", HS_PARSE_BAD_REQUEST },
            { "GET / HTTP/1.1\n" HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / HTTP/1.1\rHost: a\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { "\x16\x03\x01\x02\x00", HS_PARSE_BAD_REQUEST });
}

static void unsupported_versions_and_methods(void **state)
{
    (void)state;
    REFUSES({ "GET / HTTP/2.0\r\n" HOST "\r\n", HS_PARSE_VERSION_UNSUPPORTED },
            { "GET / HTTP/1.2\r\n" HOST "\r\n", HS_PARSE_VERSION_UNSUPPORTED },
            { "GET / HTTP/9.9\r\n" HOST "\r\n", HS_PARSE_VERSION_UNSUPPORTED },
            { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HS_PARSE_VERSION_UNSUPPORTED },
            { "GET / HTTP/0.9\r\n" HOST "\r\n", HS_PARSE_VERSION_UNSUPPORTED },
            { "FROB / HTTP/1.1\r\n" HOST "\r\n", HS_PARSE_NOT_IMPLEMENTED },
            { "DESCRIBE / HTTP/1.1\r\n" HOST "\r\n", HS_PARSE_NOT_IMPLEMENTED },
            { "get / HTTP/1.1\r\n" HOST "\r\n", HS_PARSE_NOT_IMPLEMENTED },
            { "CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n", HS_PARSE_NOT_IMPLEMENTED });
}

static void bad_field_lines(void **state)
{
    (void)state;
    REFUSES(
        { GET "A : x\r\n\r\n", HS_PARSE_BAD_REQUEST },
        { GET "A\t: x\r\n\r\n", HS_PARSE_BAD_REQUEST }, { GET ": x\r\n\r\n", HS_PARSE_BAD_REQUEST },
        { GET "A B: x\r\n\r\n", HS_PARSE_BAD_REQUEST },
        { GET "A\xc3\xa9: x\r\n\r\n", HS_PARSE_BAD_REQUEST },
        { GET "A\r\n\r\n", HS_PARSE_BAD_REQUEST }, { GET "(A): x\r\n\r\n", HS_PARSE_BAD_REQUEST },
        { GET "A: x\x01y\r\n\r\n", HS_PARSE_BAD_REQUEST },
        { GET "A: x\x7fy\r\n\r\n", HS_PARSE_BAD_REQUEST },
        { GET "A: x\ny\r\n\r\n", HS_PARSE_BAD_REQUEST },
        { GET "A: x\ry\r\n\r\n", HS_PARSE_BAD_REQUEST },
        { GET "A: x\r\r\n\r\n", HS_PARSE_BAD_REQUEST }, { GET "A: x\n\r\n", HS_PARSE_BAD_REQUEST },
        { GET "A: x\r\n\n", HS_PARSE_BAD_REQUEST }, { GET "A: x\r\n\rB", HS_PARSE_BAD_REQUEST },
        { GET "A: x\r\n folded\r\n\r\n", HS_PARSE_BAD_REQUEST },
        { GET "A: x\r\n\tfolded\r\n\r\n", HS_PARSE_BAD_REQUEST },
        { GET "A:\r\n folded\r\n\r\n", HS_PARSE_BAD_REQUEST },
        { GET "A: x\r\n \r\n\r\n", HS_PARSE_BAD_REQUEST },
        { "GET / HTTP/1.1\r\n Host: a\r\n\r\n", HS_PARSE_BAD_REQUEST });
    const char nul_in_value[] = GET "A: x\0y\r\n\r\n";
    const char nul_in_name[] = GET "A\0: x\r\n\r\n";
    const char nul_in_target[] = "GET /\0 HTTP/1.1\r\n" HOST "\r\n";
    hs_limits_t limits = parse_run_limits();
    assert_true(
        at_every_cut(&limits, nul_in_value, sizeof(nul_in_value) - 1, HS_PARSE_BAD_REQUEST));
    assert_true(at_every_cut(&limits, nul_in_name, sizeof(nul_in_name) - 1, HS_PARSE_BAD_REQUEST));
    assert_true(
        at_every_cut(&limits, nul_in_target, sizeof(nul_in_target) - 1, HS_PARSE_BAD_REQUEST));
}

static void bad_hosts(void **state)
{
    (void)state;
    REFUSES({ "GET / HTTP/1.1\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / HTTP/1.1\r\nHos: a\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { GET "hOST: b\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / HTTP/1.0\r\n" HOST HOST "\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / HTTP/1.1\r\nHost: a\"\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { "GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", HS_PARSE_BAD_REQUEST });
}

/* If two parsers could disagree about the end of a message, it is rejected. */
static void bad_framing(void **state)
{
    (void)state;
    REFUSES({ GET "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Content-Length: 5, 5\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Content-Length: +5\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Content-Length: -5\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Content-Length: 0x5\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Content-Length: 5 5\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Content-Length: five\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Content-Length:\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Content-Length: \r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Content-Length: 18446744073709551616\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
              HS_PARSE_BAD_REQUEST },
            { "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Transfer-Encoding: gzip\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Transfer-Encoding: gzip, chunked\r\n\r\n", HS_PARSE_NOT_IMPLEMENTED },
            { GET "Transfer-Encoding: chunked, gzip\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Transfer-Encoding: identity\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Transfer-Encoding: xchunked\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Transfer-Encoding: \"chunked\"\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Transfer-Encoding:\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Transfer-Encoding: chunked\r\n chunked\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Transfer-Encoding:\r\n chunked\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { GET "Transfer-Encoding : chunked\r\n\r\n", HS_PARSE_BAD_REQUEST });
}

static void other_expectations(void **state)
{
    (void)state;
    REFUSES({ GET "Expect: 200-ok\r\n\r\n", HS_PARSE_EXPECTATION_FAILED },
            { GET "Expect: 100-continue, x\r\n\r\n", HS_PARSE_EXPECTATION_FAILED },
            { GET "Expect: ,x\r\n\r\n", HS_PARSE_EXPECTATION_FAILED },
            { GET "Expect:\r\n\r\n", HS_PARSE_COMPLETE });
}

static void bad_chunks(void **state)
{
    (void)state;
    REFUSES({ CHUNKED "x\r\n", HS_PARSE_BAD_REQUEST }, { CHUNKED "\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "-1\r\n", HS_PARSE_BAD_REQUEST }, { CHUNKED "0x1\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED " 1\r\na\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "1 \r\na\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "1\na\r\n0\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "1\r\na\n0\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "1\r\nab\r\n0\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "1\r\na0\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "1\ra\r\n0\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "10000000000000000\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "1;a=\x01\r\na\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "1;a\nb\r\na\r\n0\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "0\r\nContent-Length: 9\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "0\r\nbad trailer\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "0\r\nA: x\r\n folded\r\n\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "0\r\nA: x\n\r\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "0\r\n\n", HS_PARSE_BAD_REQUEST },
            { CHUNKED "100001\r\n", HS_PARSE_CONTENT_TOO_LARGE },
            { CHUNKED "FFFFFFFFFFFFFFFF\r\n", HS_PARSE_CONTENT_TOO_LARGE });
}

/* An incomplete head is not refused, however long one waits. */
static void an_incomplete_message_needs_more(void **state)
{
    (void)state;
    hs_limits_t limits = parse_run_limits();
    const char *texts[] = { GET "A: x\r\n\r\n", CHUNKED "3\r\nabc\r\n0;x=y\r\nA: b\r\n\r\n" };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        for (size_t len = 1; len < strlen(texts[i]); len++)
            assert_true(at_every_cut(&limits, texts[i], len, HS_PARSE_NEED_MORE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_request_lines), cmocka_unit_test(unsupported_versions_and_methods),
        cmocka_unit_test(bad_field_lines),   cmocka_unit_test(bad_hosts),
        cmocka_unit_test(bad_framing),       cmocka_unit_test(other_expectations),
        cmocka_unit_test(bad_chunks),        cmocka_unit_test(an_incomplete_message_needs_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
