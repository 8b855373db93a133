/* hs_parse: every limit at its maximum and one beyond, and every code that llhttp may return. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/parse_run.h"

/* Grows as a test needs it; enough for the longest message here. */
typedef struct text {
    char data[40000];
    size_t len;
} text_t;

static void put(text_t *text, const char *piece)
{
    size_t len = strlen(piece);
    assert_true(text->len + len < sizeof(text->data));
    memcpy(text->data + text->len, piece, len + 1);
    text->len += len;
}

static void put_many(text_t *text, const char *piece, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put(text, piece);
}

/* In one piece and in pieces of two other sizes: a limit does not depend on how bytes arrive. */
static void expect(const hs_limits_t *limits, const text_t *text, hs_parse_outcome_t expected)
{
    const size_t steps[] = { text->len, 1, 37 };
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        parse_run_t run;
        parse_run(&run, limits, text->data, text->len, steps[i], steps[i]);
        assert_int_equal(run.outcome, expected);
        parse_run_free(&run);
    }
}

static void the_target(void **state)
{
    (void)state;
    const uint32_t maxima[] = { 1, 2, 10, 255, 256, 1000 };
    for (size_t i = 0; i < sizeof(maxima) / sizeof(maxima[0]); i++) {
        hs_limits_t limits = parse_run_limits();
        limits.max_url = maxima[i];
        for (uint32_t over = 0; over < 3; over++) {
            text_t text = { 0 };
            put(&text, "GET /");
            put_many(&text, "x", maxima[i] - 1 + over);
            put(&text, " HTTP/1.1\r\nHost: a\r\n\r\n");
            expect(&limits, &text, over ? HS_PARSE_URI_TOO_LONG : HS_PARSE_COMPLETE);
        }
    }
}

static void max_headers(void **state)
{
    (void)state;
    for (uint32_t max = 1; max <= PARSE_RUN_FIELDS; max++) {
        hs_limits_t limits = parse_run_limits();
        limits.max_headers = max;
        for (uint32_t over = 0; over < 2; over++) {
            text_t text = { 0 };
            put(&text, "GET / HTTP/1.1\r\nHost: a\r\n");
            put_many(&text, "A:\r\n", max - 1 + over);
            put(&text, "\r\n");
            expect(&limits, &text, over ? HS_PARSE_FIELDS_TOO_LARGE : HS_PARSE_COMPLETE);
        }
    }
}

