/* hs_conn: pipelining at every segmentation, and the rules for keep-alive and close. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/conn_bench.h"

/* Responds with the target, or as the target says. */
static void answer_url(hs_request_t *request, hs_response_t *response, void *user_data)
{
    conn_bench_t *cb = user_data;
    cb->handled++;
    const char *url = hs_req_url(request);
    if (strncmp(url, "/status/", 8) == 0)
        assert_int_equal(hs_res_status(response, atoi(url + 8)), 0);
    if (strcmp(url, "/close") == 0)
        assert_int_equal(hs_res_header(response, "Connection", "close"), 0);
    assert_int_equal(hs_res_body_str(response, url), 0);
    assert_int_equal(hs_res_send(response), 0);
}

#define REQUESTS 1000

static char *pipeline(size_t count, size_t *len)
{
    char *text = malloc(count * 64);
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        at += (size_t)sprintf(text + at, "GET /%zu HTTP/1.1\r\nHost: a\r\n\r\n", i);
    *len = at;
    return text;
}

static void expect_pipeline(conn_bench_t *cb, size_t count)
{
    assert_int_equal(cb->handled, count);
    for (size_t i = 0; i < count; i++) {
        char expected[32];
        snprintf(expected, sizeof(expected), "/%zu", i);
        expect_response(cb, 200, expected);
    }
    expect_no_more(cb);
    assert_true(conn_is_idle(cb));
    assert_null(cb->peer.conn.stream.buffers);
}

static void run_pipeline(uint32_t ring_size, size_t count, size_t step, size_t send_step)
{
    conn_bench_t cb;
    size_t len;
    char *text = pipeline(count, &len);
    conn_bench_init(&cb, answer_url);
    cb.limits.ring_size = ring_size;
    cb.send_step = send_step;
    conn_open(&cb);
    assert_int_equal(conn_feed(&cb, text, len, step), len);
    expect_pipeline(&cb, count);
    conn_close(&cb);
    free(text);
}

static void a_thousand_requests_in_pieces_of_any_size(void **state)
{
    (void)state;
    const uint32_t rings[] = { 64, 256, 8192, 65536 };
    const size_t steps[] = { WHOLE, 1, 2, 3, 7, 29, 30, 31, 32, 63, 64, 65, 100, 1000, 8191, 8193 };
    for (size_t r = 0; r < 4; r++)
        for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++)
            run_pipeline(rings[r], REQUESTS, steps[s], WHOLE);
}

static void a_thousand_requests_and_a_kernel_that_takes_little(void **state)
{
    (void)state;
    const size_t send_steps[] = { 1, 2, 100, 1460 };
    for (size_t s = 0; s < 4; s++) {
        run_pipeline(8192, REQUESTS, WHOLE, send_steps[s]);
        run_pipeline(64, REQUESTS, 17, send_steps[s]);
    }
}

/* A stream split in two at every byte, and in three at every pair of a smaller one. */
static void requests_cut_at_every_byte(void **state)
{
    (void)state;
    conn_bench_t cb;
    size_t len;
    char *text = pipeline(12, &len);
    const uint32_t rings[] = { 64, 8192 };
    for (size_t r = 0; r < 2; r++) {
        conn_bench_init(&cb, answer_url);
        cb.limits.ring_size = rings[r];
        for (size_t cut = 0; cut <= len; cut++) {
            conn_open(&cb);
            conn_feed(&cb, text, cut, WHOLE);
            conn_feed(&cb, text + cut, len - cut, WHOLE);
            expect_pipeline(&cb, 12);
            conn_close(&cb);
        }
        size_t short_len = strlen("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n") * 2;
        for (size_t a = 0; a <= short_len; a++)
            for (size_t b = a; b <= short_len; b++) {
                conn_open(&cb);
                conn_feed(&cb, text, a, WHOLE);
                conn_feed(&cb, text + a, b - a, WHOLE);
                conn_feed(&cb, text + b, short_len - b, WHOLE);
                expect_pipeline(&cb, 2);
                conn_close(&cb);
            }
    }
    free(text);
}

/* 64 requests per turn, then the other connections. */
static void a_turn_has_a_budget(void **state)
{
    (void)state;
    conn_bench_t cb;
    size_t len;
    char *text = pipeline(200, &len);
    conn_bench_init(&cb, answer_url);
    conn_open(&cb);
    assert_int_equal(conn_receive(&cb, text, len), len);
    assert_int_equal(cb.handled, 64);
    assert_true(cb.peer.conn.stream.runs_again);
    assert_int_equal(conn_receive(&cb, "G", 1), 0);
    conn_pump(&cb);
    expect_pipeline(&cb, 200);
    conn_close(&cb);
    free(text);
}

typedef struct keep_case {
    const char *request;
    bool kept;
    bool lingers;     /* the client may be sending its next request */
    const char *line; /* the Connection field of the response, NULL: none */
} keep_case_t;

