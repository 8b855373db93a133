/* hs_parse_response on whole responses: heads, content, refusals, wherever the bytes are split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/response_run.h"

#define OK "HTTP/1.1 200 OK\r\n"

typedef struct expected {
    const char *text;
    size_t len;
    bool to_head;
    bool ends; /* the connection ends after the text */
    hs_response_outcome_t outcome;
    const char *described; /* NULL for refusals */
    size_t taken;
} expected_t;

/* The result, in one line: "200 keep length=3 [OK|content-length:3|] abc". */
static void describe(const response_run_t *run, char *to, size_t size)
{
    const hs_parse_response_t *parse = &run->parse;
    size_t at = (size_t)snprintf(to, size, "%d %s", parse->status,
                                 hs_parse_response_is_reusable(parse) ? "keep" : "close");
    if (parse->content_length != HS_RESPONSE_LENGTH_UNKNOWN)
        at += (size_t)snprintf(to + at, size - at, " length=%llu",
                               (unsigned long long)parse->content_length);
    at +=
        (size_t)snprintf(to + at, size - at, " [%.*s] %.*s", (int)parse->head.len, parse->head.data,
                         (int)run->content.len, run->content.data ? run->content.data : "");
    for (char *c = to; c < to + at; c++)
        if (*c == '\n')
            *c = '|';
}

static void expect_run(const expected_t *expected, size_t first, size_t step)
{
    response_run_t run;
    response_run(&run, expected->text, expected->len, first, step, expected->to_head,
                 expected->ends);
    if (run.outcome != expected->outcome)
        fail_msg("outcome %d instead of %d, pieces %zu, %zu: %s", run.outcome, expected->outcome,
                 first, step, expected->text);
    if (expected->described != NULL) {
        char described[2048];
        assert_true(run.head_done);
        describe(&run, described, sizeof(described));
        assert_string_equal(described, expected->described);
        assert_int_equal(run.taken, expected->taken);
    } else {
        assert_false(hs_parse_response_is_reusable(&run.parse));
    }
    response_run_free(&run);
}

/* Whole, byte by byte, in threes, and split in two at every point. */
static void expect_at_every_cut(expected_t expected)
{
    expected.len = expected.len > 0 ? expected.len : strlen(expected.text);
    expect_run(&expected, expected.len, 1);
    expect_run(&expected, 1, 1);
    expect_run(&expected, 3, 3);
    for (size_t cut = 1; cut < expected.len; cut++)
        expect_run(&expected, cut, expected.len);
}

/* A complete response, alone and followed by bytes that do not belong to it. */
static void accepts(const char *text, const char *described)
{
    char with_rest[4096];
    size_t len = strlen(text);
    snprintf(with_rest, sizeof(with_rest), "%sHTTP/1.1 200 OK\r\n\r\n", text);
    expect_at_every_cut((expected_t){
        .text = text, .outcome = HS_RESPONSE_COMPLETE, .described = described, .taken = len });
    expect_at_every_cut((expected_t){
        .text = with_rest, .outcome = HS_RESPONSE_COMPLETE, .described = described, .taken = len });
    expect_at_every_cut((expected_t){ .text = text,
                                      .ends = true,
                                      .outcome = HS_RESPONSE_COMPLETE,
                                      .described = described,
                                      .taken = len });
}

static void refuses(const char *text, hs_response_outcome_t outcome)
{
    expect_at_every_cut((expected_t){ .text = text, .outcome = outcome });
}

static void accepts_known_length(void **state)
{
    (void)state;
    accepts(OK "Content-Length: 3\r\n\r\nabc", "200 keep length=3 [OK|content-length:3|] abc");
    accepts(OK "content-length:0\r\n\r\n", "200 keep length=0 [OK|content-length:0|] ");
    accepts("HTTP/1.1 404 Not  Found\r\nX-A: \t b c\t \r\nx-a:\r\nContent-Length: 1\r\n\r\nz",
            "404 keep length=1 [Not  Found|x-a:b c|x-a:|content-length:1|] z");
    accepts("HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n",
            "299 keep length=0 [|content-length:0|] ");
    accepts("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200 keep length=0 [|content-length:0|] ");
    accepts("HTTP/1.1 999 \xc3\xa4\r\nContent-Length: 0\r\n\r\n",
            "999 keep length=0 [\xc3\xa4|content-length:0|] ");
}

