/* hs_conn with deferred jobs: responses that come later or in pieces, streamed request content,
 * and clients that disconnect meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/deferred_bench.h"

#define HOST "Host: a\r\n"
#define GET_LATER "GET /later HTTP/1.1\r\n" HOST "\r\n"
#define GET_NOW "GET /now HTTP/1.1\r\n" HOST "\r\n"

static const uint32_t rings[] = { 128, 256, 8192 };

static void feed_text(deferred_bench_t *db, const char *text)
{
    conn_feed_text(&db->cb, text);
}

/* Sends, receives, collects, until nothing more happens by itself. */
static void pump(deferred_bench_t *db)
{
    conn_pump(&db->cb);
}

static void finish(deferred_bench_t *db, size_t number, const char *body)
{
    assert_true(number < db->job_count);
    deferred_finish(&db->jobs[number], body);
    pump(db);
    deferred_assert_over(&db->jobs[number]);
}

static void a_deferred_response_comes_later(void **state)
{
    (void)state;
    static deferred_bench_t db;
    deferred_init(&db);
    deferred_open(&db);
    feed_text(&db, "POST /later?x=1 HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n01234");
    hs_conn_t *conn = &db.cb.peer.conn;
    assert_true(conn->away);
    assert_int_equal(conn->wait, HS_CONN_WAIT_HANDLER);
    assert_int_equal(conn->stream.deadline_ms, *conn_now_ms(&db.cb) + 3000);
    /* Nothing is pending for the connection: it holds no ring and no output. */
    assert_null(conn->stream.buffers);
    assert_int_equal(db.cb.peer.env.loop.buffers.leased, 0);
    assert_int_equal(db.cb.peer.got.len, 0);
    /* The request is unchanged. */
    const hs_request_t *request = hs_deferred_request(db.jobs[0].job);
    size_t len;
    assert_string_equal(hs_req_url(request), "/later?x=1");
    assert_string_equal(hs_req_header(request, "host"), "a");
    assert_memory_equal(hs_req_body(request, &len), "01234", 5);
    assert_int_equal(len, 5);
    finish(&db, 0, "late");
    expect_response(&db.cb, 200, "late");
    assert_true(conn_is_idle(&db.cb));
    feed_text(&db, GET_NOW);
    expect_response(&db.cb, 200, "/now");
    deferred_close(&db);
}

static void finish_at_once(hs_request_t *request, hs_response_t *response, void *user_data)
{
    deferred_bench_t *db = user_data;
    deferred_handler(request, response, user_data);
    deferred_finish(&db->jobs[db->job_count - 1], hs_req_url(request));
}

/* Finished before the handler has returned: by its own thread or a faster one. */
static void a_job_may_be_finished_before_its_handler_returns(void **state)
{
    (void)state;
    static deferred_bench_t db;
    deferred_init(&db);
    db.cb.handler = finish_at_once;
    deferred_open(&db);
    feed_text(&db, GET_LATER GET_LATER GET_LATER);
    for (unsigned i = 0; i < 3; i++)
        expect_response(&db.cb, 200, "/later");
    expect_no_more(&db.cb);
    assert_true(conn_is_idle(&db.cb));
    deferred_close(&db);
}

/* Finishes jobs that are suspended and have their complete request, one after the other. */
static void finish_all(deferred_bench_t *db, size_t *finished)
{
    const hs_http1_t *http1 = &db->cb.peer.conn.http1;
    while (*finished < db->job_count && !hs_http1_is_receiving(http1)) {
        char body[32];
        assert_int_equal(*finished + 1, db->job_count); /* one at a time */
        snprintf(body, sizeof(body), "late %zu", *finished);
        finish(db, *finished, body);
        ++*finished;
    }
}

static const char pipelined[] =
    "GET /later HTTP/1.1\r\n" HOST "\r\n"
    "GET /now HTTP/1.1\r\n" HOST "\r\n"
    "POST /later HTTP/1.1\r\n" HOST "Content-Length: 12\r\n\r\nHTTP/1.1\r\n\r\n"
    "PUT /later HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
    "GET /now/last HTTP/1.1\r\n" HOST "\r\n";

/* The client sends as long as it is read from: a suspended job stops the reading once its request
 * is complete. */
static void feed_some(deferred_bench_t *db, size_t from, size_t to, size_t step, size_t *finished)
{
    const hs_conn_t *conn = &db->cb.peer.conn;
    while (from < to) {
        if (conn->away && !hs_http1_is_receiving(&conn->http1)) {
            assert_false(conn->stream.reads);
            assert_int_equal(conn_receive(&db->cb, pipelined + from, to - from), 0);
            finish_all(db, finished);
        }
        size_t taken = conn_feed(&db->cb, pipelined + from, to - from, step);
        assert_true(taken > 0);
        from += taken;
    }
}

static void run_pipelined(uint32_t ring_size, size_t cut, size_t step, size_t send_step,
                          bool streams_content)
{
    static deferred_bench_t db;
    size_t finished = 0;
    deferred_init(&db);
    db.cb.limits.ring_size = ring_size;
    db.cb.send_step = send_step;
    deferred_open(&db);
    db.cb.peer.env.streams_content = streams_content;
    feed_some(&db, 0, cut, step, &finished);
    feed_some(&db, cut, sizeof(pipelined) - 1, step, &finished);
    finish_all(&db, &finished);
    expect_response(&db.cb, 200, "late 0");
    expect_response(&db.cb, 200, "/now");
    expect_response(&db.cb, 200, "late 1");
    expect_response(&db.cb, 200, "late 2");
    expect_response(&db.cb, 200, "/now/last");
    expect_no_more(&db.cb);
    assert_true(conn_is_idle(&db.cb));
    deferred_close(&db);
}

static void requests_behind_a_suspended_job_wait_their_turn(void **state)
{
    (void)state;
    for (size_t r = 0; r < 3; r++)
        for (size_t cut = 0; cut < sizeof(pipelined); cut++) {
            run_pipelined(rings[r], cut, WHOLE, WHOLE, false);
            run_pipelined(rings[r], cut, 7, 3, false);
        }
}

static void unread_requests_keep_the_buffers(void **state)
{
    (void)state;
    static deferred_bench_t db;
    deferred_init(&db);
    deferred_open(&db);
    feed_text(&db, GET_LATER "GET /now");
    assert_int_equal(db.cb.peer.env.loop.buffers.leased, 1);
    finish(&db, 0, "late");
    feed_text(&db, " HTTP/1.1\r\n" HOST "\r\n");
    expect_response(&db.cb, 200, "late");
    expect_response(&db.cb, 200, "/now");
    deferred_close(&db);
}

static void draining_waits_for_a_suspended_job(void **state)
{
    (void)state;
    static deferred_bench_t db;
    deferred_init(&db);
    deferred_open(&db);
    feed_text(&db, GET_LATER GET_NOW);
    conn_drain(&db.cb);
    assert_true(db.cb.peer.conn.away);
    finish(&db, 0, "late");
    response_t response = next_response(&db.cb);
    assert_int_equal(response.status, 200);
    assert_true(response_has(&response, "Connection: close"));
    expect_no_more(&db.cb);
    deferred_close(&db);
}

