/* hs_parse on whole requests: what is accepted, as which spans, wherever the bytes are split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/parse_run.h"

/* The result, in one line: "GET /x 1.1 keep [host=a] [b=c] length=3 body". */
static void describe(const parse_run_t *run, char *to, size_t size)
{
    const hs_msg_t *msg = &run->msg;
    size_t at = (size_t)snprintf(to, size, "%s %s 1.%d %s", hs_parse_method_name(msg->method),
                                 hs_msg_url(msg).data, msg->minor_version,
                                 msg->keep_alive ? "keep" : "close");
    for (uint16_t i = 0; i < msg->field_count; i++)
        at += (size_t)snprintf(to + at, size - at, " [%s=%s]",
                               hs_msg_field_name(msg, &msg->fields[i]).data,
                               hs_msg_field_value(msg, &msg->fields[i]).data);
    if (msg->chunked)
        at += (size_t)snprintf(to + at, size - at, " chunked=%.*s", (int)run->content.len,
                               run->content.data ? run->content.data : "");
    else if (msg->content_length > 0)
        at += (size_t)snprintf(to + at, size - at, " length=%d", (int)msg->content_length);
    if (msg->expect_continue)
        snprintf(to + at, size - at, " expects");
}

static void expect_accepted(const char *text, size_t first, size_t step, const char *expected,
                            size_t expected_len)
{
    hs_limits_t limits = parse_run_limits();
    parse_run_t run;
    char described[2048];
    parse_run(&run, &limits, text, strlen(text), first, step);
    if (run.outcome != HS_PARSE_COMPLETE)
        print_message("outcome %d, cut at %zu: %s\n", run.outcome, first, text);
    assert_int_equal(run.outcome, HS_PARSE_COMPLETE);
    describe(&run, described, sizeof(described));
    assert_string_equal(described, expected);
    assert_int_equal(run.taken, expected_len);
    parse_run_free(&run);
}

/* Whole, byte by byte, and split in two at every point; with a pipelined request after it too. */
static void accepts(const char *text, const char *expected)
{
    size_t len = strlen(text);
    char with_next[2048];
    snprintf(with_next, sizeof(with_next), "%sGET /next HTTP/1.1\r\nHost: n\r\n\r\n", text);
    expect_accepted(text, len, len, expected, len);
    expect_accepted(text, 1, 1, expected, len);
    expect_accepted(text, 3, 3, expected, len);
    for (size_t cut = 1; cut < len; cut++)
        expect_accepted(text, cut, len, expected, len);
    expect_accepted(with_next, strlen(with_next), 1, expected, len);
}