static void decides_on_keep_alive(void **state)
{
    (void)state;
    accepts(OK "Connection: close\r\nContent-Length: 0\r\n\r\n",
            "200 close length=0 [OK|connection:close|content-length:0|] ");
    accepts(OK "Connection: x, , Close\r\nContent-Length: 0\r\n\r\n",
            "200 close length=0 [OK|connection:x, , Close|content-length:0|] ");
    accepts(OK "Connection: keep-alive\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            "200 close length=0 [OK|connection:keep-alive|connection:close|content-length:0|] ");
    accepts("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            "200 close length=0 [OK|content-length:0|] ");
    accepts("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n",
            "200 keep length=0 [OK|connection:Keep-Alive|content-length:0|] ");
}

static void responses_without_content_end_with_their_head(void **state)
{
    (void)state;
    accepts("HTTP/1.1 204 No Content\r\n\r\n", "204 keep [No Content|] ");
    accepts("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            "304 keep length=5 [Not Modified|content-length:5|] ");
    accepts("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            "204 keep [No Content|transfer-encoding:chunked|] ");
    const char *to_head = OK "Content-Length: 70000\r\n\r\n";
    expect_at_every_cut(
        (expected_t){ .text = to_head,
                      .to_head = true,
                      .outcome = HS_RESPONSE_COMPLETE,
                      .described = "200 keep length=70000 [OK|content-length:70000|] ",
                      .taken = strlen(to_head) });
    const char *without_length = OK "\r\n";
    expect_at_every_cut((expected_t){ .text = without_length,
                                      .to_head = true,
                                      .outcome = HS_RESPONSE_COMPLETE,
                                      .described = "200 keep [OK|] ",
                                      .taken = strlen(without_length) });
}

static void skips_informational_responses(void **state)
{
    (void)state;
    accepts("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" OK
            "Content-Length: 2\r\n\r\nok",
            "200 keep length=2 [OK|content-length:2|] ok");
    accepts("HTTP/1.1 102 x\r\nConnection: close\r\nContent-Length: 9\r\n\r\n" OK
            "Content-Length: 0\r\n\r\n",
            "200 keep length=0 [OK|content-length:0|] ");
}

static void limits_informational_responses(void **state)
{
    (void)state;
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char text[1024] = "";
    for (int i = 0; i < HS_RESPONSE_INTERIM_MAX; i++)
        strcat(text, interim);
    expect_at_every_cut((expected_t){ .text = text, .outcome = HS_RESPONSE_NEED_MORE });
    strcat(text, interim);
    refuses(text, HS_RESPONSE_TOO_MANY_INTERIM);
}

static void refuses_a_switch_of_protocols(void **state)
{
    (void)state;
    refuses("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            HS_RESPONSE_UPGRADED);
    refuses("HTTP/1.1 101 Switching Protocols\r\n\r\n", HS_RESPONSE_UPGRADED);
}

static void decodes_chunks(void **state)
{
    (void)state;
    accepts(OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "200 keep [OK|transfer-encoding:chunked|] ");
    accepts(OK
            "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n1\r\n!\r\n0\r\n\r\n",
            "200 keep [OK|transfer-encoding:Chunked|] abc0123456789!");
    accepts(OK "Transfer-Encoding: chunked\r\n\r\n003;a;b=c;d=\"e f\"\r\nabc\r\n0;x\r\nT: v\r\n"
               "U:\r\n\r\n",
            "200 keep [OK|transfer-encoding:chunked|] abc");
    accepts(OK "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\n\r\n\r\r\n0\r\n\r\n",
            "200 close [OK|transfer-encoding:chunked|connection:close|] \r|\r");
}

static void content_without_a_length_ends_with_the_connection(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 200 OK\r\nA: b\r\n\r\nall the rest\r\n";
    expect_at_every_cut((expected_t){ .text = text, .outcome = HS_RESPONSE_NEED_MORE });
    expect_at_every_cut((expected_t){ .text = text,
                                      .ends = true,
                                      .outcome = HS_RESPONSE_COMPLETE,
                                      .described = "200 close [OK|a:b|] all the rest\r|",
                                      .taken = sizeof(text) - 1 });
}

static void a_response_that_is_cut_off_is_truncated(void **state)
{
    (void)state;
    static const char *const texts[] = {
        OK "Content-Length: 3\r\n\r\nab",
        OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        for (size_t len = 0; len <= strlen(texts[i]); len++) {
            response_run_t run;
            response_run(&run, texts[i], len, 1, 1, false, true);
            assert_int_equal(run.outcome, HS_RESPONSE_TRUNCATED);
            assert_false(hs_parse_response_is_reusable(&run.parse));
            response_run_free(&run);
        }
}

static void refuses_what_is_no_response(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "hTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 -20 OK\r\n\r\n",
        "HTTP/1.1 200\tOK\r\n\r\n",
        "HTTP/1.1 200OK\r\n\r\n",
        "HTTP/1.1 200 O\x01K\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nA: b\n\r\n",
        "HTTP/1.1 200 OK\nA: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n\n",
        "HTTP/1.1 200 OK\rA: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n\tc: d\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA(: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: \x7f\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        refuses(texts[i], HS_RESPONSE_MALFORMED);
    static const char nul[] = "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n";
    expect_at_every_cut(
        (expected_t){ .text = nul, .len = sizeof(nul) - 1, .outcome = HS_RESPONSE_MALFORMED });
}

static void refuses_other_versions(void **state)
{
    (void)state;
    refuses("HTTP/2.0 200 OK\r\n\r\n", HS_RESPONSE_VERSION_UNSUPPORTED);
    refuses("HTTP/0.9 200 OK\r\n\r\n", HS_RESPONSE_VERSION_UNSUPPORTED);
    refuses("HTTP/1.2 200 OK\r\n\r\n", HS_RESPONSE_VERSION_UNSUPPORTED);
    refuses("HTTP/1.1\t200 OK\r\n\r\n", HS_RESPONSE_VERSION_UNSUPPORTED);
}

static void refuses_lengths_that_conflict(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: -3\r\n",
        "Content-Length: 0x3\r\n",
        "Content-Length: 3 3\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    };
    char text[512];
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        snprintf(text, sizeof(text), OK "%s\r\n", fields[i]);
        refuses(text, HS_RESPONSE_BAD_LENGTH);
    }
    refuses("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HS_RESPONSE_BAD_LENGTH);
}

static void refuses_other_transfer_codings(void **state)
{
    (void)state;
    static const char *const codings[] = {
        "gzip", "gzip, chunked", "identity", "chunked, gzip", "chunked, chunked", "chunked;q=1", ""
    };
    char text[512];
    for (size_t i = 0; i < sizeof(codings) / sizeof(*codings); i++) {
        snprintf(text, sizeof(text), OK "Transfer-Encoding: %s\r\n\r\n", codings[i]);
        refuses(text, HS_RESPONSE_CODING_UNSUPPORTED);
    }
}

static void refuses_malformed_chunks(void **state)
{
    (void)state;
    static const char *const contents[] = {
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "0x1\r\na\r\n",
        "1 \r\na\r\n",
        "1\na\n0\n\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "1\r\na0\r\n\r\n",
        "1;\r\na\r\n",
        "1;=b\r\na\r\n",
        "1;a=\r\na\r\n",
        "0\r\nA b\r\n\r\n",
        "0\r\nA: \x01\r\n\r\n",
        "fffffffffffffffff\r\n",
    };
    char text[512];
    for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++) {
        snprintf(text, sizeof(text), OK "Transfer-Encoding: chunked\r\n\r\n%s", contents[i]);
        refuses(text, HS_RESPONSE_MALFORMED);
    }
}

/* `repeat` bytes between two texts, in pieces of several sizes. */
static void expect_repeated(const char *before, char filler, size_t repeat, const char *after,
                            hs_response_outcome_t outcome)
{
    size_t before_len = strlen(before);
    size_t len = before_len + repeat + strlen(after);
    char *text = malloc(len + 1);
    memcpy(text, before, before_len);
    memset(text + before_len, filler, repeat);
    strcpy(text + before_len + repeat, after);
    static const size_t steps[] = { 1, 7, 4096, SIZE_MAX };
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        response_run_t run;
        response_run(&run, text, len, steps[i], steps[i], false, false);
        assert_int_equal(run.outcome, outcome);
        response_run_free(&run);
    }
    free(text);
}

static void limits_the_size_of_heads(void **state)
{
    (void)state;
    const char *before = OK "Content-Length: 0\r\nA: ";
    size_t fits = HS_RESPONSE_HEAD_MAX - strlen(before) - 4;
    expect_repeated(before, 'x', fits, "\r\n\r\n", HS_RESPONSE_COMPLETE);
    expect_repeated(before, 'x', fits + 1, "\r\n\r\n", HS_RESPONSE_HEAD_TOO_LARGE);
    const char *interim = "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 0\r\nA: ";
    expect_repeated(interim, 'x', fits, "\r\n\r\n", HS_RESPONSE_HEAD_TOO_LARGE);
}

static void limits_the_number_of_fields(void **state)
{
    (void)state;
    static char text[8 * HS_RESPONSE_FIELDS_MAX];
    char *to = text + sprintf(text, OK);
    for (int i = 0; i < HS_RESPONSE_FIELDS_MAX - 1; i++)
        to += sprintf(to, "a:b\r\n");
    sprintf(to, "content-length:0\r\n\r\n");
    expect_repeated(text, ' ', 0, "", HS_RESPONSE_COMPLETE);
    sprintf(to, "content-length:0\r\na:b\r\n\r\n");
    expect_repeated(text, ' ', 0, "", HS_RESPONSE_HEAD_TOO_LARGE);
}

static void limits_what_is_no_content_in_chunks(void **state)
{
    (void)state;
    const char *head = OK "Transfer-Encoding: chunked\r\n\r\n";
    char before[128];
    size_t max = HS_RESPONSE_FRAMING_MAX;
    snprintf(before, sizeof(before), "%s1;", head);
    expect_repeated(before, 'x', max - 100, "\r\na\r\n0\r\n\r\n", HS_RESPONSE_COMPLETE);
    expect_repeated(before, 'x', max + 12, "\r\na\r\n0\r\n\r\n", HS_RESPONSE_FRAMING_TOO_LARGE);
    snprintf(before, sizeof(before), "%s0\r\nA:", head);
    expect_repeated(before, 'x', max - 100, "\r\n\r\n", HS_RESPONSE_COMPLETE);
    expect_repeated(before, 'x', max + 12, "\r\n\r\n", HS_RESPONSE_FRAMING_TOO_LARGE);
    expect_repeated(head, '0', max + 14, "1\r\na\r\n0\r\n\r\n", HS_RESPONSE_FRAMING_TOO_LARGE);
}

/* 20 000 chunks of one byte: none has more framing than needed. */
static void many_small_chunks_are_content(void **state)
{
    (void)state;
    enum {
        COUNT = 20000
    };
    static char text[COUNT * 6 + 128];
    char *to = text + sprintf(text, OK "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < COUNT; i++)
        to += sprintf(to, "1\r\na\r\n");
    to += sprintf(to, "0\r\n\r\n");
    response_run_t run;
    size_t len = (size_t)(to - text);
    response_run(&run, text, len, len, len, false, false);
    assert_int_equal(run.outcome, HS_RESPONSE_COMPLETE);
    assert_int_equal(run.content.len, COUNT);
    assert_true(hs_parse_response_is_reusable(&run.parse));
    response_run_free(&run);
}

static void content_in_one_piece_is_not_copied(void **state)
{
    (void)state;
    static const char text[] = OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    hs_parse_response_t parse;
    size_t head_len;
    size_t taken;
    hs_parse_response_init(&parse);
    hs_parse_response_begin(&parse, false);
    assert_int_equal(hs_parse_response_next(&parse, text, sizeof(text) - 1, &head_len),
                     HS_RESPONSE_HEAD);
    assert_int_equal(
        hs_parse_response_next(&parse, text + head_len, sizeof(text) - 1 - head_len, &taken),
        HS_RESPONSE_COMPLETE);
    assert_ptr_equal(parse.content.data, strstr(text, "abc"));
    assert_int_equal(parse.content.len, 3);
    hs_parse_response_free(&parse);
}

static void a_parser_is_used_again(void **state)
{
    (void)state;
    hs_parse_response_t parse;
    size_t taken;
    hs_parse_response_init(&parse);
    for (int i = 0; i < 3; i++) {
        const char *text = i == 1 ? "nonsense" : OK "Content-Length: 0\r\n\r\n";
        hs_parse_response_begin(&parse, false);
        assert_int_equal(hs_parse_response_next(&parse, text, strlen(text), &taken),
                         i == 1 ? HS_RESPONSE_MALFORMED : HS_RESPONSE_HEAD);
    }
    assert_true(hs_parse_response_is_reusable(&parse));
    hs_parse_response_free(&parse);
}

static void every_refusal_has_a_name(void **state)
{
    (void)state;
    assert_null(hs_response_refusal_name(HS_RESPONSE_NEED_MORE));
    assert_null(hs_response_refusal_name(HS_RESPONSE_HEAD));
    assert_null(hs_response_refusal_name(HS_RESPONSE_COMPLETE));
    for (int i = HS_RESPONSE_MALFORMED; i <= HS_RESPONSE_OUT_OF_MEMORY; i++)
        assert_non_null(hs_response_refusal_name((hs_response_outcome_t)i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_known_length),
        cmocka_unit_test(decides_on_keep_alive),
        cmocka_unit_test(responses_without_content_end_with_their_head),
        cmocka_unit_test(skips_informational_responses),
        cmocka_unit_test(limits_informational_responses),
        cmocka_unit_test(refuses_a_switch_of_protocols),
        cmocka_unit_test(decodes_chunks),
        cmocka_unit_test(content_without_a_length_ends_with_the_connection),
        cmocka_unit_test(a_response_that_is_cut_off_is_truncated),
        cmocka_unit_test(refuses_what_is_no_response),
        cmocka_unit_test(refuses_other_versions),
        cmocka_unit_test(refuses_lengths_that_conflict),
        cmocka_unit_test(refuses_other_transfer_codings),
        cmocka_unit_test(refuses_malformed_chunks),
        cmocka_unit_test(limits_the_size_of_heads),
        cmocka_unit_test(limits_the_number_of_fields),
        cmocka_unit_test(limits_what_is_no_content_in_chunks),
        cmocka_unit_test(many_small_chunks_are_content),
        cmocka_unit_test(content_in_one_piece_is_not_copied),
        cmocka_unit_test(a_parser_is_used_again),
        cmocka_unit_test(every_refusal_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