/* Clients that disconnect. */

static void a_client_that_shuts_may_still_read(void **state)
{
    (void)state;
    static const char *const behind[] = { "", "GET /unfinished", GET_NOW, GET_NOW "GET /x" };
    for (size_t i = 0; i < 4; i++) {
        static deferred_bench_t db;
        deferred_init(&db);
        deferred_open(&db);
        char text[256];
        snprintf(text, sizeof(text), "%s%s", GET_LATER, behind[i]);
        feed_text(&db, text);
        conn_peer_shuts(&db.cb);
        pump(&db);
        assert_int_equal(db.jobs[0].shuts, 1);
        assert_int_equal(hs_deferred_aborted(db.jobs[0].job), HS_ABORT_SHUT);
        assert_true(db.cb.peer.conn.away);
        conn_peer_shuts(&db.cb); /* it is notified once */
        finish(&db, 0, "late");
        expect_response(&db.cb, 200, "late");
        if (i >= 2)
            expect_response(&db.cb, 200, "/now");
        expect_no_more(&db.cb);
        assert_true(conn_is_closed(&db.cb));
        assert_int_equal(db.jobs[0].losts, 0);
        deferred_close(&db);
    }
}

/* Each of its jobs is notified, even one that begins later, and each once. */
static void every_job_of_a_client_that_has_shut_is_told(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 2; first++) {
        static deferred_bench_t db;
        deferred_init(&db);
        deferred_open(&db);
        db.cb.peer.has_end = first; /* with the requests, or later */
        feed_text(&db, GET_LATER GET_LATER GET_LATER);
        conn_peer_shuts(&db.cb);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(db.job_count, i + 1);
            assert_int_equal(db.jobs[i].shuts, 1);
            finish(&db, i, "late");
            expect_response(&db.cb, 200, "late");
        }
        assert_true(conn_is_closed(&db.cb));
        deferred_close(&db);
    }
}

/* The connection ends at once, the job when it is finished. */
static void a_client_that_is_lost_leaves_its_job(void **state)
{
    (void)state;
    static const unsigned events[] = { HS_EV_READ | HS_EV_PEER_SHUT | HS_EV_HANGUP, HS_EV_HANGUP };
    for (size_t i = 0; i < 2; i++)
        for (unsigned shuts_before = 0; shuts_before < 2; shuts_before++) {
            static deferred_bench_t db;
            deferred_init(&db);
            deferred_open(&db);
            feed_text(&db, GET_LATER GET_NOW);
            if (shuts_before)
                conn_peer_shuts(&db.cb);
            db.cb.peer.recv_error = ECONNRESET;
            hs_stream_on_event(&db.cb.peer.env.loop, &db.cb.peer.conn.stream, events[i]);
            assert_true(conn_is_closed(&db.cb));
            assert_int_equal(db.jobs[0].losts, 1);
            assert_int_equal(db.jobs[0].shuts, shuts_before);
            assert_int_equal(db.cb.peer.env.jobs.leased, 1);
            assert_int_equal(hs_deferred_aborted(db.jobs[0].job), HS_ABORT_LOST);
            hs_response_t *response = deferred_response(&db.jobs[0]);
            assert_int_equal(hs_res_write(response, "x", 1), HS_ERR_ABORTED);
            finish(&db, 0, NULL);
            assert_int_equal(db.cb.peer.env.jobs.leased, 0);
            assert_int_equal(db.cb.peer.got.len, 0);
            deferred_close(&db);
        }
}

static void a_lost_client_meets_a_response_that_is_on_its_way(void **state)
{
    (void)state;
    static deferred_bench_t db;
    deferred_init(&db);
    deferred_open(&db);
    feed_text(&db, GET_LATER);
    deferred_finish(&db.jobs[0], "late"); /* in the completion queue */
    conn_peer_resets(&db.cb);
    assert_int_equal(db.jobs[0].ends, 0);
    pump(&db);
    deferred_assert_over(&db.jobs[0]);
    assert_int_equal(db.cb.peer.env.jobs.leased, 0);
    deferred_close(&db);
}

static void an_aborted_job_may_be_finished_inside_on_abort(void **state)
{
    (void)state;
    static deferred_bench_t db;
    deferred_init(&db);
    db.finishes_aborted = true;
    deferred_open(&db);
    feed_text(&db, GET_LATER);
    conn_peer_resets(&db.cb);
    pump(&db);
    deferred_assert_over(&db.jobs[0]);
    deferred_close(&db);
}

static void a_job_that_takes_too_long_is_503(void **state)
{
    (void)state;
    for (unsigned finishes = 0; finishes < 2; finishes++) {
        static deferred_bench_t db;
        deferred_init(&db);
        db.finishes_aborted = finishes;
        deferred_open(&db);
        feed_text(&db, GET_LATER GET_NOW);
        conn_pass_deadline(&db.cb);
        pump(&db);
        response_t response = next_response(&db.cb);
        assert_int_equal(response.status, 503);
        assert_true(response_has(&response, "Connection: close"));
        assert_int_equal(db.cb.peer.conn.phase, HS_CONN_LINGERING);
        assert_int_equal(db.jobs[0].timeouts, 1);
        assert_int_equal(db.cb.peer.env.jobs.leased, !finishes);
        if (!finishes)
            finish(&db, 0, "too late");
        expect_no_more(&db.cb); /* it is discarded */
        assert_int_equal(db.cb.peer.env.jobs.leased, 0);
        deferred_close(&db);
    }
}

/* Its response is in the completion queue when its deadline expires: it is sent. */
static void a_job_that_is_done_at_its_deadline_is_in_time(void **state)
{
    (void)state;
    static deferred_bench_t db;
    deferred_init(&db);
    deferred_open(&db);
    feed_text(&db, GET_LATER GET_NOW);
    deferred_finish(&db.jobs[0], "in time");
    conn_pass_deadline(&db.cb);
    pump(&db);
    expect_response(&db.cb, 200, "in time");
    expect_response(&db.cb, 200, "/now");
    expect_no_more(&db.cb);
    assert_true(conn_is_idle(&db.cb));
    deferred_close(&db);
}

/* Streamed responses. */

#define STREAM_SIZE (3 * 1024 * 1024)
#define PIECE 50000

static char pattern[STREAM_SIZE];

static void make_pattern(void)
{
    if (pattern[1] == 0)
        for (size_t i = 0; i < sizeof(pattern); i++)
            pattern[i] = (char)(i * 131 + (i >> 8) * 17 + 1);
}

