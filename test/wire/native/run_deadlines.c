/*
 * The deadlines of a connection and their responses, on a clock that the test sets;
 * and the response to one connection too many. The bytes between are those of the wire documents.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire_app.h"
#include "wire_expect.h"
#include "wire_link.h"

#define HEADER_MS 10000
#define BODY_MS 30000
#define KEEPALIVE_MS 75000
#define GRACE_MS 10000

static void open_link(wire_link_t *link, uint32_t body_timeout_ms, uint32_t body_min_rate)
{
    hs_limits_t limits = {
        .ring_size = 256,
        .max_url = 256,
        .max_headers = 8,
        .max_connections = 1,
        .max_body = 1024 * 1024,
        .header_timeout_ms = HEADER_MS,
        .body_timeout_ms = body_timeout_ms,
        .body_min_rate = body_min_rate,
        .keepalive_timeout_ms = KEEPALIVE_MS,
        .write_timeout_ms = BODY_MS,
    };
    wire_link_init(link, &limits, wire_app, NULL);
    wire_link_open(link);
}

static void close_link(wire_link_t *link)
{
    wire_link_close(link);
    wire_link_free(link);
}

static void feed(wire_link_t *link, const char *text)
{
    wire_link_feed(link, text, strlen(text));
}

/* Lets time pass as the I/O thread would: the connection is told of deadlines that have passed. */
static void pass(wire_link_t *link, uint32_t ms)
{
    const hs_stream_t *stream = &link->conn.stream;
    uint64_t until_ms = link->env.loop.now_ms + ms;
    while (!link->is_closed && stream->deadline_ms != 0 && stream->deadline_ms <= until_ms) {
        uint64_t now_ms = link->env.loop.now_ms;
        byte_peer_expire(link, now_ms < stream->deadline_ms ? stream->deadline_ms : now_ms);
        byte_peer_pump(link);
    }
    link->env.loop.now_ms = until_ms;
}

static void assert_sent(const wire_link_t *link, const char *responses)
{
    char why[512] = "";
    wire_end_t end;
    if (!wire_expect(responses, NULL, hs_span(link->got.data, link->got.len), &end, why,
                     sizeof(why)))
        fail_msg("%s; sent was: %.*s", why, (int)link->got.len, link->got.data);
}

static void a_connection_without_a_request_is_closed_without_a_response(void **state)
{
    (void)state;
    wire_link_t link;
    open_link(&link, BODY_MS, 0);
    pass(&link, HEADER_MS - 1);
    assert_true(hs_conn_is_idle(&link.conn));
    pass(&link, 1);
    assert_true(link.is_closed);
    assert_int_equal(link.got.len, 0);
    close_link(&link);
}

static void a_slow_head_has_one_deadline(void **state)
{
    (void)state;
    static const char head[] = "GET / HTTP/1.1\r\nHost: a";
    wire_link_t link;
    open_link(&link, BODY_MS, 0);
    uint64_t begin_ms = link.env.loop.now_ms;
    for (size_t i = 0; i + 1 < sizeof(head) && link.got.len == 0; i++) {
        wire_link_feed(&link, head + i, 1);
        pass(&link, 1000);
    }
    assert_sent(&link, "408\nclosed\n");
    assert_int_equal(link.env.loop.now_ms - begin_ms, HEADER_MS);
    close_link(&link);
}

static void a_refused_head_request_has_no_content(void **state)
{
    (void)state;
    wire_link_t link;
    open_link(&link, BODY_MS, 0);
    feed(&link, "HEAD / HTTP/1.1\r\n");
    pass(&link, HEADER_MS);
    assert_sent(&link, "408 bodiless 16\nclosed\n");
    close_link(&link);
}

