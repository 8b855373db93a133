/* hs_conn_move: a connection that is taken apart at any byte and continued elsewhere responds as if
 * nothing had happened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/conn_bench.h"
#include "conn/hs_conn_move.h"

#define HOST "Host: a\r\n"

static void answer_url(hs_request_t *request, hs_response_t *response, void *user_data)
{
    conn_bench_t *cb = user_data;
    cb->handled++;
    assert_int_equal(hs_res_body_str(response, hs_req_url(request)), 0);
    assert_int_equal(hs_res_send(response), 0);
}

/* Content that stays in the ring, content with a buffer, content in chunks. */
static const char text[] =
    "GET /1 HTTP/1.1\r\n" HOST "\r\n"
    "POST /2 HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n01234"
    "POST /3 HTTP/1.1\r\n" HOST "Content-Length: 130\r\n\r\n"
    "01234567890123456789012345678901234567890123456789012345678901234567890123456789"
    "01234567890123456789012345678901234567890123456789"
    "POST /4 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    "GET /5 HTTP/1.1\r\n" HOST "\r\n";

/* To a new connection of the same loop; sent bytes stay. */
static void move(conn_bench_t *cb)
{
    byte_peer_t *peer = &cb->peer;
    struct iovec iov[2];
    hs_conn_moved_t moved;
    char bytes[512];
    size_t len = 0;
    int count = hs_conn_export(&peer->conn, &moved, iov);
    for (int i = 0; i < count; i++) {
        assert_true(len + iov[i].iov_len <= sizeof(bytes));
        memcpy(bytes + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    assert_int_equal(len, moved.len);
    byte_peer_abort(peer);
    size_t sent = peer->got.len;
    byte_peer_open(peer);
    peer->got.len = sent;
    assert_true(hs_conn_import(&peer->conn, &peer->env, &moved, bytes));
    hs_stream_update(&peer->env.loop, &peer->conn.stream);
    conn_check_armed(cb);
}

static void expect_all(conn_bench_t *cb)
{
    assert_int_equal(cb->handled, 5);
    for (unsigned i = 1; i <= 5; i++) {
        char url[8];
        snprintf(url, sizeof(url), "/%u", i);
        expect_response(cb, 200, url);
    }
    expect_no_more(cb);
    assert_true(conn_is_idle(cb));
}

/* Moved at a split point, if it is movable there: between two messages and in a head. */
static void moved_at_every_byte(void **state)
{
    (void)state;
    static const uint32_t rings[] = { 64, 128, 8192 };
    size_t len = sizeof(text) - 1;
    for (size_t r = 0; r < sizeof(rings) / sizeof(rings[0]); r++) {
        size_t moves = 0;
        for (size_t cut = 0; cut <= len; cut++) {
            conn_bench_t cb;
            conn_bench_init(&cb, answer_url);
            cb.limits.ring_size = rings[r];
            conn_open(&cb);
            conn_feed(&cb, text, cut, WHOLE);
            bool in_head = cb.peer.conn.http1.reading <= HS_READING_HEAD;
            assert_int_equal(hs_conn_is_movable(&cb.peer.conn), in_head);
            if (in_head) {
                move(&cb);
                moves++;
            }
            conn_pump(&cb);
            conn_feed(&cb, text + cut, len - cut, WHOLE);
            expect_all(&cb);
            conn_close(&cb);
        }
        assert_true(moves > len / 3);
    }
}

static void moved_after_every_byte(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_url);
    cb.limits.ring_size = 64;
    conn_open(&cb);
    for (size_t at = 0; at + 1 < sizeof(text); at++) {
        assert_int_equal(conn_feed(&cb, text + at, 1, WHOLE), 1);
        if (hs_conn_is_movable(&cb.peer.conn))
            move(&cb);
        conn_pump(&cb);
    }
    expect_all(&cb);
    conn_close(&cb);
}

static void what_is_unsent_is_sent_before_a_move(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_url);
    conn_open(&cb);
    conn_receive(&cb, text, sizeof(text) - 1);
    assert_false(hs_conn_is_movable(&cb.peer.conn));
    conn_pump(&cb);
    assert_true(hs_conn_is_movable(&cb.peer.conn));
    expect_all(&cb);
    conn_peer_shuts(&cb);
    assert_true(conn_is_closed(&cb));
    assert_false(hs_conn_is_movable(&cb.peer.conn));
    conn_close(&cb);
}

/* Whether it has had a response decides which deadline an idle connection gets. */
static void an_idle_connection_waits_on_as_before(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_url);
    conn_open(&cb);
    move(&cb);
    assert_int_equal(cb.peer.conn.wait, HS_CONN_WAIT_HEAD);
    conn_feed_text(&cb, "GET /1 HTTP/1.1\r\n" HOST "\r\n");
    move(&cb);
    assert_int_equal(cb.peer.conn.wait, HS_CONN_WAIT_REQUEST);
    assert_true(conn_is_idle(&cb));
    conn_close(&cb);
}

/* The successor's rings may be smaller. */
static void a_head_that_does_not_fit_the_ring_of_its_successor_is_refused(void **state)
{
    (void)state;
    static const char bytes[] =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Long: 0123456789012345678901234567890123456789";
    const hs_conn_moved_t moved = { .len = sizeof(bytes) - 1 };
    conn_bench_t cb;
    conn_bench_init(&cb, answer_url);
    cb.limits.ring_size = 64;
    conn_open(&cb);
    assert_true(hs_conn_import(&cb.peer.conn, &cb.peer.env, &moved, bytes));
    hs_stream_update(&cb.peer.env.loop, &cb.peer.conn.stream);
    conn_pump(&cb);
    expect_response(&cb, 431, "Request Header Fields Too Large\n");
    conn_close(&cb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moved_at_every_byte),
        cmocka_unit_test(moved_after_every_byte),
        cmocka_unit_test(what_is_unsent_is_sent_before_a_move),
        cmocka_unit_test(an_idle_connection_waits_on_as_before),
        cmocka_unit_test(a_head_that_does_not_fit_the_ring_of_its_successor_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