/* Extracts a chunked body, after a head, from what was sent; returns its length. */
static size_t take_chunked(conn_bench_t *cb, size_t from, size_t matches)
{
    size_t len = 0;
    for (;;) {
        char *end;
        const char *at = cb->peer.got.data + cb->read_at;
        size_t chunk = strtoull(at, &end, 16);
        assert_true(end > at && end[0] == '\r' && end[1] == '\n');
        end += 2;
        assert_true((size_t)(end - cb->peer.got.data) + chunk + 2 <= cb->peer.got.len);
        if (matches)
            assert_memory_equal(end, pattern + from + len, chunk);
        assert_memory_equal(end + chunk, "\r\n", 2);
        cb->read_at = (size_t)(end - cb->peer.got.data) + chunk + 2;
        if (chunk == 0)
            return len;
        len += chunk;
    }
}

typedef struct produced {
    size_t len;
    unsigned waits;
} produced_t;

/* Writes until it has to wait, or `total` bytes are written. */
static void write_until_wait(deferred_t *deferred, produced_t *produced, size_t total)
{
    hs_response_t *response = deferred_response(deferred);
    int result = HS_WRITE_CONTINUE;
    while (result == HS_WRITE_CONTINUE && produced->len < total) {
        size_t len = hs_min(PIECE, total - produced->len);
        result = hs_res_write(response, pattern + produced->len, len);
        assert_true(result >= 0);
        produced->len += len;
    }
    produced->waits += result == HS_WRITE_WAIT;
}

/* The client reads `send_step` bytes at a time; the handler writes when it is notified that there
 * is room again. */
static produced_t stream_all(deferred_bench_t *db, size_t total)
{
    deferred_t *deferred = &db->jobs[db->job_count - 1];
    produced_t produced = { 0 };
    unsigned drains = 0;
    write_until_wait(deferred, &produced, total);
    while (produced.len < total) {
        pump(db);
        assert_int_equal(deferred->drains, ++drains); /* once for each wait */
        write_until_wait(deferred, &produced, total);
    }
    assert_int_equal(hs_res_send(deferred_response(deferred)), 0);
    deferred->is_finished = true;
    pump(db);
    deferred_assert_over(deferred);
    return produced;
}

static void a_streamed_response_arrives_whole_and_holds_little(void **state)
{
    (void)state;
    static const size_t steps[] = { WHOLE, 100, 1460, 65536 };
    make_pattern();
    for (size_t s = 0; s < 4; s++) {
        static deferred_bench_t db;
        deferred_init(&db);
        db.cb.send_step = steps[s];
        deferred_open(&db);
        size_t total = steps[s] == 100 ? STREAM_SIZE / 4 : STREAM_SIZE;
        feed_text(&db, GET_LATER);
        produced_t produced = stream_all(&db, total);
        assert_true(produced.waits > 1);
        assert_true(db.cb.most_unsent <= HS_STREAM_HIGH_WATER + HS_STREAM_LOW_WATER + 2 * PIECE);
        response_t response = next_response(&db.cb);
        assert_true(response_has(&response, "Transfer-Encoding: chunked"));
        assert_int_equal(take_chunked(&db.cb, 0, true), total);
        expect_no_more(&db.cb);
        assert_true(conn_is_idle(&db.cb));
        feed_text(&db, GET_NOW);
        expect_response(&db.cb, 200, "/now");
        deferred_close(&db);
    }
}

/* While the client reads nothing, little is accepted from the handler. */
static void a_client_that_does_not_read_stops_the_handler(void **state)
{
    (void)state;
    make_pattern();
    static deferred_bench_t db;
    deferred_init(&db);
    deferred_open(&db);
    feed_text(&db, GET_LATER);
    produced_t produced = { 0 };
    db.cb.peer.room = 1000;
    write_until_wait(&db.jobs[0], &produced, STREAM_SIZE);
    pump(&db);
    assert_true(produced.len <= HS_STREAM_HIGH_WATER + PIECE);
    assert_int_equal(db.jobs[0].drains, 0);
    assert_int_equal(db.cb.peer.conn.wait, HS_CONN_WAIT_WRITE);
    /* It is treated like a client that does not read a complete response. */
    db.cb.peer.unacknowledged = 1000;
    conn_pass_deadline(&db.cb);
    assert_true(conn_is_closed(&db.cb));
    assert_int_equal(db.jobs[0].losts, 1);
    assert_int_equal(hs_res_write(deferred_response(&db.jobs[0]), "x", 1), HS_ERR_ABORTED);
    finish(&db, 0, NULL);
    deferred_close(&db);
}

typedef struct framed_case {
    const char *request;
    bool has_length;
    const char *content; /* as sent */
    bool keeps;
} framed_case_t;

