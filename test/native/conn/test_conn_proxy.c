/* A connection that begins with a header of the PROXY protocol: read at every split point, once,
 * within the header timeout, and only from trusted proxies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/conn_bench.h"
#include "conn/hs_conn_move.h"
#include "conn/hs_observer.h"
#include "http/proxy_headers.h"

#define REQUEST "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define SOCKET_PEER "198.51.100.7"
#define SOCKET_PORT 4321

/* Responds with "address port". */
static void answer_peer(hs_request_t *request, hs_response_t *response, void *user_data)
{
    conn_bench_t *cb = user_data;
    char text[64];
    snprintf(text, sizeof(text), "%s %u", hs_req_peer_address(request), hs_req_peer_port(request));
    cb->handled++;
    assert_int_equal(hs_res_body_str(response, text), 0);
    assert_int_equal(hs_res_send(response), 0);
}

static void expect_proxy(conn_bench_t *cb)
{
    hs_conn_t *conn = &cb->peer.conn;
    assert_true(hs_peer_parse(HS_SPAN_LITERAL(SOCKET_PEER), &conn->peer));
    conn->peer.port = SOCKET_PORT;
    hs_conn_expect_proxy(conn, &cb->peer.env);
    hs_stream_update(&cb->peer.env.loop, &conn->stream);
    conn_check_armed(cb);
}

static void open_proxied(conn_bench_t *cb, uint32_t ring_size)
{
    conn_bench_init(cb, answer_peer);
    cb->limits.ring_size = ring_size;
    conn_open(cb);
    expect_proxy(cb);
}

static void expect_peer(conn_bench_t *cb, const proxy_case_t *expected)
{
    char text[64];
    bool is_named = expected->source[0] != '\0';
    snprintf(text, sizeof(text), "%s %u", is_named ? expected->source : SOCKET_PEER,
             is_named ? expected->port : SOCKET_PORT);
    expect_response(cb, 200, text);
}

static void feed_span(conn_bench_t *cb, hs_span_t span, size_t step)
{
    assert_int_equal(conn_feed(cb, span.data, span.len, step), span.len);
}

static void the_header_at_every_split(void **state)
{
    (void)state;
    static const uint32_t rings[] = { 128, 8192 };
    for (size_t r = 0; r < sizeof(rings) / sizeof(rings[0]); r++)
        for (size_t i = 0; i < PROXY_CASES; i++) {
            const proxy_case_t *expected = &proxy_cases[i];
            char bytes[512];
            size_t header_len = expected->bytes.len;
            size_t len = header_len + 2 * strlen(REQUEST);
            memcpy(bytes, expected->bytes.data, header_len);
            memcpy(bytes + header_len, REQUEST REQUEST, strlen(REQUEST REQUEST));
            for (size_t cut = 0; cut <= len; cut++) {
                conn_bench_t cb;
                open_proxied(&cb, rings[r]);
                feed_span(&cb, hs_span(bytes, cut), WHOLE);
                feed_span(&cb, hs_span(bytes + cut, len - cut), WHOLE);
                expect_peer(&cb, expected);
                expect_peer(&cb, expected); /* the header applies to the connection */
                expect_no_more(&cb);
                assert_true(conn_is_idle(&cb));
                conn_close(&cb);
            }
            conn_bench_t cb;
            open_proxied(&cb, rings[r]);
            feed_span(&cb, hs_span(bytes, len), 1);
            expect_peer(&cb, expected);
            expect_peer(&cb, expected);
            conn_close(&cb);
        }
}

static void a_malformed_header_closes(void **state)
{
    (void)state;
    for (size_t i = 0; i < MALFORMED_PROXIES; i++)
        for (size_t step = 1; step <= 512; step *= 2) {
            conn_bench_t cb;
            open_proxied(&cb, 256);
            conn_feed(&cb, malformed_proxies[i].data, malformed_proxies[i].len, step);
            assert_true(conn_is_closed(&cb));
            expect_no_more(&cb);
            assert_int_equal(cb.handled, 0);
            conn_close(&cb);
        }
}