static void content_of_known_length(void **state)
{
    (void)state;
    const uint64_t maxima[] = { 0, 1, 4096, UINT32_MAX };
    for (size_t i = 0; i < sizeof(maxima) / sizeof(maxima[0]); i++) {
        hs_limits_t limits = parse_run_limits();
        limits.max_body = maxima[i];
        for (uint64_t over = 0; over < 2; over++) {
            text_t text = { 0 };
            char line[64];
            snprintf(line, sizeof(line), "Content-Length: %llu\r\n\r\n",
                     (unsigned long long)(maxima[i] + over));
            put(&text, "POST / HTTP/1.1\r\nHost: a\r\n");
            put(&text, line);
            expect(&limits, &text, over ? HS_PARSE_CONTENT_TOO_LARGE : HS_PARSE_COMPLETE);
        }
        text_t text = { 0 };
        put(&text, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n");
        expect(&limits, &text, HS_PARSE_CONTENT_TOO_LARGE);
    }
}

static void begin_chunked(text_t *text)
{
    text->len = 0;
    put(text, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
}

static void chunked_content_as_it_grows(void **state)
{
    (void)state;
    hs_limits_t limits = parse_run_limits();
    limits.max_body = 100;
    text_t text;
    for (size_t chunks = 48; chunks <= 52; chunks++) {
        begin_chunked(&text);
        put_many(&text, "2\r\nab\r\n", chunks);
        put(&text, "0\r\n\r\n");
        expect(&limits, &text, chunks > 50 ? HS_PARSE_CONTENT_TOO_LARGE : HS_PARSE_COMPLETE);
    }
    limits.max_body = 0;
    begin_chunked(&text);
    put(&text, "0\r\n\r\n");
    expect(&limits, &text, HS_PARSE_COMPLETE);
    begin_chunked(&text);
    put(&text, "1\r\na\r\n0\r\n\r\n");
    expect(&limits, &text, HS_PARSE_CONTENT_TOO_LARGE);
}

/* Refused when the size is parsed: not a byte of the chunk is needed, and none is kept. */
static void a_chunk_too_large_is_refused_when_its_size_is_read(void **state)
{
    (void)state;
    hs_limits_t limits = parse_run_limits();
    limits.max_body = 0x20;
    text_t text;
    begin_chunked(&text);
    put(&text, "21\r\n");
    expect(&limits, &text, HS_PARSE_CONTENT_TOO_LARGE);
    begin_chunked(&text);
    put(&text, "8\r\n01234567\r\n19\r\n");
    expect(&limits, &text, HS_PARSE_CONTENT_TOO_LARGE);
    begin_chunked(&text);
    put(&text, "8\r\n01234567\r\n18\r\n");
    expect(&limits, &text, HS_PARSE_NEED_MORE);
}

/* `count` times `piece`, after `before`, must end in a refusal long before it ends. */
static void expect_bounded(const char *before, const char *piece, size_t count)
{
    hs_limits_t limits = parse_run_limits();
    parse_run_t run;
    text_t text;
    begin_chunked(&text);
    put(&text, before);
    size_t head_len = text.len;
    put_many(&text, piece, count);
    parse_run(&run, &limits, text.data, text.len, head_len, 512);
    if (run.outcome != HS_PARSE_FIELDS_TOO_LARGE && run.outcome != HS_PARSE_BAD_REQUEST)
        print_error("outcome %d for many \"%s\"\n", run.outcome, piece);
    assert_true(run.outcome == HS_PARSE_FIELDS_TOO_LARGE || run.outcome == HS_PARSE_BAD_REQUEST);
    if (run.taken >= head_len + 20000)
        print_error("%zu bytes taken of many \"%s\"\n", run.taken - head_len, piece);
    assert_true(run.taken < head_len + 20000);
    parse_run_free(&run);
}

/* Bytes that carry no content are limited, in any part of a chunk. */
static void extensions_and_trailers_are_limited(void **state)
{
    (void)state;
    expect_bounded("1", ";name=value", 3000);
    expect_bounded("1;", "x", 30000);
    expect_bounded("1;a=", "x", 30000);
    expect_bounded("1;a=\"", "x", 30000);
    expect_bounded("1", ";a", 15000);
    expect_bounded("1", ";", 30000);
    expect_bounded("0\r\n", "A: b\r\n", 6000);
    expect_bounded("0\r\n", "A:\r\n", 9000);
    expect_bounded("0\r\nA:", " ", 30000);
    expect_bounded("0\r\nA: x", "x", 30000);
    expect_bounded("0\r\n", "x", 30000);
    expect_bounded("", "1;abcdefghijklmnopqrstuvwx\r\na\r\n", 1000);
    expect_bounded("", "0", 30000);
}

static void extensions_and_trailers_within_the_limit_are_ignored(void **state)
{
    (void)state;
    hs_limits_t limits = parse_run_limits();
    text_t text;
    begin_chunked(&text);
    put(&text, "1");
    put_many(&text, ";name=value", 300);
    put(&text, "\r\na\r\n0\r\n");
    put_many(&text, "Trailer: value\r\n", 200);
    put(&text, "\r\n");
    expect(&limits, &text, HS_PARSE_COMPLETE);
}

/* Many small chunks are inefficient, not an attack: their sizes and line ends are allowed. */
static void chunks_of_one_byte_are_allowed(void **state)
{
    (void)state;
    hs_limits_t limits = parse_run_limits();
    text_t text;
    begin_chunked(&text);
    put_many(&text, "00000001\r\na\r\n", 3000);
    put(&text, "0\r\n\r\n");
    expect(&limits, &text, HS_PARSE_COMPLETE);
}

/* The table names every code of HTTP_ERRNO_MAP: a newer llhttp with one more fails below. */
static const struct {
    llhttp_errno_t code;
    hs_parse_outcome_t outcome;
} codes[] = {
    { HPE_OK, HS_PARSE_NEED_MORE },
    { HPE_INTERNAL, HS_PARSE_BAD_REQUEST },
    { HPE_STRICT, HS_PARSE_BAD_REQUEST },
    { HPE_CR_EXPECTED, HS_PARSE_BAD_REQUEST },
    { HPE_LF_EXPECTED, HS_PARSE_BAD_REQUEST },
    { HPE_UNEXPECTED_CONTENT_LENGTH, HS_PARSE_BAD_REQUEST },
    { HPE_UNEXPECTED_SPACE, HS_PARSE_BAD_REQUEST },
    { HPE_CLOSED_CONNECTION, HS_PARSE_BAD_REQUEST },
    { HPE_INVALID_METHOD, HS_PARSE_NEED_MORE }, /* the rest of its line decides */
    { HPE_INVALID_URL, HS_PARSE_BAD_REQUEST },
    { HPE_INVALID_CONSTANT, HS_PARSE_BAD_REQUEST },
    { HPE_INVALID_VERSION, HS_PARSE_BAD_REQUEST }, /* 505 if its digits were read: see below */
    { HPE_INVALID_HEADER_TOKEN, HS_PARSE_BAD_REQUEST },
    { HPE_INVALID_CONTENT_LENGTH, HS_PARSE_BAD_REQUEST },
    { HPE_INVALID_CHUNK_SIZE, HS_PARSE_BAD_REQUEST },
    { HPE_INVALID_STATUS, HS_PARSE_BAD_REQUEST },
    { HPE_INVALID_EOF_STATE, HS_PARSE_BAD_REQUEST },
    { HPE_INVALID_TRANSFER_ENCODING, HS_PARSE_BAD_REQUEST },
    { HPE_CB_MESSAGE_BEGIN, HS_PARSE_BAD_REQUEST },
    { HPE_CB_HEADERS_COMPLETE, HS_PARSE_BAD_REQUEST },
    { HPE_CB_MESSAGE_COMPLETE, HS_PARSE_BAD_REQUEST },
    { HPE_CB_CHUNK_HEADER, HS_PARSE_BAD_REQUEST }, /* what the callback said: 413 in fact */
    { HPE_CB_CHUNK_COMPLETE, HS_PARSE_BAD_REQUEST },
    { HPE_PAUSED, HS_PARSE_COMPLETE },
    { HPE_PAUSED_UPGRADE, HS_PARSE_NOT_IMPLEMENTED },
    { HPE_PAUSED_H2_UPGRADE, HS_PARSE_VERSION_UNSUPPORTED },
    { HPE_USER, HS_PARSE_BAD_REQUEST }, /* what the callback said */
    { HPE_CB_URL_COMPLETE, HS_PARSE_BAD_REQUEST },
    { HPE_CB_STATUS_COMPLETE, HS_PARSE_BAD_REQUEST },
    { HPE_CB_METHOD_COMPLETE, HS_PARSE_BAD_REQUEST },
    { HPE_CB_VERSION_COMPLETE, HS_PARSE_BAD_REQUEST },
    { HPE_CB_HEADER_FIELD_COMPLETE, HS_PARSE_BAD_REQUEST },
    { HPE_CB_HEADER_VALUE_COMPLETE, HS_PARSE_BAD_REQUEST },
    { HPE_CB_CHUNK_EXTENSION_NAME_COMPLETE, HS_PARSE_BAD_REQUEST },
    { HPE_CB_CHUNK_EXTENSION_VALUE_COMPLETE, HS_PARSE_BAD_REQUEST },
    { HPE_CB_RESET, HS_PARSE_BAD_REQUEST },
#if LLHTTP_VERSION_MINOR >= 3
    { HPE_CB_PROTOCOL_COMPLETE, HS_PARSE_BAD_REQUEST },
#endif
};

#define CODE_COUNT (sizeof(codes) / sizeof(codes[0]))

#define COUNT_CODE(number, name, string) +1
_Static_assert(CODE_COUNT == 0 HTTP_ERRNO_MAP(COUNT_CODE), "codes[] names every code of llhttp");

/* A parser that llhttp has stopped with `code`: it returns the code again without reading. */
static hs_parse_outcome_t outcome_after(llhttp_errno_t code, hs_parse_outcome_t refusal)
{
    hs_limits_t limits = parse_run_limits();
    hs_msg_t msg = { 0 };
    hs_parse_t parse;
    hs_parse_shared_t shared;
    const char *data = "GET ";
    hs_parse_shared_init(&shared, &limits);
    hs_parse_begin(&parse, &shared, &msg);
    parse.llhttp.error = (int32_t)code;
    parse.llhttp.error_pos = data;
    parse.refusal = refusal;
    size_t taken;
    return hs_parse_head(&parse, data, strlen(data), &taken);
}

static void every_code_of_llhttp_has_an_outcome(void **state)
{
    (void)state;
    for (size_t i = 0; i < CODE_COUNT; i++) {
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(codes[k].code, codes[i].code);
        assert_int_equal(outcome_after(codes[i].code, HS_PARSE_BAD_REQUEST), codes[i].outcome);
    }
}

static void the_refusal_of_a_callback_is_the_outcome(void **state)
{
    (void)state;
    for (int refusal = HS_PARSE_BAD_REQUEST; refusal <= HS_PARSE_VERSION_UNSUPPORTED; refusal++) {
        hs_parse_outcome_t expected = (hs_parse_outcome_t)refusal;
        assert_int_equal(outcome_after(HPE_USER, expected), expected);
        assert_int_equal(outcome_after(HPE_CB_CHUNK_HEADER, expected), expected);
    }
}

static void an_unknown_code_is_a_bad_request(void **state)
{
    (void)state;
    for (int code = 36; code < 60; code++)
        assert_int_equal(outcome_after((llhttp_errno_t)code, HS_PARSE_BAD_REQUEST),
                         HS_PARSE_BAD_REQUEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_target),
        cmocka_unit_test(max_headers),
        cmocka_unit_test(content_of_known_length),
        cmocka_unit_test(chunked_content_as_it_grows),
        cmocka_unit_test(a_chunk_too_large_is_refused_when_its_size_is_read),
        cmocka_unit_test(extensions_and_trailers_are_limited),
        cmocka_unit_test(extensions_and_trailers_within_the_limit_are_ignored),
        cmocka_unit_test(chunks_of_one_byte_are_allowed),
        cmocka_unit_test(every_code_of_llhttp_has_an_outcome),
        cmocka_unit_test(the_refusal_of_a_callback_is_the_outcome),
        cmocka_unit_test(an_unknown_code_is_a_bad_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
