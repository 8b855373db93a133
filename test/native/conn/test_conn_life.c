/* hs_conn: deadlines, one armed at a time; a peer that shuts down its side; draining; `Expect`; and
 * a client that does not read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/conn_bench.h"

#define HOST "Host: a\r\n"
#define GOOD "GET /good HTTP/1.1\r\n" HOST "\r\n"

/* "/<n>": n bytes; anything else: the target. */
static void answer_size(hs_request_t *request, hs_response_t *response, void *user_data)
{
    conn_bench_t *cb = user_data;
    static char data[10 * 1024 * 1024];
    size_t len = (size_t)atoi(hs_req_url(request) + 1);
    cb->handled++;
    if (data[0] == '\0')
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = (char)('a' + i % 26);
    if (len > 0)
        assert_int_equal(hs_res_body(response, data, len), 0);
    else
        assert_int_equal(hs_res_body_str(response, hs_req_url(request)), 0);
    assert_int_equal(hs_res_send(response), 0);
}

static void open_bench(conn_bench_t *cb)
{
    conn_bench_init(cb, answer_size);
    conn_open(cb);
}

static void expect_wait(const conn_bench_t *cb, hs_conn_wait_t wait, uint64_t deadline_ms)
{
    assert_int_equal(cb->peer.conn.wait, wait);
    assert_int_equal(cb->peer.conn.stream.deadline_ms, deadline_ms);
}

static void receive_text(conn_bench_t *cb, const char *text)
{
    assert_int_equal(conn_receive(cb, text, strlen(text)), strlen(text));
}

/* The life of one connection: which deadline is armed, and when it starts. */
static void one_deadline_is_armed_at_a_time(void **state)
{
    (void)state;
    conn_bench_t cb;
    open_bench(&cb);
    uint64_t *now = conn_now_ms(&cb);
    expect_wait(&cb, HS_CONN_WAIT_HEAD, *now + 1000); /* accepted: the head is due */
    *now += 500;
    receive_text(&cb, "POST /x HTTP/1.1\r\n");
    uint64_t head_began = *now;
    expect_wait(&cb, HS_CONN_WAIT_HEAD, head_began + 1000);
    *now += 400;
    receive_text(&cb, HOST); /* sending slowly gains no time */
    expect_wait(&cb, HS_CONN_WAIT_HEAD, head_began + 1000);
    *now += 400;
    receive_text(&cb, "Content-Length: 9\r\n\r\n");
    uint64_t content_began = *now;
    expect_wait(&cb, HS_CONN_WAIT_CONTENT, content_began + 2000);
    *now += 700;
    receive_text(&cb, "01234");
    expect_wait(&cb, HS_CONN_WAIT_CONTENT, content_began + 2000);
    *now += 700;
    receive_text(&cb, "5678");
    expect_wait(&cb, HS_CONN_WAIT_WRITE, *now + 8000);
    *now += 100;
    cb.send_step = 10;
    uint64_t sending_began = *now - 100;
    conn_send_some(&cb);
    expect_wait(&cb, HS_CONN_WAIT_WRITE, sending_began + 8000);
    /* Progress is checked when the deadline expires: then the write deadline starts again. */
    conn_pass_deadline(&cb);
    expect_wait(&cb, HS_CONN_WAIT_WRITE, *now + 8000);
    *now += 100;
    conn_pump(&cb);
    expect_wait(&cb, HS_CONN_WAIT_REQUEST, *now + 4000);
    *now += 3000;
    receive_text(&cb, "G");
    expect_wait(&cb, HS_CONN_WAIT_HEAD, *now + 1000);
    conn_close(&cb);
}

typedef struct deadline_case {
    const char *received; /* before the deadline expires */
    int status;           /* of the response, 0: closed without one */
} deadline_case_t;