static void an_idle_connection_is_closed_without_a_response(void **state)
{
    (void)state;
    wire_link_t link;
    open_link(&link, BODY_MS, 0);
    feed(&link, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    pass(&link, KEEPALIVE_MS - 1);
    assert_true(hs_conn_is_idle(&link.conn));
    pass(&link, 1);
    assert_true(link.is_closed);
    assert_sent(&link, "200 GET / 1.1 []\nopen\n");
    close_link(&link);
}

static void begin_upload(wire_link_t *link, uint32_t body_timeout_ms, uint32_t body_min_rate)
{
    open_link(link, body_timeout_ms, body_min_rate);
    feed(link, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
}

static void upload(wire_link_t *link, size_t bytes)
{
    static const char zeros[1000];
    for (; bytes > 0; bytes -= hs_min(bytes, sizeof(zeros)))
        wire_link_feed(link, zeros, hs_min(bytes, sizeof(zeros)));
}

static void content_has_one_deadline(void **state)
{
    (void)state;
    wire_link_t link;
    begin_upload(&link, BODY_MS, 0);
    for (int second = 0; second < BODY_MS / 1000; second++) {
        assert_int_equal(link.got.len, 0);
        upload(&link, 1);
        pass(&link, 1000);
    }
    assert_sent(&link, "408\nclosed\n");
    close_link(&link);
}

static void content_slower_than_the_rate_is_refused(void **state)
{
    (void)state;
    wire_link_t link;
    begin_upload(&link, 0, 1000);
    uint32_t passed_ms = 0;
    for (; link.got.len == 0; passed_ms += 1000) {
        upload(&link, 500);
        pass(&link, 1000);
    }
    /* After n seconds 500 n bytes are 1000 a second but for the grace: n = 20. */
    assert_in_range(passed_ms, 2 * GRACE_MS - 1000, 2 * GRACE_MS + 1000);
    assert_sent(&link, "408\nclosed\n");
    close_link(&link);
}

static void content_as_fast_as_the_rate_is_accepted(void **state)
{
    (void)state;
    wire_link_t link;
    begin_upload(&link, 0, 1000);
    for (int second = 0; second < 100; second++) {
        assert_int_equal(link.got.len, 0);
        pass(&link, 1000);
        upload(&link, 1000);
    }
    assert_true(link.got.len > 100000);
    close_link(&link);
}

static void a_stall_after_the_grace_is_refused(void **state)
{
    (void)state;
    wire_link_t link;
    begin_upload(&link, BODY_MS, 1000);
    pass(&link, GRACE_MS - 1);
    assert_int_equal(link.got.len, 0);
    pass(&link, 1);
    assert_sent(&link, "408\nclosed\n");
    close_link(&link);
}

static void framing_of_chunks_does_not_count_for_the_rate(void **state)
{
    (void)state;
    wire_link_t link;
    open_link(&link, 0, 10);
    feed(&link, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    uint32_t seconds = 0;
    for (; link.got.len == 0; seconds++) {
        feed(&link, "1;an-extension-that-looks-like-work=yes\r\nx\r\n");
        pass(&link, 1000);
    }
    assert_in_range(seconds, 10, 13);
    assert_sent(&link, "408\nclosed\n");
    close_link(&link);
}

static void without_limits_the_server_waits_for_content(void **state)
{
    (void)state;
    wire_link_t link;
    begin_upload(&link, 0, 0);
    assert_int_equal(link.conn.stream.deadline_ms, 0);
    close_link(&link);
}

static void one_connection_too_many_gets_503(void **state)
{
    (void)state;
    wire_link_t link;
    open_link(&link, BODY_MS, 0);
    hs_conn_refuse(&link.conn, &link.env, 503);
    hs_stream_update(&link.env.loop, &link.conn.stream);
    feed(&link, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_sent(&link, "503\nclosed\n");
    close_link(&link);
}

static void after_a_refusal_bytes_are_discarded_while_they_arrive(void **state)
{
    (void)state;
    wire_link_t link;
    open_link(&link, BODY_MS, 0);
    feed(&link, "BAD\x01");
    for (int second = 0; second < 4; second++) {
        upload(&link, 100000);
        pass(&link, 400);
        assert_int_equal(link.conn.phase, HS_CONN_LINGERING);
        assert_null(link.conn.stream.buffers);
    }
    pass(&link, 1000);
    assert_true(link.is_closed);
    assert_sent(&link, "400\nclosed\n");
    close_link(&link);
}

static void lingering_ends(void **state)
{
    (void)state;
    wire_link_t link;
    open_link(&link, BODY_MS, 0);
    feed(&link, "BAD\x01");
    uint32_t passed_ms = 0;
    for (; !link.is_closed && passed_ms < 60000; passed_ms += 100) {
        feed(&link, "x");
        pass(&link, 100);
    }
    assert_in_range(passed_ms, 5000, 15000);
    close_link(&link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_without_a_request_is_closed_without_a_response),
        cmocka_unit_test(a_slow_head_has_one_deadline),
        cmocka_unit_test(a_refused_head_request_has_no_content),
        cmocka_unit_test(an_idle_connection_is_closed_without_a_response),
        cmocka_unit_test(content_has_one_deadline),
        cmocka_unit_test(content_slower_than_the_rate_is_refused),
        cmocka_unit_test(content_as_fast_as_the_rate_is_accepted),
        cmocka_unit_test(a_stall_after_the_grace_is_refused),
        cmocka_unit_test(framing_of_chunks_does_not_count_for_the_rate),
        cmocka_unit_test(without_limits_the_server_waits_for_content),
        cmocka_unit_test(one_connection_too_many_gets_503),
        cmocka_unit_test(after_a_refusal_bytes_are_discarded_while_they_arrive),
        cmocka_unit_test(lingering_ends),
    };
    return cmocka_run_group_tests_name("deadlines", tests, NULL, NULL);
}