static void request_lines(void **state)
{
    (void)state;
    accepts("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / 1.1 keep [Host=a]");
    accepts("GET / HTTP/1.0\r\n\r\n", "GET / 1.0 close");
    accepts("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * 1.1 keep [Host=a]");
    accepts("GET http://a.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "GET http://a.example/x?y 1.1 keep [Host=a.example]");
    accepts("M-SEARCH /x%20y;z=1?q=%00&r=%ff HTTP/1.1\r\nHost: a\r\n\r\n",
            "M-SEARCH /x%20y;z=1?q=%00&r=%ff 1.1 keep [Host=a]");
    accepts("\r\nGET /after-an-empty-line HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /after-an-empty-line 1.1 keep [Host=a]");
}

static void fields(void **state)
{
    (void)state;
    accepts("GET / HTTP/1.1\r\nhost: a\r\nEmpty:\r\nBlank:  \t \r\nNext: x\r\n\r\n",
            "GET / 1.1 keep [host=a] [Empty=] [Blank=] [Next=x]");
    accepts("GET / HTTP/1.1\r\nHost:a\r\nPad: \t  in the middle \t \r\nTab: a\tb\r\n\r\n",
            "GET / 1.1 keep [Host=a] [Pad=in the middle] [Tab=a\tb]");
    accepts("GET / HTTP/1.1\r\nHOST: a:99\r\n!#$%&'*+-.^_`|~09azAZ: every tchar\r\n\r\n",
            "GET / 1.1 keep [HOST=a:99] [!#$%&'*+-.^_`|~09azAZ=every tchar]");
    accepts("GET / HTTP/1.1\r\nHost: [::1]:80\r\nX: \xc3\xa9\xff\x80\r\nX: again\r\n\r\n",
            "GET / 1.1 keep [Host=[::1]:80] [X=\xc3\xa9\xff\x80] [X=again]");
    accepts("GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nHost: a\r\n\r\n",
            "GET / 1.1 keep [Upgrade=h2c] [Connection=Upgrade] [Host=a]");
}

static void keep_alive(void **state)
{
    (void)state;
    accepts("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET / 1.1 close [Host=a] [Connection=close]");
    accepts("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close ,y\r\n\r\n",
            "GET / 1.1 close [Host=a] [Connection=x, Close ,y]");
    accepts("GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n",
            "GET / 1.1 keep [Host=a] [Connection=closed]");
    accepts("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n",
            "GET / 1.1 close [Host=a] [Connection=keep-alive, close]");
    accepts("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
            "GET / 1.0 keep [Connection=Keep-Alive]");
    accepts("GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
            "GET / 1.0 close [Connection=keep-alive] [Connection=close]");
}

static void content_of_known_length_is_not_consumed(void **state)
{
    (void)state;
    accepts("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "POST / 1.1 keep [Host=a] [Content-Length=0]");
    accepts("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 00012\r\n\r\n",
            "GET / 1.1 keep [Host=a] [Content-Length=00012] length=12");
    accepts("POST / HTTP/1.0\r\nContent-Length: 7 \r\n\r\n",
            "POST / 1.0 close [Content-Length=7] length=7");
    accepts("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n",
            "PUT / 1.1 keep [Host=a] [Content-Length=5] [Expect=100-Continue] length=5 expects");
    accepts("PUT / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            "PUT / 1.0 close [Content-Length=5] [Expect=100-continue] length=5");
}

#define CHUNKED "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
#define CHUNKED_SEEN "POST / 1.1 keep [Host=a] [Transfer-Encoding=chunked]"

static void chunked_content(void **state)
{
    (void)state;
    accepts(CHUNKED "0\r\n\r\n", CHUNKED_SEEN " chunked=");
    accepts(CHUNKED "5\r\nhello\r\n0\r\n\r\n", CHUNKED_SEEN " chunked=hello");
    accepts(CHUNKED "1\r\na\r\n2\r\nbc\r\nA\r\n0123456789\r\n000\r\n\r\n",
            CHUNKED_SEEN " chunked=abc0123456789");
    accepts(CHUNKED "5;a\r\nhello\r\n0;b=c;d=\"e f\";g\r\n\r\n", CHUNKED_SEEN " chunked=hello");
    accepts(CHUNKED "2\r\nhi\r\n0\r\nTrailer: x\r\nHost: not this\r\n\r\n",
            CHUNKED_SEEN " chunked=hi");
    accepts("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:  Chunked \r\n\r\n1\r\nx\r\n0\r\n\r\n",
            "POST / 1.1 keep [Host=a] [Transfer-Encoding=Chunked] chunked=x");
    accepts("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n"
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "GET / 1.1 keep [Host=a] [Upgrade=x] [Connection=upgrade] [Transfer-Encoding=chunked] "
            "chunked=abc");
}

/* A target or a value that is split into many pieces is one span. */
static void a_long_head_in_pieces_of_every_size(void **state)
{
    (void)state;
    char text[2048] = "GET /", expected[2048] = "GET /";
    size_t at = strlen(text);
    for (int i = 0; i < 300; i++, at++)
        text[at] = expected[at] = (char)('a' + i % 26);
    strcpy(text + at, " HTTP/1.1\r\nHost: a\r\nLong: ");
    strcpy(expected + at, " 1.1 keep [Host=a] [Long=");
    for (int i = 0; i < 300; i++) {
        strcat(text, i % 7 ? "v" : " x");
        strcat(expected, i % 7 ? "v" : i ? " x" : "x");
    }
    strcat(text, "\r\n\r\n");
    strcat(expected, "]");
    for (size_t step = 1; step < 64; step++)
        expect_accepted(text, step, step, expected, strlen(text));
}

/* hs_parse_head is one state: the same object serves the next message after hs_parse_begin. */
static void the_parser_can_be_reused(void **state)
{
    (void)state;
    hs_limits_t limits = parse_run_limits();
    parse_run_t run;
    const char *first = "POST /a HTTP/1.1\r\nHost: a\r\nX: y\r\nContent-Length: 3\r\n\r\n";
    parse_run(&run, &limits, first, strlen(first), 10, 10);
    assert_int_equal(run.outcome, HS_PARSE_COMPLETE);
    const char *next = "GET / HTTP/1.0\r\n\r\n";
    size_t taken;
    hs_parse_begin(&run.parse, &run.shared, &run.msg);
    assert_int_equal(hs_parse_head(&run.parse, next, strlen(next), &taken), HS_PARSE_COMPLETE);
    assert_int_equal(taken, strlen(next));
    assert_int_equal(run.msg.field_count, 0);
    assert_int_equal(run.msg.url_len, 1);
    assert_int_equal(run.msg.content_length, 0);
    assert_false(run.msg.keep_alive);
    parse_run_free(&run);
}

static void methods_have_names(void **state)
{
    (void)state;
    assert_string_equal(hs_parse_method_name(HTTP_GET), "GET");
    assert_string_equal(hs_parse_method_name(HTTP_MSEARCH), "M-SEARCH");
    assert_null(hs_parse_method_name(1000));
#define HS_TEST_METHOD(number, name, string)                                                       \
    assert_string_equal(hs_parse_method_name(number), #string);
    HTTP_METHOD_MAP(HS_TEST_METHOD)
#undef HS_TEST_METHOD
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_lines),
        cmocka_unit_test(fields),
        cmocka_unit_test(keep_alive),
        cmocka_unit_test(content_of_known_length_is_not_consumed),
        cmocka_unit_test(chunked_content),
        cmocka_unit_test(a_long_head_in_pieces_of_every_size),
        cmocka_unit_test(the_parser_can_be_reused),
        cmocka_unit_test(methods_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