static void what_a_passed_deadline_does(void **state)
{
    (void)state;
    static const deadline_case_t table[] = {
        { "", 0 },
        { "G", 408 },
        { "GET / HTTP/1.1\r\nHost", 408 },
        { "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n", 408 },
        { "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n0123", 408 },
        { "POST / HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n\r\n0123", 408 },
        { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nab", 408 },
        { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n", 408 },
    };
    conn_bench_t cb;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        open_bench(&cb);
        conn_feed_text(&cb, table[i].received);
        conn_pass_deadline(&cb);
        conn_pump(&cb);
        if (table[i].status == 0) {
            assert_int_equal(cb.peer.got.len, 0);
            assert_true(conn_is_closed(&cb));
        } else {
            response_t response = next_response(&cb);
            assert_int_equal(response.status, table[i].status);
            assert_true(response_has(&response, "Connection: close"));
            assert_int_equal(cb.peer.conn.phase, HS_CONN_LINGERING);
        }
        assert_int_equal(cb.handled, 0);
        expect_no_more(&cb);
        conn_close(&cb);
    }
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    (void)state;
    conn_bench_t cb;
    open_bench(&cb);
    conn_feed_text(&cb, GOOD);
    expect_response(&cb, 200, "/good");
    conn_pass_deadline(&cb);
    assert_true(conn_is_closed(&cb));
    expect_no_more(&cb);
    conn_close(&cb);
}

static void a_client_that_does_not_read_is_closed(void **state)
{
    (void)state;
    conn_bench_t cb;
    open_bench(&cb);
    receive_text(&cb, "GET /100000 HTTP/1.1\r\n" HOST "\r\n");
    cb.send_step = 1000;
    assert_true(conn_send_some(&cb));
    cb.peer.unacknowledged = 1000; /* the kernel has accepted it, not the client */
    conn_pass_deadline(&cb);
    assert_true(conn_is_closed(&cb));
    assert_int_equal(cb.peer.got.len, 1000);
    conn_close(&cb);
}

static void a_client_that_reads_no_further_is_closed(void **state)
{
    (void)state;
    conn_bench_t cb;
    open_bench(&cb);
    receive_text(&cb, "GET /100000 HTTP/1.1\r\n" HOST "\r\n");
    cb.send_step = 1000;
    assert_true(conn_send_some(&cb));
    conn_pass_deadline(&cb); /* it has read 1000 bytes in between */
    assert_false(conn_is_closed(&cb));
    conn_pass_deadline(&cb);
    assert_true(conn_is_closed(&cb));
    conn_close(&cb);
}

static void a_timeout_of_zero_is_none(void **state)
{
    (void)state;
    conn_bench_t cb;
    conn_bench_init(&cb, answer_size);
    cb.limits.header_timeout_ms = cb.limits.body_timeout_ms = 0;
    cb.limits.keepalive_timeout_ms = cb.limits.write_timeout_ms = 0;
    conn_open(&cb);
    expect_wait(&cb, HS_CONN_WAIT_HEAD, 0);
    receive_text(&cb, "POST /x HTTP/1.1\r\n" HOST "Content-Length: 1\r\n");
    expect_wait(&cb, HS_CONN_WAIT_HEAD, 0);
    receive_text(&cb, "\r\n");
    expect_wait(&cb, HS_CONN_WAIT_CONTENT, 0);
    receive_text(&cb, "x");
    expect_wait(&cb, HS_CONN_WAIT_WRITE, 0);
    conn_pump(&cb);
    expect_wait(&cb, HS_CONN_WAIT_REQUEST, 0);
    conn_close(&cb);
}

/* A half-closed client still gets its responses; an unfinished request is dropped. */
static void a_peer_that_shuts_gets_its_responses(void **state)
{
    (void)state;
    static const struct {
        const char *rest;
    } table[] = { { "" },
                  { "G" },
                  { "GET / HTTP/1.1\r\n" },
                  { "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n0123" },
                  { "POST / HTTP/1.1\r\n" HOST "Content-Length: 50000\r\n\r\n0123" },
                  { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nab" } };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (unsigned before = 0; before <= 200; before += before < 3 ? 1 : 197) {
            conn_bench_t cb;
            static char text[16384];
            text[0] = '\0';
            for (unsigned k = 0; k < before; k++)
                strcat(text, GOOD);
            strcat(text, table[i].rest);
            open_bench(&cb);
            receive_text(&cb, text);
            conn_peer_shuts(&cb);
            conn_pump(&cb);
            for (unsigned k = 0; k < before; k++)
                expect_response(&cb, 200, "/good");
            expect_no_more(&cb);
            assert_true(conn_is_closed(&cb));
            conn_close(&cb);
        }
}

static void a_peer_that_shuts_while_a_response_is_sent(void **state)
{
    (void)state;
    conn_bench_t cb;
    open_bench(&cb);
    receive_text(&cb, "GET /500000 HTTP/1.1\r\n" HOST "\r\n" GOOD);
    cb.send_step = 3000;
    assert_true(conn_send_some(&cb));
    conn_peer_shuts(&cb);
    conn_pump(&cb);
    assert_int_equal(next_response(&cb).body_len, 500000);
    expect_response(&cb, 200, "/good");
    assert_true(conn_is_closed(&cb));
    conn_close(&cb);
}

typedef struct reset_case {
    const char *received;
    size_t step; /* that the kernel accepts */
} reset_case_t;

/* Idle, in a head, in content, with a response unsent, with requests behind it, lingering. */
static void a_reset_ends_the_connection_in_every_state(void **state)
{
    (void)state;
    static const reset_case_t table[] = {
        { "", WHOLE },
        { GOOD, WHOLE },
        { "GET / HT", WHOLE },
        { "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n012", WHOLE },
        { "POST / HTTP/1.1\r\n" HOST "Content-Length: 50000\r\n\r\n012", WHOLE },
        { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nab", WHOLE },
        { "GET /100000 HTTP/1.1\r\n" HOST "\r\n", 1000 },
        { "GET /100000 HTTP/1.1\r\n" HOST "\r\n" GOOD GOOD, 1000 },
        { "NONSENSE\r\n\r\n", 3 },
        { "NONSENSE\r\n\r\n", WHOLE },
    };
    static const unsigned events[] = { HS_EV_READ | HS_EV_PEER_SHUT | HS_EV_HANGUP, HS_EV_HANGUP,
                                       HS_EV_WRITE | HS_EV_HANGUP };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (size_t e = 0; e < sizeof(events) / sizeof(events[0]); e++) {
            conn_bench_t cb;
            open_bench(&cb);
            cb.send_step = table[i].step;
            if (table[i].received[0] != '\0')
                receive_text(&cb, table[i].received);
            conn_send_some(&cb);
            size_t sent = cb.peer.got.len;
            cb.peer.recv_error = cb.peer.send_error = ECONNRESET;
            hs_stream_on_event(&cb.peer.env.loop, &cb.peer.conn.stream, events[e]);
            conn_check_armed(&cb);
            assert_true(conn_is_closed(&cb));
            assert_int_equal(cb.peer.got.len, sent);
            conn_close(&cb);
        }
}

/* The deadline of an idle connection expires in the turn in which its next request arrives: the
 * request is received first, and gets its own deadline. */
static void what_has_arrived_is_received_before_a_deadline(void **state)
{
    (void)state;
    conn_bench_t cb;
    open_bench(&cb);
    hs_loop_t *loop = &cb.peer.env.loop;
    conn_feed_text(&cb, GOOD);
    expect_wait(&cb, HS_CONN_WAIT_REQUEST, loop->now_ms + 4000);
    loop->now_ms += 4200; /* the wheel would report it */
    conn_feed_text(&cb, "GET /good HTTP/1.1\r\n");
    hs_loop_check_deadlines(loop, loop->now_ms);
    conn_check_armed(&cb);
    expect_wait(&cb, HS_CONN_WAIT_HEAD, loop->now_ms + 1000);
    conn_feed_text(&cb, HOST "\r\n");
    expect_response(&cb, 200, "/good");
    expect_response(&cb, 200, "/good");
    loop->now_ms += 4200;
    hs_loop_check_deadlines(loop, loop->now_ms);
    assert_true(conn_is_closed(&cb));
    conn_close(&cb);
}

static void draining_closes_what_is_idle(void **state)
{
    (void)state;
    conn_bench_t cb;
    open_bench(&cb);
    conn_drain(&cb);
    assert_true(conn_is_closed(&cb));
    conn_close(&cb);
    open_bench(&cb);
    conn_feed_text(&cb, GOOD);
    conn_drain(&cb);
    assert_true(conn_is_closed(&cb));
    expect_response(&cb, 200, "/good");
    conn_close(&cb);
}

/* Messages that have begun still get responses, each the last one on its connection. */
static void draining_answers_what_has_begun(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
    } table[] = {
        { "G", "ET /good HTTP/1.1\r\n" HOST "\r\n" },
        { "GET /good HTTP/1.1\r\n" HOST, "\r\n" GOOD },
        { "POST /good HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n", "abc" GOOD },
        { "POST /good HTTP/1.1\r\n" HOST "Content-Length: 9000\r\n\r\n", NULL },
        { "POST /good HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\n",
          "a\r\n0\r\n\r\n" GOOD },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        conn_bench_t cb;
        static char rest[9000];
        memset(rest, 'r', sizeof(rest));
        open_bench(&cb);
        conn_feed_text(&cb, table[i].before);
        conn_drain(&cb);
        assert_false(conn_is_closed(&cb));
        if (table[i].after != NULL)
            conn_feed_text(&cb, table[i].after);
        else
            conn_feed(&cb, rest, sizeof(rest), WHOLE);
        response_t response = next_response(&cb);
        assert_int_equal(response.status, 200);
        assert_true(response_has(&response, "Connection: close"));
        expect_no_more(&cb);
        assert_int_equal(cb.handled, 1);
        assert_true(conn_is_closed(&cb) || cb.peer.conn.phase == HS_CONN_LINGERING);
        conn_close(&cb);
    }
}

static void draining_sends_what_is_unsent(void **state)
{
    (void)state;
    conn_bench_t cb;
    open_bench(&cb);
    receive_text(&cb, "GET /300000 HTTP/1.1\r\n" HOST "\r\n");
    conn_drain(&cb);
    assert_false(conn_is_closed(&cb));
    conn_pump(&cb);
    assert_int_equal(next_response(&cb).body_len, 300000);
    assert_true(conn_is_closed(&cb));
    conn_close(&cb);
}

#define EXPECTS HOST "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"

static void a_client_that_expects_100_gets_it_before_its_content(void **state)
{
    (void)state;
    const char *interim = "HTTP/1.1 100 Continue\r\n\r\n";
    conn_bench_t cb;
    open_bench(&cb);
    conn_feed_text(&cb, "PUT /x HTTP/1.1\r\n" EXPECTS);
    assert_int_equal(cb.peer.got.len, strlen(interim));
    assert_memory_equal(cb.peer.got.data, interim, cb.peer.got.len);
    assert_int_equal(cb.peer.conn.wait, HS_CONN_WAIT_CONTENT);
    cb.read_at = cb.peer.got.len;
    conn_feed_text(&cb, "body");
    expect_response(&cb, 200, "/x");
    /* Chunked, and after another response in one batch. */
    conn_feed_text(&cb, GOOD "PUT /y HTTP/1.1\r\n" HOST
                             "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    expect_response(&cb, 200, "/good");
    assert_string_equal(cb.peer.got.data + cb.read_at, interim);
    cb.read_at = cb.peer.got.len;
    conn_feed_text(&cb, "1\r\na\r\n0\r\n\r\n");
    expect_response(&cb, 200, "/y");
    expect_no_more(&cb);
    conn_close(&cb);
}

static void no_interim_response_where_none_is_due(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "PUT /x HTTP/1.1\r\n" EXPECTS "body", "PUT /x HTTP/1.1\r\n" EXPECTS "b",
        "PUT /x HTTP/1.0\r\n" EXPECTS, "PUT /x HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n"
    };
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        conn_bench_t cb;
        open_bench(&cb);
        conn_feed_text(&cb, requests[i]);
        if (cb.peer.got.len > 0)
            assert_int_equal(next_response(&cb).status, 200);
        expect_no_more(&cb);
        conn_close(&cb);
    }
}

/* A client that does not read is not read from either, and costs one response, however many
 * requests it sends. */
static void unsent_responses_stop_the_reading(void **state)
{
    (void)state;
    conn_bench_t cb;
    static char text[40000];
    for (int i = 0; i < 1000; i++)
        strcat(text + strlen(text), "GET /10000 HTTP/1.1\r\n" HOST "\r\n");
    open_bench(&cb);
    size_t len = strlen(text);
    size_t taken = conn_receive(&cb, text, len);
    unsigned handled = cb.handled;
    assert_true(handled <= 8);
    assert_true(cb.most_unsent <= 64 * 1024 + 10 * 1024 + 512);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(conn_receive(&cb, text, len), 0);
        hs_loop_resume(&cb.peer.env.loop); /* not while something is unsent */
    }
    assert_int_equal(cb.handled, handled);
    conn_pump(&cb);
    taken += conn_feed(&cb, text + taken, len - taken, WHOLE);
    assert_int_equal(taken, len);
    assert_int_equal(cb.handled, 1000);
    assert_true(cb.most_unsent <= 64 * 1024 + 10 * 1024 + 512);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(next_response(&cb).body_len, 10000);
    expect_no_more(&cb);
    conn_close(&cb);
}