/* A second header is an invalid request. */
static void one_header_a_connection(void **state)
{
    (void)state;
    conn_bench_t cb;
    open_proxied(&cb, 8192);
    feed_span(&cb, proxy_cases[0].bytes, WHOLE);
    feed_span(&cb, proxy_cases[0].bytes, WHOLE);
    assert_int_equal(next_response(&cb).status, 400);
    assert_int_equal(cb.handled, 0);
    conn_close(&cb);
}

static void a_header_longer_than_the_ring_closes(void **state)
{
    (void)state;
    static char bytes[256] = V2_SIGNATURE "\x21\0\0\x71";
    conn_bench_t cb;
    open_proxied(&cb, 128);
    conn_feed(&cb, bytes, 16, WHOLE);
    assert_true(conn_is_closed(&cb));
    conn_close(&cb);
    bytes[15]--;
    open_proxied(&cb, 128);
    feed_span(&cb, hs_span(bytes, 128), 16);
    conn_feed_text(&cb, REQUEST);
    assert_int_equal(next_response(&cb).status, 200);
    conn_close(&cb);
}

/* From accept on, however slowly bytes arrive; a header in time does not extend it. */
static void the_header_has_a_deadline(void **state)
{
    (void)state;
    for (size_t sent = 0; sent <= proxy_cases[0].bytes.len; sent++) {
        conn_bench_t cb;
        open_proxied(&cb, 8192);
        uint64_t deadline_ms = *conn_now_ms(&cb) + cb.limits.header_timeout_ms;
        for (size_t at = 0; at < sent; at++) {
            *conn_now_ms(&cb) += 10;
            feed_span(&cb, hs_span(proxy_cases[0].bytes.data + at, 1), WHOLE);
            assert_int_equal(cb.peer.conn.stream.deadline_ms, deadline_ms);
        }
        conn_pass_deadline(&cb);
        assert_true(conn_is_closed(&cb));
        expect_no_more(&cb);
        conn_close(&cb);
    }
}

static void an_end_within_the_header_closes(void **state)
{
    (void)state;
    for (size_t sent = 0; sent <= proxy_cases[0].bytes.len; sent++) {
        conn_bench_t cb;
        open_proxied(&cb, 8192);
        conn_feed(&cb, proxy_cases[0].bytes.data, sent, WHOLE);
        conn_peer_shuts(&cb);
        conn_pump(&cb);
        assert_true(conn_is_closed(&cb));
        expect_no_more(&cb);
        conn_close(&cb);
    }
}

static void an_end_behind_the_request_is_answered(void **state)
{
    (void)state;
    conn_bench_t cb;
    open_proxied(&cb, 8192);
    char bytes[256];
    int len = snprintf(bytes, sizeof(bytes), "%s" REQUEST, proxy_cases[0].bytes.data);
    conn_receive(&cb, bytes, (size_t)len);
    conn_peer_shuts(&cb);
    conn_pump(&cb);
    expect_peer(&cb, &proxy_cases[0]);
    conn_close(&cb);
}

static void a_reset_and_a_drain_close(void **state)
{
    (void)state;
    conn_bench_t cb;
    open_proxied(&cb, 8192);
    conn_feed(&cb, "PROXY", 5, WHOLE);
    conn_peer_resets(&cb);
    assert_true(conn_is_closed(&cb));
    conn_close(&cb);
    open_proxied(&cb, 8192);
    conn_drain(&cb);
    assert_true(conn_is_closed(&cb));
    conn_close(&cb);
}