static void what_keeps_a_connection_open(void **state)
{
    (void)state;
    static const keep_case_t table[] = {
        { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, false, NULL },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", true, false, NULL },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false, false,
          "Connection: close" },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n", false, false,
          "Connection: close" },
        { "GET / HTTP/1.0\r\n\r\n", false, false, "Connection: close" },
        { "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, false,
          "Connection: keep-alive" },
        { "GET / HTTP/1.0\r\nConnection: close\r\n\r\n", false, false, "Connection: close" },
        { "GET /close HTTP/1.1\r\nHost: a\r\n\r\n", false, true, "Connection: close" },
        { "GET /close HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, true,
          "Connection: close" },
    };
    conn_bench_t cb;
    conn_bench_init(&cb, answer_url);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        conn_open(&cb);
        conn_feed_text(&cb, table[i].request);
        response_t response = next_response(&cb);
        assert_int_equal(response.status, 200);
        if (table[i].line != NULL)
            assert_true(response_has(&response, table[i].line));
        else
            assert_null(strstr(response.head, "Connection:"));
        if (table[i].kept)
            assert_true(conn_is_idle(&cb));
        else
            assert_int_equal(cb.peer.conn.phase,
                             table[i].lingers ? HS_CONN_LINGERING : HS_CONN_CLOSED);
        expect_no_more(&cb);
        conn_close(&cb);
    }
}

/* Requests that a client pipelined after its `close` get no response, and must not turn the
 * response before them into a reset: the connection lingers. */
static void nothing_behind_a_close_is_answered(void **state)
{
    (void)state;
    const char *text = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
                       "GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                       "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n";
    conn_bench_t cb;
    conn_bench_init(&cb, answer_url);
    conn_open(&cb);
    conn_feed_text(&cb, text);
    assert_int_equal(cb.handled, 2);
    expect_response(&cb, 200, "/1");
    expect_response(&cb, 200, "/2");
    expect_no_more(&cb);
    assert_int_equal(cb.peer.conn.phase, HS_CONN_LINGERING);
    conn_peer_shuts(&cb);
    assert_true(conn_is_closed(&cb));
    conn_close(&cb);
}

static void responses_without_content(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_url);
    conn_open(&cb);
    conn_feed_text(&cb, "HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n"
                        "GET /status/204 HTTP/1.1\r\nHost: a\r\n\r\n"
                        "GET /status/304 HTTP/1.1\r\nHost: a\r\n\r\n"
                        "GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
    response_t response = next_response_to(&cb, false);
    assert_int_equal(response.status, 200);
    assert_true(response_has(&response, "Content-Length: 5"));
    for (int status = 204; status <= 304; status += 100) {
        response = next_response(&cb);
        assert_int_equal(response.status, status);
        assert_null(strstr(response.head, "Content-Length"));
        assert_int_equal(response.body_len, 0);
    }
    expect_response(&cb, 200, "/after");
    expect_no_more(&cb);
    conn_close(&cb);
}

static void every_response_has_the_date(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_url);
    conn_open(&cb);
    conn_feed_text(&cb, "GET / HTTP/1.1\r\nHost: a\r\n\r\nBAD\r\n\r\n");
    response_t response = next_response(&cb);
    assert_true(response_has(&response, "Date: Sun, 06 Nov 1994 08:49:37 GMT"));
    response = next_response(&cb);
    assert_int_equal(response.status, 400);
    assert_true(response_has(&response, "Date: Sun, 06 Nov 1994 08:49:37 GMT"));
    conn_close(&cb);
}

/* An idle connection holds no buffers and no job, which is what makes it cheap. */
static void an_idle_connection_gives_its_buffers_back(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_url);
    conn_open(&cb);
    assert_int_equal(cb.peer.env.loop.buffers.leased, 0);
    assert_int_equal(cb.peer.env.jobs.leased, 0);
    conn_feed_text(&cb, "GET /1 HTTP/1.1\r\n");
    assert_int_equal(cb.peer.env.loop.buffers.leased, 1);
    assert_int_equal(cb.peer.env.jobs.leased, 1);
    conn_feed_text(&cb, "Host: a\r\n\r\n");
    assert_int_equal(cb.peer.env.loop.buffers.leased, 0);
    assert_int_equal(cb.peer.env.jobs.leased, 0);
    /* A wake-up without bytes leaves no buffers allocated. */
    assert_int_equal(conn_receive(&cb, "", 0), 0);
    assert_int_equal(cb.peer.env.loop.buffers.leased, 0);
    assert_int_equal(cb.peer.env.jobs.leased, 0);
    conn_close(&cb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_requests_in_pieces_of_any_size),
        cmocka_unit_test(a_thousand_requests_and_a_kernel_that_takes_little),
        cmocka_unit_test(requests_cut_at_every_byte),
        cmocka_unit_test(a_turn_has_a_budget),
        cmocka_unit_test(what_keeps_a_connection_open),
        cmocka_unit_test(nothing_behind_a_close_is_answered),
        cmocka_unit_test(responses_without_content),
        cmocka_unit_test(every_response_has_the_date),
        cmocka_unit_test(an_idle_connection_gives_its_buffers_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