static void how_a_streamed_response_ends(void **state)
{
    (void)state;
    static const framed_case_t table[] = {
        { GET_LATER, false, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", true },
        { GET_LATER, true, "abcde", true },
        { "GET /later HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, "abcde", false },
        { "GET /later HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, "abcde", true },
        { "GET /later HTTP/1.0\r\n\r\n", true, "abcde", false },
        { "HEAD /later HTTP/1.1\r\n" HOST "\r\n", false, "", true },
        { "HEAD /later HTTP/1.1\r\n" HOST "\r\n", true, "", true },
        { "GET /begun HTTP/1.1\r\n" HOST "\r\n", false,
          "6\r\nbegun:\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", true },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        static deferred_bench_t db;
        deferred_init(&db);
        deferred_open(&db);
        feed_text(&db, table[i].request);
        pump(&db);
        hs_response_t *response = deferred_response(&db.jobs[0]);
        if (table[i].has_length)
            assert_int_equal(hs_res_content_length(response, 5), 0);
        assert_int_equal(hs_res_write(response, "abc", 3), HS_WRITE_CONTINUE);
        pump(&db);
        assert_true(db.cb.peer.got.len > 0); /* the head is not delayed */
        assert_int_equal(hs_res_status(response, 404), HS_ERR_STATE);
        assert_int_equal(hs_res_write(response, "", 0), HS_WRITE_CONTINUE);
        assert_int_equal(hs_res_write(response, "de", 2), HS_WRITE_CONTINUE);
        if (table[i].has_length)
            assert_int_equal(hs_res_write(response, "f", 1), HS_ERR_LIMIT);
        finish(&db, 0, NULL);
        const char *content = strstr(db.cb.peer.got.data, "\r\n\r\n") + 4;
        assert_string_equal(content, table[i].content);
        if (table[i].keeps) {
            assert_true(conn_is_idle(&db.cb));
            db.cb.read_at = db.cb.peer.got.len;
            feed_text(&db, GET_NOW);
            expect_response(&db.cb, 200, "/now");
        } else {
            assert_true(conn_is_closed(&db.cb) || db.cb.peer.conn.phase == HS_CONN_LINGERING);
        }
        deferred_close(&db);
    }
}

/* The client notices: the connection is closed without the last chunk. */
static void a_streamed_response_that_fails_is_broken_off(void **state)
{
    (void)state;
    for (unsigned has_length = 0; has_length < 2; has_length++)
        for (unsigned fails = !has_length; fails < 2; fails++) {
            static deferred_bench_t db;
            deferred_init(&db);
            deferred_open(&db);
            feed_text(&db, GET_LATER GET_NOW);
            hs_response_t *response = deferred_response(&db.jobs[0]);
            if (has_length)
                assert_int_equal(hs_res_content_length(response, 5), 0);
            assert_int_equal(hs_res_write(response, "abc", 3), HS_WRITE_CONTINUE);
            if (fails)
                deferred_fail(&db.jobs[0]);
            else
                deferred_finish(&db.jobs[0], NULL); /* two bytes are missing */
            pump(&db);
            deferred_assert_over(&db.jobs[0]);
            assert_true(conn_is_closed(&db.cb));
            const char *content = strstr(db.cb.peer.got.data, "\r\n\r\n") + 4;
            assert_string_equal(content, has_length ? "abc" : "3\r\nabc\r\n");
            assert_int_equal(db.cb.handled, 1);
            deferred_close(&db);
        }
}

static void a_failure_before_the_first_write_is_500(void **state)
{
    (void)state;
    static deferred_bench_t db;
    deferred_init(&db);
    deferred_open(&db);
    feed_text(&db, GET_LATER GET_NOW);
    deferred_fail(&db.jobs[0]);
    pump(&db);
    assert_int_equal(next_response(&db.cb).status, 500);
    expect_response(&db.cb, 200, "/now");
    deferred_close(&db);
}

/* Nothing is sent for a HEAD request, and the waiting handler is still notified. */
static void a_streamed_response_to_head_is_drained_at_once(void **state)
{
    (void)state;
    make_pattern();
    static deferred_bench_t db;
    deferred_init(&db);
    deferred_open(&db);
    feed_text(&db, "HEAD /later HTTP/1.1\r\n" HOST "\r\n");
    produced_t produced = stream_all(&db, STREAM_SIZE);
    assert_true(produced.waits > 1);
    next_response_to(&db.cb, false);
    expect_no_more(&db.cb);
    assert_true(conn_is_idle(&db.cb));
    deferred_close(&db);
}

static void a_client_that_is_lost_while_it_is_streamed_to(void **state)
{
    (void)state;
    make_pattern();
    for (size_t room = 0; room <= 400000; room += 20000) {
        static deferred_bench_t db;
        deferred_init(&db);
        deferred_open(&db);
        feed_text(&db, GET_LATER);
        db.cb.peer.room = room;
        produced_t produced = { 0 };
        write_until_wait(&db.jobs[0], &produced, STREAM_SIZE);
        pump(&db);
        write_until_wait(&db.jobs[0], &produced, STREAM_SIZE); /* one more, uncollected */
        conn_peer_resets(&db.cb);
        pump(&db);
        assert_true(conn_is_closed(&db.cb));
        assert_int_equal(db.jobs[0].losts, 1);
        finish(&db, 0, NULL);
        deferred_close(&db);
    }
}

static void a_streamed_response_has_no_handler_deadline(void **state)
{
    (void)state;
    static deferred_bench_t db;
    deferred_init(&db);
    deferred_open(&db);
    feed_text(&db, GET_LATER);
    assert_int_equal(hs_res_write(deferred_response(&db.jobs[0]), "abc", 3), HS_WRITE_CONTINUE);
    pump(&db);
    assert_int_equal(db.cb.peer.conn.stream.deadline_ms, 0);
    assert_int_equal(db.cb.peer.conn.wait, HS_CONN_WAIT_NONE);
    *conn_now_ms(&db.cb) += 100000;
    finish(&db, 0, NULL);
    assert_int_equal(next_response(&db.cb).status, 200);
    assert_int_equal(db.cb.peer.conn.stream.deadline_ms, *conn_now_ms(&db.cb) + 4000);
    deferred_close(&db);
}

/* Streamed request content. */

static void open_streaming(deferred_bench_t *db, uint32_t ring_size)
{
    deferred_init(db);
    db->cb.limits.ring_size = ring_size;
    deferred_open(db);
    db->cb.peer.env.streams_content = true;
}

#define SIZED_HEAD "POST /later HTTP/1.1\r\n" HOST "Content-Length: 200\r\n\r\n"
#define CHUNKED_HEAD "POST /later HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"

/* A request with 200 bytes of the pattern, and another request after it. */
static size_t make_upload(char *text, bool chunked)
{
    size_t len = (size_t)sprintf(text, "%s", chunked ? CHUNKED_HEAD : SIZED_HEAD);
    if (!chunked) {
        memcpy(text + len, pattern, 200);
        len += 200;
    }
    for (size_t at = 0; chunked && at < 200; at += 40) {
        len += (size_t)sprintf(text + len, "28\r\n");
        memcpy(text + len, pattern + at, 40);
        len += 40 + (size_t)sprintf(text + len + 40, "\r\n");
    }
    if (chunked)
        len += (size_t)sprintf(text + len, "0\r\n\r\n");
    return len + (size_t)sprintf(text + len, GET_NOW);
}

/* The client sends the rest as long as it is read from; paused content is resumed. */
static void feed_upload(deferred_bench_t *db, const char *text, size_t len, size_t step)
{
    size_t stalls = 0;
    while (len > 0) {
        size_t taken = conn_feed(&db->cb, text, len, step);
        text += taken;
        len -= taken;
        if (taken == 0 || db->cb.peer.conn.content_paused) {
            assert_true(++stalls < 1000);
            if (db->cb.peer.conn.content_paused) {
                assert_false(db->cb.peer.conn.stream.reads);
                assert_int_equal(hs_req_resume(db->jobs[0].job), 0);
            } else {
                assert_int_equal(db->jobs[0].lasts, 1);
                finish(db, 0, "stored");
            }
            pump(db);
        }
    }
}

static void run_upload(uint32_t ring_size, bool chunked, bool pauses, size_t cut, size_t step)
{
    static deferred_bench_t db;
    char text[1024];
    size_t len = make_upload(text, chunked);
    open_streaming(&db, ring_size);
    db.pauses = pauses;
    feed_upload(&db, text, cut, step);
    feed_upload(&db, text + cut, len - cut, step);
    while (db.cb.peer.conn.content_paused) {
        assert_int_equal(hs_req_resume(db.jobs[0].job), 0);
        pump(&db);
    }
    deferred_t *job = &db.jobs[0];
    assert_int_equal(job->lasts, 1);
    assert_int_equal(job->content.len, 200);
    assert_memory_equal(job->content.data, pattern, 200);
    if (!job->is_finished)
        finish(&db, 0, "stored");
    expect_response(&db.cb, 200, "stored");
    expect_response(&db.cb, 200, "/now");
    expect_no_more(&db.cb);
    assert_true(conn_is_idle(&db.cb));
    deferred_close(&db);
}

static void content_is_passed_on_at_every_split(void **state)
{
    (void)state;
    make_pattern();
    char text[1024];
    for (unsigned chunked = 0; chunked < 2; chunked++)
        for (unsigned pauses = 0; pauses < 2; pauses++)
            for (size_t r = 0; r < 3; r++)
                for (size_t cut = 0; cut <= make_upload(text, chunked); cut++) {
                    run_upload(rings[r], chunked, pauses, cut, WHOLE);
                    run_upload(rings[r], chunked, pauses, cut, 5);
                }
}

static void pipelined_requests_with_content_that_is_passed_on(void **state)
{
    (void)state;
    for (size_t r = 0; r < 3; r++)
        for (size_t cut = 0; cut < sizeof(pipelined); cut++)
            run_pipelined(rings[r], cut, WHOLE, WHOLE, true);
}

/* A streamed upload may take any time as long as bytes arrive. */
static void the_time_of_content_that_is_passed_on_begins_with_each_piece(void **state)
{
    (void)state;
    make_pattern();
    static deferred_bench_t db;
    open_streaming(&db, 256);
    feed_text(&db, SIZED_HEAD);
    for (int i = 0; i < 20; i++) {
        byte_peer_expire(&db.cb.peer, *conn_now_ms(&db.cb) + 1500);
        assert_int_equal(db.cb.peer.conn.phase, HS_CONN_OPEN);
        conn_feed(&db.cb, pattern + i, 1, WHOLE);
    }
    byte_peer_expire(&db.cb.peer, *conn_now_ms(&db.cb) + 2001);
    assert_int_not_equal(db.cb.peer.conn.phase, HS_CONN_OPEN);
    pump(&db);
    deferred_fail(&db.jobs[0]);
    pump(&db);
    deferred_close(&db);
}

/* A client that is slowed down has no deadline; its handler has one. */
static void a_pause_stops_the_clock_of_the_client(void **state)
{
    (void)state;
    make_pattern();
    static deferred_bench_t db;
    open_streaming(&db, 256);
    db.pauses = true;
    feed_text(&db, SIZED_HEAD);
    assert_int_equal(db.cb.peer.conn.wait, HS_CONN_WAIT_CONTENT);
    assert_int_equal(db.cb.peer.conn.stream.deadline_ms, *conn_now_ms(&db.cb) + 2000);
    conn_feed(&db.cb, pattern, 50, WHOLE);
    assert_true(db.cb.peer.conn.content_paused);
    assert_int_equal(db.cb.peer.conn.wait, HS_CONN_WAIT_HANDLER);
    *conn_now_ms(&db.cb) += 2500;
    db.pauses = false;
    assert_int_equal(hs_req_resume(db.jobs[0].job), 0);
    pump(&db);
    assert_int_equal(db.cb.peer.conn.wait, HS_CONN_WAIT_CONTENT);
    assert_int_equal(db.cb.peer.conn.stream.deadline_ms, *conn_now_ms(&db.cb) + 2000);
    conn_feed(&db.cb, pattern + 50, 150, WHOLE);
    assert_int_equal(db.jobs[0].lasts, 1);
    assert_int_equal(db.cb.peer.conn.wait, HS_CONN_WAIT_HANDLER);
    finish(&db, 0, "stored");
    expect_response(&db.cb, 200, "stored");
    deferred_close(&db);
}

/* The handler has read enough; the client goes on sending and still gets the response. */
static void an_early_response_while_content_arrives(void **state)
{
    (void)state;
    make_pattern();
    for (unsigned chunked = 0; chunked < 2; chunked++)
        for (size_t at = 1; at <= 200; at += 3)
            for (size_t step = 3; step <= 60; step += 57) {
                static deferred_bench_t db;
                char text[1024];
                size_t len = make_upload(text, chunked);
                open_streaming(&db, 256);
                db.early = "enough";
                db.early_at = at;
                conn_feed(&db.cb, text, len, step);
                expect_response(&db.cb, 413, "enough");
                deferred_assert_over(&db.jobs[0]);
                /* Either all of the content has arrived, or the rest is dropped. */
                if (db.cb.handled == 2) {
                    expect_response(&db.cb, 200, "/now");
                    assert_true(conn_is_idle(&db.cb));
                } else {
                    assert_int_equal(db.cb.peer.conn.phase, HS_CONN_LINGERING);
                    assert_non_null(strstr(db.cb.peer.got.data, "Connection: close\r\n"));
                }
                expect_no_more(&db.cb);
                deferred_close(&db);
            }
}

static void a_handler_that_does_not_want_the_content(void **state)
{
    (void)state;
    make_pattern();
    static deferred_bench_t db;
    open_streaming(&db, 256);
    feed_text(&db, "POST /now HTTP/1.1\r\n" HOST "Content-Length: 200\r\n\r\n");
    conn_feed(&db.cb, pattern, 200, 50);
    response_t response = next_response(&db.cb);
    assert_int_equal(response.status, 200);
    assert_true(response_has(&response, "Connection: close"));
    assert_int_equal(db.cb.peer.conn.phase, HS_CONN_LINGERING);
    expect_no_more(&db.cb);
    deferred_close(&db);
}

typedef struct broken_case {
    const char *text; /* after the head of a chunked upload */
    int status;
} broken_case_t;

/* The effect of the rest of the content on a job that waits for it. */
static void content_that_breaks_ends_the_job(void **state)
{
    (void)state;
    static const broken_case_t table[] = {
        { "3\r\nabcX", 400 },
        { "3\r\nabc\r\nzz\r\n", 400 },
        { "100001\r\n", 413 },
    };
    for (size_t i = 0; i < 3; i++)
        for (unsigned begun = 0; begun < 2; begun++)
            for (size_t step = 1; step < 20; step += 3) {
                static deferred_bench_t db;
                open_streaming(&db, 256);
                feed_text(&db, CHUNKED_HEAD);
                if (begun) {
                    assert_int_equal(hs_res_write(deferred_response(&db.jobs[0]), "begun", 5), 0);
                    pump(&db);
                }
                size_t sent = db.cb.peer.got.len;
                conn_feed(&db.cb, table[i].text, strlen(table[i].text), step);
                assert_int_equal(db.jobs[0].losts, 1);
                assert_int_equal(db.jobs[0].lasts, 0);
                if (begun) { /* too late for another head */
                    assert_int_equal(db.cb.peer.got.len, sent);
                    assert_true(conn_is_closed(&db.cb));
                } else {
                    assert_int_equal(next_response(&db.cb).status, table[i].status);
                    assert_int_equal(db.cb.peer.conn.phase, HS_CONN_LINGERING);
                }
                finish(&db, 0, NULL);
                deferred_close(&db);
            }
}

static void content_that_stops_ends_the_job(void **state)
{
    (void)state;
    make_pattern();
    for (unsigned chunked = 0; chunked < 2; chunked++)
        for (unsigned shuts = 0; shuts < 3; shuts++) {
            static deferred_bench_t db;
            char text[1024];
            make_upload(text, chunked);
            open_streaming(&db, 256);
            conn_feed(&db.cb, text, strlen(chunked ? CHUNKED_HEAD : SIZED_HEAD) + 50, WHOLE);
            assert_true(db.jobs[0].content.len > 0);
            if (shuts == 0)
                conn_pass_deadline(&db.cb);
            else if (shuts == 1)
                conn_peer_shuts(&db.cb);
            else
                conn_peer_resets(&db.cb);
            pump(&db);
            assert_int_equal(db.jobs[0].losts, 1);
            assert_int_equal(db.jobs[0].lasts, 0);
            if (shuts < 2)
                assert_int_equal(next_response(&db.cb).status, shuts ? 400 : 408);
            expect_no_more(&db.cb);
            finish(&db, 0, NULL);
            deferred_close(&db);
        }
}

/* The client closes while its content is paused: bytes that have arrived are still passed on. */
static void a_client_that_shuts_while_its_content_is_paused(void **state)
{
    (void)state;
    make_pattern();
    for (unsigned chunked = 0; chunked < 2; chunked++) {
        static deferred_bench_t db;
        char text[1024];
        size_t len = make_upload(text, chunked) - strlen(GET_NOW);
        open_streaming(&db, 8192);
        db.pauses = true;
        assert_int_equal(conn_feed(&db.cb, text, len, WHOLE), len);
        assert_true(db.cb.peer.conn.content_paused);
        conn_peer_shuts(&db.cb);
        pump(&db);
        assert_int_equal(db.jobs[0].shuts, 1);
        while (db.cb.peer.conn.content_paused) {
            assert_int_equal(hs_req_resume(db.jobs[0].job), 0);
            pump(&db);
        }
        assert_int_equal(db.jobs[0].lasts, 1);
        assert_int_equal(db.jobs[0].content.len, 200);
        finish(&db, 0, "stored");
        expect_response(&db.cb, 200, "stored");
        assert_true(conn_is_closed(&db.cb));
        deferred_close(&db);
    }
}

/* Streamed both ways: an echo of the content as it arrives. */
static void content_is_echoed_while_it_arrives(void **state)
{
    (void)state;
    make_pattern();
    static deferred_bench_t db;
    open_streaming(&db, 256);
    feed_text(&db, SIZED_HEAD);
    deferred_t *job = &db.jobs[0];
    for (size_t at = 0; at < 200; at += 20) {
        conn_feed(&db.cb, pattern + at, 20, WHOLE);
        assert_int_equal(job->content.len, at + 20);
        assert_int_equal(hs_res_write(deferred_response(job), job->content.data + at, 20), 0);
        pump(&db);
    }
    assert_int_equal(job->lasts, 1);
    finish(&db, 0, NULL);
    next_response(&db.cb);
    assert_int_equal(take_chunked(&db.cb, 0, true), 200);
    /* The head was sent before the request was complete: it could not promise keep-alive. */
    assert_int_equal(db.cb.peer.conn.phase, HS_CONN_LINGERING);
    deferred_close(&db);
}

/* Memory for content. */

static void content_beyond_the_memory_for_all_is_503(void **state)
{
    (void)state;
    static char content[30000];
    static const char *const heads[] = {
        "POST /now HTTP/1.1\r\n" HOST "Content-Length: 30000\r\n\r\n",
        "POST /now HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n7530\r\n",
    };
    for (size_t i = 0; i < 2; i++) {
        static deferred_bench_t db;
        deferred_init(&db);
        db.cb.limits.max_body_memory = 20000;
        deferred_open(&db);
        feed_text(&db, heads[i]);
        conn_feed(&db.cb, content, sizeof(content), 1000);
        response_t response = next_response(&db.cb);
        assert_int_equal(response.status, 503);
        assert_true(response_has(&response, "Connection: close"));
        assert_int_equal(db.cb.handled, 0);
        deferred_close(&db);
    }
}

/* Buffers kept by free jobs do not count against the limit. */
static void free_jobs_do_not_count_for_the_memory_of_content(void **state)
{
    (void)state;
    static char content[12000];
    static deferred_bench_t db;
    deferred_init(&db);
    db.cb.limits.max_body_memory = 20000;
    deferred_open(&db);
    hs_job_pool_t *pool = &db.cb.peer.env.jobs;
    hs_job_t *first = hs_job_lease(pool);
    hs_job_t *second = hs_job_lease(pool);
    assert_int_equal(hs_job_reserve_content(pool, first, 12000, 20000, true), 0);
    assert_int_equal(hs_job_reserve_content(pool, second, 12000, 20000, true), HS_ERR_LIMIT);
    hs_job_give_back(pool, first);
    hs_job_give_back(pool, second); /* the next one */
    assert_int_equal(pool->content_bytes, 0);
    feed_text(&db, "POST /now HTTP/1.1\r\n" HOST "Content-Length: 12000\r\n\r\n");
    conn_feed(&db.cb, content, sizeof(content), WHOLE);
    expect_response(&db.cb, 200, "/now");
    deferred_close(&db);
}

/* Slow readers, with a kernel buffer in between. */

#define RESPONSE_SIZE (1600 * 1024)

static void respond_large(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)user_data;
    size_t len = (size_t)atoi(hs_req_url(request) + 1);
    assert_int_equal(hs_res_body(response, pattern, len), 0);
    assert_int_equal(hs_res_send(response), 0);
}

typedef struct kernel {
    size_t capacity;
    size_t acknowledged; /* of everything sent */
} kernel_t;

/* The client reads `bytes`; the kernel reports room when a third of its buffer is free. */
static void client_takes(deferred_bench_t *db, kernel_t *kernel, size_t bytes)
{
    byte_peer_t *peer = &db->cb.peer;
    kernel->acknowledged = hs_min(kernel->acknowledged + bytes, peer->got.len);
    peer->unacknowledged = peer->got.len - kernel->acknowledged;
    size_t room = kernel->capacity - peer->unacknowledged;
    peer->room = room >= kernel->capacity / 3 ? room : 0;
    conn_pump(&db->cb);
    peer->room = 0;
    peer->unacknowledged = peer->got.len - kernel->acknowledged;
}

/* Time advances in steps; in each the client reads some bytes. Returns how long it took until
 * everything was sent or the connection was closed. */
static uint64_t read_slowly(deferred_bench_t *db, kernel_t *kernel, uint64_t step_ms, size_t bytes,
                            size_t total)
{
    uint64_t began_ms = *conn_now_ms(&db->cb);
    client_takes(db, kernel, 0);
    while (!conn_is_closed(&db->cb) && db->cb.peer.got.len < total) {
        byte_peer_expire(&db->cb.peer, *conn_now_ms(&db->cb) + step_ms);
        client_takes(db, kernel, bytes);
        assert_true(*conn_now_ms(&db->cb) - began_ms < 10000000);
    }
    return *conn_now_ms(&db->cb) - began_ms;
}

static void open_large(deferred_bench_t *db, uint32_t write_min_rate)
{
    make_pattern();
    deferred_init(db);
    db->cb.handler = respond_large;
    db->cb.limits.write_min_rate = write_min_rate;
    deferred_open(db);
    db->cb.peer.room = 0;
}

/* 50 KB/s: the kernel reports room only every 26 s, the write timeout is 8 s. */
static void a_steady_slow_reader_is_not_cut(void **state)
{
    (void)state;
    for (uint32_t min_rate = 0; min_rate <= 256; min_rate += 256) {
        static deferred_bench_t db;
        kernel_t kernel = { .capacity = 800 * 1024 };
        open_large(&db, min_rate);
        feed_text(&db, "GET /1638400 HTTP/1.1\r\n" HOST "\r\n");
        uint64_t took_ms = read_slowly(&db, &kernel, 100, 1000, RESPONSE_SIZE);
        assert_false(conn_is_closed(&db.cb));
        assert_true(took_ms > 60000);
        deferred_close(&db);
    }
}

/* The kernel still has an earlier response buffered when the next one is unsent: nothing of the
 * next one can be read before that. */
static void a_steady_slow_reader_of_two_responses_is_not_cut(void **state)
{
    (void)state;
    for (uint32_t min_rate = 0; min_rate <= 256; min_rate += 256) {
        static deferred_bench_t db;
        kernel_t kernel = { .capacity = 800 * 1024 };
        open_large(&db, min_rate);
        feed_text(&db, "GET /700000 HTTP/1.1\r\n" HOST "\r\n");
        read_slowly(&db, &kernel, 100, 0, 700000);
        assert_true(conn_is_idle(&db.cb));
        feed_text(&db, "GET /1638400 HTTP/1.1\r\n" HOST "\r\n");
        read_slowly(&db, &kernel, 100, 1000, 700000 + RESPONSE_SIZE);
        assert_false(conn_is_closed(&db.cb));
        deferred_close(&db);
    }
}

/* The same kernel, and a client that reads nothing at all. */
static void a_client_that_takes_nothing_is_cut_although_the_kernel_held_something(void **state)
{
    (void)state;
    static deferred_bench_t db;
    kernel_t kernel = { .capacity = 800 * 1024 };
    open_large(&db, 256);
    feed_text(&db, "GET /700000 HTTP/1.1\r\n" HOST "\r\n");
    read_slowly(&db, &kernel, 100, 0, 700000);
    feed_text(&db, "GET /1638400 HTTP/1.1\r\n" HOST "\r\n");
    uint64_t took_ms = read_slowly(&db, &kernel, 100, 0, 700000 + RESPONSE_SIZE);
    assert_true(conn_is_closed(&db.cb));
    assert_in_range(took_ms, 8000, 17000);
    deferred_close(&db);
}

/* An occasional byte is progress, but less than the minimum rate. */
static void a_reader_of_single_bytes_is_cut(void **state)
{
    (void)state;
    static deferred_bench_t db;
    kernel_t kernel = { .capacity = 100 * 1024 };
    open_large(&db, 256);
    feed_text(&db, "GET /1638400 HTTP/1.1\r\n" HOST "\r\n");
    uint64_t took_ms = read_slowly(&db, &kernel, 1000, 1, RESPONSE_SIZE);
    assert_true(conn_is_closed(&db.cb));
    assert_in_range(took_ms, 8000, 30000);
    deferred_close(&db);
}

static void without_a_least_rate_any_progress_does(void **state)
{
    (void)state;
    static deferred_bench_t db;
    kernel_t kernel = { .capacity = 100 * 1024 };
    open_large(&db, 0);
    feed_text(&db, "GET /1638400 HTTP/1.1\r\n" HOST "\r\n");
    client_takes(&db, &kernel, 0);
    for (unsigned i = 0; i < 1000; i++) {
        byte_peer_expire(&db.cb.peer, *conn_now_ms(&db.cb) + 1000);
        client_takes(&db, &kernel, 1);
    }
    assert_false(conn_is_closed(&db.cb));
    deferred_close(&db);
}

/* Random tests. */

static uint64_t chance_state;

/* 0 to below - 1 */
static size_t chance(size_t below)
{
    chance_state = chance_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(chance_state >> 33) % below;
}

/* Requests of all kinds, one after the other. */
static size_t make_requests(char *text, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        static const char *const targets[] = { "/now", "/later", "/later", "/begun" };
        const char *target = targets[chance(4)];
        size_t content_len = chance(600);
        switch (chance(4)) {
        case 0:
            len += (size_t)sprintf(text + len, "GET %s HTTP/1.1\r\n" HOST "\r\n", target);
            break;
        case 1:
            len += (size_t)sprintf(text + len, "HEAD %s HTTP/1.1\r\n" HOST "\r\n", target);
            break;
        case 2:
            len += (size_t)sprintf(text + len,
                                   "POST %s HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n",
                                   target, content_len);
            memcpy(text + len, pattern, content_len);
            len += content_len;
            break;
        default:
            len += (size_t)sprintf(
                text + len, "PUT %s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n%zx\r\n",
                target, content_len + 1);
            memcpy(text + len, pattern, content_len + 1);
            len += content_len + 1;
            len += (size_t)sprintf(text + len, "\r\n0\r\n\r\n");
        }
    }
    return len;
}

/* The handler of a deferred job makes a random call. */
static void use_job(deferred_bench_t *db, deferred_t *job)
{
    if (job->is_finished)
        return;
    hs_response_t *response = deferred_response(job);
    switch (chance(8)) {
    case 0:
        deferred_fail(job);
        break;
    case 1:
        if (hs_res_body_pinned(response, pattern, chance(100000), deferred_on_release, db) == 0)
            db->pinned++;
        deferred_finish(job, NULL);
        break;
    case 2:
        (void)hs_res_body(response, pattern, chance(100000));
        deferred_finish(job, NULL);
        break;
    case 3:
        (void)hs_res_content_length(response, chance(100000));
        break;
    case 4:
        assert_int_equal(hs_req_resume(job->job), 0);
        break;
    default:
        (void)hs_res_write(response, pattern, chance((size_t)2 << chance(18)));
    }
}

/* One random event, in any order that a kernel, a client, a clock and handlers allow.
 */
static void one_event(deferred_bench_t *db, const char *text, size_t len, size_t *fed)
{
    byte_peer_t *peer = &db->cb.peer;
    hs_loop_t *loop = &peer->env.loop;
    hs_stream_t *stream = &peer->conn.stream;
    size_t kind = chance(100);
    if (kind < 30) {
        *fed += conn_receive(&db->cb, text + *fed, hs_min(1 + chance(500), len - *fed));
    } else if (kind < 45) {
        db->cb.send_step = 1 + chance((size_t)2 << chance(18));
        conn_send_some(&db->cb);
    } else if (kind < 60) {
        hs_conn_collect(&peer->env);
    } else if (kind < 65) {
        hs_loop_resume(loop);
    } else if (kind < 94) {
        if (db->job_count > 0)
            use_job(db, &db->jobs[db->job_count - 1]);
    } else if (kind < 96) {
        db->pauses = chance(2);
    } else if (kind == 96) {
        if (!peer->is_closed && stream->deadline_ms > loop->now_ms)
            byte_peer_expire(peer, loop->now_ms + chance(stream->deadline_ms - loop->now_ms + 2));
    } else if (chance(20) > 0) {
        return; /* rare: the rest closes the connection */
    } else if (kind == 97) {
        conn_peer_shuts(&db->cb);
    } else if (kind == 98) {
        conn_peer_resets(&db->cb);
    } else {
        peer->env.draining = true;
    }
}

static bool head_requests[64]; /* of the handled ones, in order */

static void note_and_defer(hs_request_t *request, hs_response_t *response, void *user_data)
{
    deferred_bench_t *db = user_data;
    assert_true(db->cb.handled < 64);
    head_requests[db->cb.handled] = strcmp(hs_req_method_str(request), "HEAD") == 0;
    deferred_handler(request, response, user_data);
}

/* The length of the complete chunk at `at`, 0 if it is truncated. */
static size_t check_chunk(const char *at, size_t len, bool *is_last)
{
    const char *line_end = memchr(at, '\n', len);
    if (line_end == NULL)
        return 0;
    size_t size = strtoull(at, NULL, 16);
    size_t head_len = (size_t)(line_end + 1 - at);
    *is_last = size == 0;
    if (head_len + size + 2 > len)
        return 0;
    const char *data = line_end + 1;
    assert_memory_equal(data + size, "\r\n", 2);
    if (size != 6 || memcmp(data, "begun:", 6) != 0)
        assert_memory_equal(data, pattern, size);
    return head_len + size + 2;
}

/* The length of the content after a head; SIZE_MAX if it is truncated. */
static size_t check_content(const char *head, const char *at, size_t len)
{
    const char *length = strstr(head, "\r\nContent-Length: ");
    if (length != NULL && length < at) {
        size_t content_len = strtoull(length + 18, NULL, 10);
        return content_len <= len ? content_len : SIZE_MAX;
    }
    assert_non_null(strstr(head, "\r\nTransfer-Encoding: chunked\r\n"));
    size_t done = 0;
    for (bool is_last = false; !is_last;) {
        size_t chunk = check_chunk(at + done, len - done, &is_last);
        if (chunk == 0)
            return SIZE_MAX;
        done += chunk;
    }
    return done;
}

/* What was sent is a sequence of responses; only the last one may be truncated. */
static void check_responses(const deferred_bench_t *db)
{
    const hs_buf_t *got = &db->cb.peer.got;
    unsigned number = 0;
    for (size_t at = 0; at < got->len; number++) {
        const char *head = got->data + at;
        assert_memory_equal(head, "HTTP/1.1 ", hs_min(9, got->len - at));
        const char *end = strstr(head, "\r\n\r\n");
        if (end == NULL)
            return;
        at = (size_t)(end + 4 - got->data);
        bool is_head = number < db->cb.handled && head_requests[number];
        if (is_head)
            continue;
        size_t content_len = check_content(head, end + 4, got->len - at);
        if (content_len == SIZE_MAX)
            return;
        at += content_len;
    }
    assert_true(number <= db->cb.handled + 1); /* and a refusal */
}

static void run_chance(uint64_t seed)
{
    static deferred_bench_t db;
    static char text[64 * 1024];
    chance_state = seed;
    size_t len = make_requests(text, 40);
    size_t fed = 0;
    deferred_init(&db);
    db.cb.handler = note_and_defer;
    db.cb.limits.ring_size = 128u << chance(7);
    db.cb.limits.write_min_rate = chance(2) ? 256 : 0;
    db.finishes_aborted = chance(2);
    deferred_open(&db);
    db.cb.peer.env.streams_content = chance(2);
    for (unsigned i = 0; i < 1500 && !conn_is_closed(&db.cb); i++)
        one_event(&db, text, len, &fed);
    if (chance(2)) /* otherwise everything is aborted in its current state */
        conn_pump(&db.cb);
    check_responses(&db);
    /* Everything is returned, and each job was notified of its end once. */
    deferred_close(&db);
}

static int last_seed;

static void events_in_any_order_end_every_job_once(void **state)
{
    (void)state;
    make_pattern();
    for (last_seed = 1; last_seed <= 3000; last_seed++)
        run_chance((uint64_t)last_seed);
}

static int tell_last_seed(void **state)
{
    (void)state;
    print_message("the last seed was %d\n", last_seed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deferred_response_comes_later),
        cmocka_unit_test(a_job_may_be_finished_before_its_handler_returns),
        cmocka_unit_test(requests_behind_a_suspended_job_wait_their_turn),
        cmocka_unit_test(unread_requests_keep_the_buffers),
        cmocka_unit_test(draining_waits_for_a_suspended_job),
        cmocka_unit_test(a_client_that_shuts_may_still_read),
        cmocka_unit_test(every_job_of_a_client_that_has_shut_is_told),
        cmocka_unit_test(a_client_that_is_lost_leaves_its_job),
        cmocka_unit_test(a_lost_client_meets_a_response_that_is_on_its_way),
        cmocka_unit_test(an_aborted_job_may_be_finished_inside_on_abort),
        cmocka_unit_test(a_job_that_takes_too_long_is_503),
        cmocka_unit_test(a_job_that_is_done_at_its_deadline_is_in_time),
        cmocka_unit_test(a_streamed_response_arrives_whole_and_holds_little),
        cmocka_unit_test(a_client_that_does_not_read_stops_the_handler),
        cmocka_unit_test(how_a_streamed_response_ends),
        cmocka_unit_test(a_streamed_response_that_fails_is_broken_off),
        cmocka_unit_test(a_failure_before_the_first_write_is_500),
        cmocka_unit_test(a_streamed_response_to_head_is_drained_at_once),
        cmocka_unit_test(a_client_that_is_lost_while_it_is_streamed_to),
        cmocka_unit_test(a_streamed_response_has_no_handler_deadline),
        cmocka_unit_test(content_is_passed_on_at_every_split),
        cmocka_unit_test(pipelined_requests_with_content_that_is_passed_on),
        cmocka_unit_test(the_time_of_content_that_is_passed_on_begins_with_each_piece),
        cmocka_unit_test(a_pause_stops_the_clock_of_the_client),
        cmocka_unit_test(an_early_response_while_content_arrives),
        cmocka_unit_test(a_handler_that_does_not_want_the_content),
        cmocka_unit_test(content_that_breaks_ends_the_job),
        cmocka_unit_test(content_that_stops_ends_the_job),
        cmocka_unit_test(a_client_that_shuts_while_its_content_is_paused),
        cmocka_unit_test(content_is_echoed_while_it_arrives),
        cmocka_unit_test(content_beyond_the_memory_for_all_is_503),
        cmocka_unit_test(free_jobs_do_not_count_for_the_memory_of_content),
        cmocka_unit_test(a_steady_slow_reader_is_not_cut),
        cmocka_unit_test(a_steady_slow_reader_of_two_responses_is_not_cut),
        cmocka_unit_test(a_client_that_takes_nothing_is_cut_although_the_kernel_held_something),
        cmocka_unit_test(a_reader_of_single_bytes_is_cut),
        cmocka_unit_test(without_a_least_rate_any_progress_does),
        cmocka_unit_test_teardown(events_in_any_order_end_every_job_once, tell_last_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