static void headers_from_trusted_proxies_alone(void **state)
{
    (void)state;
    static hs_forwarding_t forwarding;
    for (int trusted = 0; trusted < 2; trusted++) {
        hs_observer_t observer = { 0 };
        static hs_stats_area_t stats;
        memset(&stats, 0, sizeof(stats));
        observer.stats = &stats;
        conn_bench_t cb;
        assert_int_equal(hs_networks_parse(&forwarding.trusted,
                                           trusted ? "198.51.100.0/24" : "198.51.101.0/24", NULL),
                         HS_OK);
        conn_bench_init(&cb, answer_peer);
        conn_open(&cb);
        cb.peer.env.jobs.forwarding = &forwarding;
        cb.peer.env.observer = &observer;
        expect_proxy(&cb);
        assert_int_equal(conn_is_closed(&cb), !trusted);
        assert_int_equal(stats.counters[HS_STATS_REJECTED_PROXY], !trusted);
        if (trusted) {
            feed_span(&cb, proxy_cases[0].bytes, WHOLE);
            conn_feed_text(&cb, REQUEST);
            expect_peer(&cb, &proxy_cases[0]);
        }
        cb.peer.env.observer = NULL;
        conn_close(&cb);
    }
}

static void rejections_are_counted(void **state)
{
    (void)state;
    static const char *const sent[] = { "", "PROX", "PROXY NONSENSE\r\n", REQUEST };
    static const uint64_t counted[] = { 0, 1, 1, 1 };
    for (size_t i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
        static hs_stats_area_t stats;
        memset(&stats, 0, sizeof(stats));
        hs_observer_t observer = { .stats = &stats };
        conn_bench_t cb;
        open_proxied(&cb, 8192);
        cb.peer.env.observer = &observer;
        conn_feed(&cb, sent[i], strlen(sent[i]), WHOLE);
        conn_peer_shuts(&cb);
        assert_true(conn_is_closed(&cb));
        assert_int_equal(stats.counters[HS_STATS_REJECTED_PROXY], counted[i]);
        cb.peer.env.observer = NULL;
        conn_close(&cb);
    }
}

/* Before, within and after the header. */
static void a_moved_connection_goes_on_where_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < PROXY_CASES; i++) {
        const proxy_case_t *expected = &proxy_cases[i];
        for (size_t cut = 0; cut <= expected->bytes.len; cut++) {
            conn_bench_t cb;
            struct iovec iov[2];
            hs_conn_moved_t moved;
            char bytes[512];
            open_proxied(&cb, 8192);
            feed_span(&cb, hs_span(expected->bytes.data, cut), WHOLE);
            byte_peer_t *peer = &cb.peer;
            assert_true(hs_conn_is_movable(&peer->conn));
            int pieces = hs_conn_export(&peer->conn, &moved, iov);
            assert_true(pieces <= 1 && moved.len <= sizeof(bytes));
            if (pieces > 0)
                memcpy(bytes, iov[0].iov_base, moved.len);
            byte_peer_abort(peer);
            byte_peer_open(peer);
            assert_true(hs_conn_import(&peer->conn, &peer->env, &moved, bytes));
            hs_stream_update(&peer->env.loop, &peer->conn.stream);
            conn_pump(&cb);
            feed_span(&cb, hs_span(expected->bytes.data + cut, expected->bytes.len - cut), WHOLE);
            conn_feed_text(&cb, REQUEST);
            expect_peer(&cb, expected);
            conn_close(&cb);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_at_every_split),
        cmocka_unit_test(a_malformed_header_closes),
        cmocka_unit_test(one_header_a_connection),
        cmocka_unit_test(a_header_longer_than_the_ring_closes),
        cmocka_unit_test(the_header_has_a_deadline),
        cmocka_unit_test(an_end_within_the_header_closes),
        cmocka_unit_test(an_end_behind_the_request_is_answered),
        cmocka_unit_test(a_reset_and_a_drain_close),
        cmocka_unit_test(headers_from_trusted_proxies_alone),
        cmocka_unit_test(rejections_are_counted),
        cmocka_unit_test(a_moved_connection_goes_on_where_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