static void responses_of_ten_megabytes_arrive_whole(void **state)
{
    (void)state;
    const size_t steps[] = { WHOLE, 65536, 1460 };
    for (size_t s = 0; s < 3; s++) {
        conn_bench_t cb;
        open_bench(&cb);
        cb.send_step = steps[s];
        const char *text = "GET /10485760 HTTP/1.1\r\n" HOST "\r\n" GOOD
                           "GET /10485759 HTTP/1.1\r\n" HOST "\r\n" GOOD;
        conn_feed_text(&cb, text);
        for (size_t i = 0; i < 2; i++) {
            response_t response = next_response(&cb);
            assert_int_equal(response.body_len, 10485760 - i);
            for (size_t k = 0; k < response.body_len; k += 4093)
                assert_int_equal(response.body[k], 'a' + (char)(k % 26));
            expect_response(&cb, 200, "/good");
        }
        expect_no_more(&cb);
        assert_true(cb.most_unsent <= 10485760 + HS_STREAM_LOW_WATER + 1024);
        conn_close(&cb);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_deadline_is_armed_at_a_time),
        cmocka_unit_test(what_a_passed_deadline_does),
        cmocka_unit_test(an_idle_connection_is_closed_without_a_word),
        cmocka_unit_test(a_client_that_does_not_read_is_closed),
        cmocka_unit_test(a_client_that_reads_no_further_is_closed),
        cmocka_unit_test(a_timeout_of_zero_is_none),
        cmocka_unit_test(a_peer_that_shuts_gets_its_responses),
        cmocka_unit_test(a_peer_that_shuts_while_a_response_is_sent),
        cmocka_unit_test(a_reset_ends_the_connection_in_every_state),
        cmocka_unit_test(what_has_arrived_is_received_before_a_deadline),
        cmocka_unit_test(draining_closes_what_is_idle),
        cmocka_unit_test(draining_answers_what_has_begun),
        cmocka_unit_test(draining_sends_what_is_unsent),
        cmocka_unit_test(a_client_that_expects_100_gets_it_before_its_content),
        cmocka_unit_test(no_interim_response_where_none_is_due),
        cmocka_unit_test(unsent_responses_stop_the_reading),
        cmocka_unit_test(responses_of_ten_megabytes_arrive_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
