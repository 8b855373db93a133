/* hs_conn: what is refused is answered once, nothing behind it is parsed, and the response arrives.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/conn_bench.h"

#define HOST "Host: a\r\n"
#define GOOD "GET /good HTTP/1.1\r\n" HOST "\r\n"

static void answer_ok(hs_request_t *request, hs_response_t *response, void *user_data)
{
    conn_bench_t *cb = user_data;
    cb->handled++;
    assert_int_equal(hs_res_body_str(response, hs_req_url(request)), 0);
    assert_int_equal(hs_res_send(response), 0);
}

typedef struct refusal {
    const char *request;
    int status;
} refusal_t;

/* One of each outcome; the parser's own suites have the others. */
static const refusal_t refusals[] = {
    { "NON/SENSE\r\n\r\n", 400 },
    { "GET / HTTP/1.1\r\n\r\n", 400 },
    { "GET / HTTP/1.1\r\n" HOST "A : b\r\n\r\n", 400 },
    { "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
    { "POST / HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\n\r\n", 413 },
    { "POST / HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\nExpect: 100-continue\r\n\r\n", 413 },
    { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n100001\r\n", 413 },
    { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n", 400 },
    { "GET / HTTP/1.1\r\n" HOST "Expect: 200-ok\r\n\r\n", 417 },
    { "NONSENSE / HTTP/1.1\r\n" HOST "\r\n", 501 },
    { "CONNECT a:1 HTTP/1.1\r\n" HOST "\r\n", 501 },
    { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501 },
    { "GET / HTTP/2.0\r\n" HOST "\r\n", 505 },
};

#define REFUSAL_COUNT (sizeof(refusals) / sizeof(refusals[0]))

/* Good requests in front are answered, the refusal follows, the good request behind is nothing. */
static void expect_refusal(conn_bench_t *cb, const char *request, int status, unsigned before,
                           size_t step)
{
    char text[4096] = "";
    for (unsigned i = 0; i < before; i++)
        strcat(text, GOOD);
    strcat(strcat(text, request), GOOD GOOD);
    conn_open(cb);
    conn_feed(cb, text, strlen(text), step);
    assert_int_equal(cb->handled, before);
    for (unsigned i = 0; i < before; i++)
        expect_response(cb, 200, "/good");
    response_t response = next_response(cb);
    assert_int_equal(response.status, status);
    assert_true(response_has(&response, "Connection: close"));
    assert_true(response.body_len > 0);
    expect_no_more(cb);
    assert_int_equal(cb->peer.conn.phase, HS_CONN_LINGERING);
    conn_close(cb);
}

static void each_refusal_at_every_cut(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_ok);
    for (size_t i = 0; i < REFUSAL_COUNT; i++)
        for (unsigned before = 0; before < 3; before++) {
            expect_refusal(&cb, refusals[i].request, refusals[i].status, before, WHOLE);
            for (size_t step = 1; step < 90; step++)
                expect_refusal(&cb, refusals[i].request, refusals[i].status, before, step);
        }
}

static void each_refusal_in_a_small_ring(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_ok);
    cb.limits.ring_size = 128;
    for (size_t i = 0; i < REFUSAL_COUNT; i++)
        for (size_t step = 1; step < 130; step += 3)
            expect_refusal(&cb, refusals[i].request, refusals[i].status, 2, step);
}

/* A head that fills the ring: 414 while it is the request line, 431 after it. */
static void heads_as_large_as_the_ring(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_ok);
    const uint32_t rings[] = { 64, 256, 8192 };
    for (size_t r = 0; r < 3; r++) {
        cb.limits.ring_size = rings[r];
        static char text[9000];
        for (size_t over = 0; over < 2; over++) {
            /* A value that makes the head exactly as large as the ring, or a byte larger. */
            size_t fixed = strlen("GET / HTTP/1.1\r\n" HOST "A: \r\n\r\n");
            int fill = (int)(rings[r] - fixed + over);
            snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST "A: %0*d\r\n\r\n", fill, 0);
            assert_int_equal(strlen(text), rings[r] + over);
            conn_open(&cb);
            conn_feed_text(&cb, text);
            assert_int_equal(next_response(&cb).status, over ? 431 : 200);
            expect_no_more(&cb);
            conn_close(&cb);

            fixed = strlen("GET / HTTP/1.0\r\n\r\n");
            fill = (int)(rings[r] - fixed + over);
            snprintf(text, sizeof(text), "GET /%0*d HTTP/1.0\r\n\r\n", fill, 0);
            conn_open(&cb);
            conn_feed_text(&cb, text);
            assert_int_equal(next_response(&cb).status, over ? 414 : 200);
            expect_no_more(&cb);
            conn_close(&cb);
        }
    }
}

/* Empty lines in front of a request are allowed, without end they are not. */
static void empty_lines_without_end(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_ok);
    conn_open(&cb);
    size_t fed = 0;
    while (!conn_is_closed(&cb) && cb.peer.conn.phase != HS_CONN_LINGERING && fed < 100000)
        fed += conn_feed(&cb, "\r\n", 2, WHOLE);
    assert_true(fed <= cb.limits.ring_size);
    int status = next_response(&cb).status;
    assert_true(status == 414 || status == 400);
    conn_close(&cb);
}

static void limits_of_the_parser_apply(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_ok);
    cb.limits.max_url = 10;
    cb.limits.max_headers = 2;
    expect_refusal(&cb, "GET /0123456789 HTTP/1.1\r\n" HOST "\r\n", 414, 0, WHOLE);
    expect_refusal(&cb, "GET /0123456789", 414, 0, 1);
    expect_refusal(&cb, "GET / HTTP/1.1\r\n" HOST "A: b\r\nC: d\r\n\r\n", 431, 0, WHOLE);
    conn_open(&cb);
    conn_feed_text(&cb, "GET /012345678 HTTP/1.1\r\n" HOST "A: b\r\n\r\n");
    expect_response(&cb, 200, "/012345678");
    conn_close(&cb);
}

/* Announced content that is too large is refused before a byte of it, and nothing is allocated. */
static void too_much_content_is_refused_early(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_ok);
    conn_open(&cb);
    const char *head = "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999\r\n\r\n";
    assert_int_equal(conn_receive(&cb, head, strlen(head)), strlen(head));
    assert_int_equal(cb.peer.conn.phase, HS_CONN_FLUSHING);
    assert_null(cb.peer.conn.job->content.data);
    conn_pump(&cb);
    assert_int_equal(next_response(&cb).status, 413);
    conn_close(&cb);
}

static void a_refused_head_request_gets_no_content(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_ok);
    conn_open(&cb);
    conn_feed_text(&cb, "HEAD / HTTP/1.1\r\n\r\n");
    response_t response = next_response_to(&cb, false);
    assert_int_equal(response.status, 400);
    expect_no_more(&cb);
    conn_close(&cb);
}

/* A client that still sends is listened to for a while, so that it can read the response, but not
 * for ever. */
static void lingering_ends_although_the_client_sends(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_ok);
    conn_open(&cb);
    conn_feed_text(&cb, refusals[0].request);
    assert_int_equal(cb.peer.conn.phase, HS_CONN_LINGERING);
    assert_null(cb.peer.conn.stream.buffers);
    static char rest[4096];
    uint64_t began_ms = cb.peer.env.loop.now_ms;
    while (!conn_is_closed(&cb) && cb.peer.env.loop.now_ms < began_ms + 60000) {
        conn_receive(&cb, rest, sizeof(rest));
        conn_pass_deadline(&cb);
    }
    assert_in_range(cb.peer.env.loop.now_ms - began_ms, 5000, 15000);
    assert_int_equal(cb.handled, 0);
    next_response(&cb);
    expect_no_more(&cb);
    conn_close(&cb);
}

static void lingering_ends_with_the_peer_or_in_time(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_ok);
    conn_open(&cb);
    conn_feed_text(&cb, refusals[0].request);
    conn_peer_shuts(&cb);
    assert_true(conn_is_closed(&cb));
    conn_close(&cb);
    conn_open(&cb);
    conn_feed_text(&cb, refusals[0].request);
    conn_pass_deadline(&cb);
    assert_true(conn_is_closed(&cb));
    conn_close(&cb);
}

/* The peer has shut its side already: nothing can be lost, so there is no lingering. */
static void no_lingering_when_the_peer_has_shut(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_ok);
    conn_open(&cb);
    conn_receive(&cb, refusals[0].request, strlen(refusals[0].request));
    conn_peer_shuts(&cb);
    assert_int_equal(cb.peer.conn.phase, HS_CONN_FLUSHING);
    conn_pump(&cb);
    assert_true(conn_is_closed(&cb));
    assert_int_equal(next_response(&cb).status, 400);
    conn_close(&cb);
}

static void a_connection_too_many_gets_503(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_ok);
    conn_open(&cb);
    conn_shed(&cb);
    assert_int_equal(conn_receive(&cb, "G", 1), 0);
    conn_pump(&cb);
    response_t response = next_response(&cb);
    assert_int_equal(response.status, 503);
    assert_true(response_has(&response, "Connection: close"));
    assert_int_equal(cb.peer.conn.phase, HS_CONN_LINGERING);
    conn_feed_text(&cb, GOOD);
    assert_int_equal(cb.handled, 0);
    expect_no_more(&cb);
    conn_close(&cb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_refusal_at_every_cut),
        cmocka_unit_test(each_refusal_in_a_small_ring),
        cmocka_unit_test(heads_as_large_as_the_ring),
        cmocka_unit_test(empty_lines_without_end),
        cmocka_unit_test(limits_of_the_parser_apply),
        cmocka_unit_test(too_much_content_is_refused_early),
        cmocka_unit_test(a_refused_head_request_gets_no_content),
        cmocka_unit_test(lingering_ends_although_the_client_sends),
        cmocka_unit_test(lingering_ends_with_the_peer_or_in_time),
        cmocka_unit_test(no_lingering_when_the_peer_has_shut),
        cmocka_unit_test(a_connection_too_many_gets_503),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
