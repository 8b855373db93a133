/* hs_conn with responses that are deferred and streamed, content passed on as it arrives, and
 * the counters and log lines of requests that end early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/conn_bench.h"
#include "exec/hs_res.h"

#define HOST "Host: a\r\n"
#define GET_LATER "GET /later HTTP/1.1\r\n" HOST "\r\n"
#define HIGH_WATER (256 * 1024)

/* A connection whose handler defers "/later" and responds to anything else at once. */
typedef struct streamed {
    conn_bench_t cb;
    hs_observer_t observer;
    hs_stats_area_t stats;
    hs_deferred_t job;
    unsigned drained;
    unsigned aborts;
    hs_abort_reason_t reason;
    unsigned ends;
    hs_buf_t content;
    unsigned lasts;  /* calls with is_last */
    bool pauses;     /* on_content asks for a pause each time */
    bool answers;    /* on_content ends the response when it has all content */
    bool takes_over; /* the handler takes over the connection, without a response */
} streamed_t;

static hs_response_t *response_of(const streamed_t *st)
{
    hs_response_t *response = hs_deferred_response(st->job);
    assert_non_null(response);
    return response;
}

static void on_drain(hs_deferred_t job, void *user_data)
{
    streamed_t *st = user_data;
    assert_true(job == st->job);
    st->drained++;
}

static void on_abort(hs_deferred_t job, hs_abort_reason_t reason, void *user_data)
{
    streamed_t *st = user_data;
    assert_true(job == st->job);
    st->aborts++;
    st->reason = reason;
}

static hs_content_next_t on_content(hs_deferred_t job, const char *data, size_t length,
                                    bool is_last, void *user_data)
{
    streamed_t *st = user_data;
    assert_true(job == st->job);
    assert_int_equal(st->lasts, 0); /* nothing comes after the last piece */
    assert_true(hs_buf_append(&st->content, data, length));
    st->lasts += is_last;
    if (is_last && st->answers) {
        assert_int_equal(hs_res_body(response_of(st), st->content.data, st->content.len), 0);
        assert_int_equal(hs_res_send(response_of(st)), 0);
    }
    return st->pauses ? HS_CONTENT_PAUSE : HS_CONTENT_CONTINUE;
}

static void on_end(void *user_data)
{
    streamed_t *st = user_data;
    st->ends++;
}

static void handle(hs_request_t *request, hs_response_t *response, void *user_data)
{
    streamed_t *st = user_data;
    st->cb.handled++;
    if (strcmp(hs_req_url(request), "/later") != 0) {
        assert_int_equal(hs_res_body_str(response, hs_req_url(request)), 0);
        assert_int_equal(hs_res_send(response), 0);
        return;
    }
    const hs_callbacks_t callbacks = { on_drain, on_abort, on_content, on_end, st };
    assert_int_equal(hs_res_callbacks(response, &callbacks), 0);
    if (st->takes_over) {
        assert_int_equal(hs_res_take_over(response, HS_TAKEOVER_SILENT), 0);
        assert_int_equal(hs_res_write(response, "hello", 5), HS_WRITE_CONTINUE);
        assert_int_equal(hs_res_take_over(response, HS_TAKEOVER_SILENT), HS_ERR_STATE);
    }
    st->job = hs_res_defer(response);
    assert_true(st->job != 0);
    st->content.len = 0;
    st->lasts = 0;
}

static int begin(void **state)
{
    streamed_t *st = calloc(1, sizeof(*st));
    conn_bench_init(&st->cb, handle);
    st->cb.user_data = st;
    st->cb.jobs_away = true;
    st->answers = true;
    *state = st;
    return 0;
}

/* Counters go to st->stats. */
static void open_streamed(streamed_t *st, bool streams_content)
{
    conn_open(&st->cb);
    hs_conn_env_t *env = &st->cb.peer.env;
    memset(&st->observer, 0, sizeof(st->observer));
    memset(&st->stats, 0, sizeof(st->stats));
    st->observer.stats = &st->stats;
    env->observer = &st->observer;
    env->streams_content = streams_content;
}

/* Jobs that are still out are finished first. */
static void close_streamed(streamed_t *st)
{
    byte_peer_abort(&st->cb.peer);
    if (hs_deferred_response(st->job) != NULL)
        (void)hs_res_fail(hs_deferred_response(st->job));
    hs_conn_collect(&st->cb.peer.env);
    conn_close(&st->cb);
}

static int end(void **state)
{
    streamed_t *st = *state;
    hs_buf_free(&st->content);
    hs_buf_free(&st->cb.peer.got);
    free(st);
    return 0;
}

static uint64_t counted(const streamed_t *st, unsigned counter)
{
    return st->stats.counters[counter];
}

/* Bytes sent since the last call. */
static void expect_sent(streamed_t *st, const char *text)
{
    conn_bench_t *cb = &st->cb;
    size_t len = cb->peer.got.len - cb->read_at;
    if (len != strlen(text) || memcmp(cb->peer.got.data + cb->read_at, text, len) != 0)
        fail_msg("sent: %.*s\ninstead of: %s", (int)len, cb->peer.got.data + cb->read_at, text);
    cb->read_at = cb->peer.got.len;
}

static void write_text(streamed_t *st, const char *text)
{
    assert_int_equal(hs_res_write(response_of(st), text, strlen(text)), HS_WRITE_CONTINUE);
    conn_pump(&st->cb);
}

static void expect_head(streamed_t *st, const char *line)
{
    response_t response = next_response(&st->cb);
    assert_int_equal(response.status, 200);
    if (!response_has(&response, line))
        fail_msg("no \"%s\" in: %s", line, response.head);
}

static void pieces_become_chunks_at_once(void **state)
{
    streamed_t *st = *state;
    open_streamed(st, false);
    conn_feed_text(&st->cb, GET_LATER "GET /next HTTP/1.1\r\n" HOST "\r\n");
    expect_no_more(&st->cb);
    write_text(st, "one");
    expect_head(st, "Transfer-Encoding: chunked");
    expect_sent(st, "3\r\none\r\n");
    write_text(st, ""); /* no empty chunk: it would end the content */
    expect_sent(st, "");
    write_text(st, "sixteen letters.");
    expect_sent(st, "10\r\nsixteen letters.\r\n");
    assert_int_equal(st->cb.handled, 1);
    assert_int_equal(hs_res_send(response_of(st)), 0);
    conn_pump(&st->cb);
    assert_memory_equal(st->cb.peer.got.data + st->cb.read_at, "0\r\n\r\n", 5);
    st->cb.read_at += 5;
    expect_response(&st->cb, 200, "/next");
    assert_true(conn_is_idle(&st->cb));
    assert_int_equal(st->ends, 1);
    close_streamed(st);
}

static void a_known_length_needs_no_chunks(void **state)
{
    streamed_t *st = *state;
    open_streamed(st, false);
    conn_feed_text(&st->cb, GET_LATER);
    assert_int_equal(hs_res_content_length(response_of(st), 6), 0);
    write_text(st, "abc");
    assert_non_null(strstr(st->cb.peer.got.data, "\r\nContent-Length: 6\r\n"));
    write_text(st, "def");
    assert_int_equal(hs_res_send(response_of(st)), 0);
    conn_pump(&st->cb);
    expect_response(&st->cb, 200, "abcdef");
    assert_true(conn_is_idle(&st->cb));
    /* Less than promised: the client must notice. */
    conn_feed_text(&st->cb, GET_LATER);
    assert_int_equal(hs_res_content_length(response_of(st), 6), 0);
    write_text(st, "abc");
    assert_int_equal(hs_res_send(response_of(st)), 0);
    conn_pump(&st->cb);
    assert_true(conn_is_closed(&st->cb));
    close_streamed(st);
}

static void to_http_1_0_the_connection_is_the_end(void **state)
{
    streamed_t *st = *state;
    open_streamed(st, false);
    conn_feed_text(&st->cb, "GET /later HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    write_text(st, "one");
    expect_head(st, "Connection: close");
    expect_sent(st, "one");
    write_text(st, "two");
    assert_int_equal(hs_res_send(response_of(st)), 0);
    conn_pump(&st->cb);
    expect_sent(st, "two");
    assert_int_equal(st->cb.peer.conn.http1.reading, HS_READING_STOPPED);
    close_streamed(st);
}

static void a_failed_response_has_no_last_chunk(void **state)
{
    streamed_t *st = *state;
    open_streamed(st, false);
    conn_feed_text(&st->cb, GET_LATER);
    write_text(st, "half");
    expect_head(st, "Transfer-Encoding: chunked");
    assert_int_equal(hs_res_fail(response_of(st)), 0);
    conn_pump(&st->cb);
    expect_sent(st, "4\r\nhalf\r\n");
    assert_true(conn_is_closed(&st->cb));
    close_streamed(st);
}

static void a_dropped_response_closes_behind_earlier_ones(void **state)
{
    streamed_t *st = *state;
    open_streamed(st, false);
    conn_feed_text(&st->cb, "GET /first HTTP/1.1\r\nHost: h\r\n\r\n" GET_LATER);
    expect_head(st, "Content-Length: 6");
    hs_response_t *response = response_of(st);
    assert_int_equal(hs_res_body_str(response, "built"), 0);
    assert_int_equal(hs_res_drop(response, 444), HS_OK);
    assert_int_equal(hs_res_drop(response, 444), HS_ERR_STATE);
    hs_res_post(hs_job_of(st->job));
    hs_conn_collect(&st->cb.peer.env);
    conn_pump(&st->cb);
    expect_sent(st, "");
    assert_true(conn_is_closed(&st->cb));
    close_streamed(st);
}

/* Writes pieces until the handler has to wait. */
static size_t write_until_wait(streamed_t *st)
{
    static const char piece[64 * 1024];
    size_t written = 0;
    int result;
    do {
        result = hs_res_write(response_of(st), piece, sizeof(piece));
        written += sizeof(piece);
        hs_conn_collect(&st->cb.peer.env);
    } while (result == HS_WRITE_CONTINUE && written < (64u << 20));
    assert_int_equal(result, HS_WRITE_WAIT);
    return written;
}

static void a_writer_waits_for_the_client(void **state)
{
    streamed_t *st = *state;
    open_streamed(st, false);
    conn_feed_text(&st->cb, GET_LATER);
    size_t written = 0;
    st->cb.peer.room = 0;
    for (unsigned round = 1; round <= 10; round++) {
        written += write_until_wait(st);
        assert_true(st->cb.most_unsent < 2 * HIGH_WATER);
        /* Gradually: it resumes when little is unsent, not before. */
        while (st->drained < round) {
            assert_true(hs_stream_unsent(&st->cb.peer.conn.stream) > 0);
            st->cb.send_step = 10000;
            conn_send_some(&st->cb);
        }
        assert_true(hs_stream_unsent(&st->cb.peer.conn.stream) <= HS_STREAM_LOW_WATER);
        st->cb.peer.room = 0;
    }
    assert_int_equal(hs_res_send(response_of(st)), 0);
    st->cb.peer.room = SIZE_MAX;
    st->cb.send_step = WHOLE;
    conn_pump(&st->cb);
    assert_true(st->cb.peer.got.len > written);
    assert_true(conn_is_idle(&st->cb));
    close_streamed(st);
}

/* Nothing of the content is sent; the handler, which does not know that, must not wait for ever.
 */
static void a_writer_to_a_head_request_goes_on(void **state)
{
    streamed_t *st = *state;
    open_streamed(st, false);
    conn_feed_text(&st->cb, "HEAD /later HTTP/1.1\r\n" HOST "\r\n");
    static const char piece[HIGH_WATER + 1];
    for (unsigned round = 1; round <= 3; round++) {
        assert_int_equal(hs_res_write(response_of(st), piece, sizeof(piece)), HS_WRITE_WAIT);
        conn_pump(&st->cb);
        assert_int_equal(st->drained, round);
    }
    assert_int_equal(hs_res_send(response_of(st)), 0);
    conn_pump(&st->cb);
    (void)next_response_to(&st->cb, false);
    expect_no_more(&st->cb);
    assert_true(conn_is_idle(&st->cb));
    close_streamed(st);
}

/* Even if the handler goes on writing, and only the time without progress is limited. */
static void a_client_that_takes_nothing_is_cut(void **state)
{
    streamed_t *st = *state;
    open_streamed(st, false);
    conn_feed_text(&st->cb, GET_LATER);
    write_text(st, "begun");
    uint64_t begin_ms = *conn_now_ms(&st->cb);
    st->cb.peer.room = 0;
    while (hs_deferred_aborted(st->job) == 0) {
        assert_int_equal(hs_res_write(response_of(st), "more", 4), HS_WRITE_CONTINUE);
        conn_pump(&st->cb);
        assert_true(*conn_now_ms(&st->cb) <= begin_ms + st->cb.limits.write_timeout_ms);
        byte_peer_expire(&st->cb.peer, *conn_now_ms(&st->cb) + 100);
    }
    assert_true(conn_is_closed(&st->cb));
    assert_int_equal(st->reason, HS_ABORT_LOST);
    assert_int_equal(hs_res_write(response_of(st), "gone", 4), HS_ERR_ABORTED);
    assert_int_equal(counted(st, HS_STATS_TIMEOUT + HS_STATS_TIMEOUT_WRITE), 1);
    close_streamed(st);
}

/* As long as a handler writes nothing, the client may wait after the head. */
static void between_two_pieces_no_deadline_is_armed(void **state)
{
    streamed_t *st = *state;
    st->cb.limits.handler_timeout_ms = 3000;
    open_streamed(st, false);
    conn_feed_text(&st->cb, GET_LATER);
    assert_int_equal(st->cb.peer.conn.stream.deadline_ms, *conn_now_ms(&st->cb) + 3000);
    write_text(st, "head");
    assert_int_equal(st->cb.peer.conn.stream.deadline_ms, 0);
    close_streamed(st);
}

static void a_client_that_shuts_or_leaves_is_told_of_once(void **state)
{
    streamed_t *st = *state;
    open_streamed(st, false);
    conn_feed_text(&st->cb, GET_LATER);
    conn_peer_shuts(&st->cb);
    conn_peer_shuts(&st->cb);
    assert_int_equal(st->aborts, 1);
    assert_int_equal(st->reason, HS_ABORT_SHUT);
    write_text(st, "still"); /* it may be reading */
    conn_peer_resets(&st->cb);
    assert_int_equal(st->aborts, 2);
    assert_int_equal(st->reason, HS_ABORT_LOST);
    assert_true(conn_is_closed(&st->cb));
    assert_int_equal(st->ends, 0);
    close_streamed(st);
    assert_int_equal(st->ends, 1);
    assert_int_equal(st->aborts, 2);
}

static void a_peer_that_has_shut_gets_its_streamed_response(void **state)
{
    streamed_t *st = *state;
    open_streamed(st, false);
    conn_feed_text(&st->cb, GET_LATER);
    conn_peer_shuts(&st->cb);
    write_text(st, "late");
    assert_int_equal(hs_res_send(response_of(st)), 0);
    conn_pump(&st->cb);
    expect_head(st, "Transfer-Encoding: chunked");
    expect_sent(st, "4\r\nlate\r\n0\r\n\r\n");
    assert_true(conn_is_closed(&st->cb));
    close_streamed(st);
}

static const char sized_post[] = "POST /later HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n"
                                 "0123456789" GET_LATER;
static const char chunked_post[] =
    "POST /later HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
    "4\r\n0123\r\n6;x=y\r\n456789\r\n0\r\nT: t\r\n\r\n" GET_LATER;

/* Split anywhere, and with a handler that reads slowly, the content is the same. */
static void content_is_passed_on_as_it_comes(void **state)
{
    streamed_t *st = *state;
    const char *texts[] = { sized_post, chunked_post };
    for (unsigned i = 0; i < 4; i++) {
        const char *text = texts[i % 2];
        st->pauses = i >= 2;
        for (size_t cut = 1; cut < strlen(text); cut++) {
            open_streamed(st, true);
            const char *at = text;
            size_t left = strlen(text), piece = cut;
            while (left > 0 || st->cb.handled < 2) {
                size_t done = conn_feed(&st->cb, at, hs_min(piece, left), WHOLE);
                at += done;
                left -= done;
                piece = left;
                if (hs_deferred_response(st->job) != NULL)
                    assert_int_equal(hs_req_resume(st->job), 0);
                conn_pump(&st->cb);
            }
            conn_pump(&st->cb);
            expect_response(&st->cb, 200, "0123456789");
            expect_response(&st->cb, 200, "");
            expect_no_more(&st->cb);
            assert_true(conn_is_idle(&st->cb));
            close_streamed(st);
        }
    }
}

/* Then no more is received than fits the ring. */
static void paused_content_slows_the_client_down(void **state)
{
    streamed_t *st = *state;
    static char data[100 * 1024];
    memset(data, 'd', sizeof(data));
    st->cb.limits.ring_size = 1024;
    open_streamed(st, true);
    st->pauses = true;
    conn_feed_text(&st->cb, "POST /later HTTP/1.1\r\n" HOST "Content-Length: 102400\r\n\r\n");
    size_t fed = 0;
    while (fed < sizeof(data)) {
        size_t done = conn_feed(&st->cb, data + fed, sizeof(data) - fed, WHOLE);
        assert_true(done <= 2 * 1024);
        fed += done;
        size_t before = st->content.len;
        assert_int_equal(hs_req_resume(st->job), 0);
        conn_pump(&st->cb);
        assert_true(st->content.len > before || done > 0);
    }
    while (st->lasts == 0) {
        assert_int_equal(hs_req_resume(st->job), 0);
        conn_pump(&st->cb);
    }
    response_t response = next_response(&st->cb);
    assert_int_equal(response.body_len, sizeof(data));
    assert_memory_equal(response.body, data, sizeof(data));
    close_streamed(st);
}

static void a_request_without_content_has_a_last_piece(void **state)
{
    streamed_t *st = *state;
    open_streamed(st, true);
    conn_feed_text(&st->cb, GET_LATER "POST /later HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
    conn_pump(&st->cb);
    assert_int_equal(st->cb.handled, 2);
    assert_int_equal(st->lasts, 1);
    expect_response(&st->cb, 200, "");
    expect_response(&st->cb, 200, "");
    close_streamed(st);
}

static void an_early_response_ends_the_connection(void **state)
{
    streamed_t *st = *state;
    open_streamed(st, true);
    st->answers = false;
    conn_feed_text(&st->cb, "POST /later HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n012");
    assert_int_equal(st->content.len, 3);
    assert_int_equal(hs_res_status(response_of(st), 403), 0);
    assert_int_equal(hs_res_send(response_of(st)), 0);
    conn_pump(&st->cb);
    response_t response = next_response(&st->cb);
    assert_int_equal(response.status, 403);
    assert_true(response_has(&response, "Connection: close"));
    assert_int_equal(st->cb.peer.conn.phase, HS_CONN_LINGERING);
    assert_int_equal(st->aborts, 0);
    close_streamed(st);
}

/* The handler has been called: it is notified that the rest will not arrive, and the client gets
 * the error. */
static void content_that_breaks_off_aborts_the_handler(void **state)
{
    streamed_t *st = *state;
    st->answers = false;
    for (unsigned has_begun = 0; has_begun < 2; has_begun++) {
        open_streamed(st, true);
        conn_feed_text(&st->cb, "POST /later HTTP/1.1\r\n" HOST
                                "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        assert_int_equal(st->content.len, 3);
        if (has_begun)
            write_text(st, "begun");
        st->cb.read_at = st->cb.peer.got.len;
        st->aborts = 0;
        conn_feed_text(&st->cb, "no chunk\r\n");
        assert_int_equal(st->aborts, 1);
        assert_int_equal(st->reason, HS_ABORT_LOST);
        if (has_begun)
            expect_sent(st, "");
        else
            assert_int_equal(next_response(&st->cb).status, 400);
        close_streamed(st);
    }
    open_streamed(st, true);
    st->aborts = 0;
    conn_feed_text(&st->cb, "POST /later HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n012");
    conn_peer_shuts(&st->cb);
    conn_pump(&st->cb);
    assert_int_equal(st->aborts, 1);
    assert_int_equal(next_response(&st->cb).status, 400);
    close_streamed(st);
}

static void content_that_is_too_slow_aborts_the_handler(void **state)
{
    streamed_t *st = *state;
    st->answers = false;
    open_streamed(st, true);
    conn_feed_text(&st->cb, "POST /later HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n012");
    conn_pass_deadline(&st->cb);
    assert_int_equal(st->aborts, 1);
    conn_pump(&st->cb);
    assert_int_equal(next_response(&st->cb).status, 408);
    assert_int_equal(counted(st, HS_STATS_TIMEOUT + HS_STATS_TIMEOUT_BODY), 1);
    close_streamed(st);
}

/* A check that finds a sufficient rate is not a timeout. */
static void only_a_deadline_that_ends_a_request_is_counted(void **state)
{
    streamed_t *st = *state;
    st->cb.limits.body_timeout_ms = 0;
    st->cb.limits.body_min_rate = 100;
    open_streamed(st, false);
    conn_feed_text(&st->cb, "POST /a HTTP/1.1\r\n" HOST "Content-Length: 30000\r\n\r\n");
    uint64_t begin_ms = *conn_now_ms(&st->cb);
    static char data[2000];
    for (unsigned i = 0; i < 3; i++) {
        conn_feed(&st->cb, data, sizeof(data), WHOLE);
        conn_pass_deadline(&st->cb);
        assert_int_equal(counted(st, HS_STATS_TIMEOUT + HS_STATS_TIMEOUT_BODY), 0);
        expect_no_more(&st->cb);
    }
    /* 6 000 bytes at 100 a second, and 10 s to begin with. */
    while (counted(st, HS_STATS_TIMEOUT + HS_STATS_TIMEOUT_BODY) == 0)
        conn_pass_deadline(&st->cb);
    assert_int_equal(*conn_now_ms(&st->cb), begin_ms + 70000);
    conn_pump(&st->cb);
    assert_int_equal(next_response(&st->cb).status, 408);
    close_streamed(st);
}

static void an_idle_client_that_resets_has_aborted_nothing(void **state)
{
    streamed_t *st = *state;
    open_streamed(st, false);
    conn_peer_resets(&st->cb);
    assert_int_equal(counted(st, HS_STATS_CLIENT_ABORTS), 0);
    close_streamed(st);
    open_streamed(st, false);
    conn_feed_text(&st->cb, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    assert_true(conn_is_idle(&st->cb));
    conn_peer_resets(&st->cb);
    assert_int_equal(counted(st, HS_STATS_CLIENT_ABORTS), 0);
    close_streamed(st);
    const char *begun[] = { "GET /a HT", GET_LATER };
    for (unsigned i = 0; i < 2; i++) {
        open_streamed(st, false);
        conn_feed_text(&st->cb, begun[i]);
        conn_peer_resets(&st->cb);
        assert_int_equal(counted(st, HS_STATS_CLIENT_ABORTS), 1);
        close_streamed(st);
    }
}

/* The log line of a request that timed out is its own, not one of an earlier request of the job. */
static void a_503_is_logged_as_the_request_that_it_answers(void **state)
{
    streamed_t *st = *state;
    st->cb.limits.handler_timeout_ms = 30000;
    open_streamed(st, false);
    hs_observer_t *observer = &st->observer;
    hs_access_log_t *log = malloc(sizeof(*log));
    assert_non_null(log);
    hs_access_log_origin_t origin = { .pid = 1, .hostname = "host" };
    hs_access_log_init(log, HS_ACCESS_LOG_JSON, &origin);
    observer->access_log = log;
    observer->has_lines = true;
    memcpy(st->cb.peer.env.jobs.id_prefix, "p", 2);
    observer->now_us = *conn_now_ms(&st->cb) * 1000;
    conn_feed_text(&st->cb, "GET /a HTTP/1.1\r\n" HOST "\r\n");
    hs_access_log_complete(log, observer->now_us);
    hs_access_log_take(log, log->len);
    observer->now_us += 5000000;
    *conn_now_ms(&st->cb) += 5000;
    conn_feed_text(&st->cb, GET_LATER);
    uint64_t deadline_ms = st->cb.peer.conn.stream.deadline_ms;
    observer->now_us = deadline_ms * 1000;
    byte_peer_expire(&st->cb.peer, deadline_ms);
    assert_int_equal(st->reason, HS_ABORT_TIMEOUT);
    conn_pump(&st->cb);
    hs_access_log_complete(log, observer->now_us + 7);
    log->data[log->len] = '\0';
    const char *parts[] = { "\"reqId\":\"p-2\"", "\"url\":\"/later\"", "\"statusCode\":503",
                            "\"responseTime\":   30000.007}" };
    for (unsigned i = 0; i < 4; i++)
        if (strstr(log->data, parts[i]) == NULL)
            fail_msg("no %s in: %s", parts[i], log->data);
    expect_response(&st->cb, 200, "/a");
    assert_int_equal(next_response(&st->cb).status, 503);
    close_streamed(st);
    free(log);
}

static unsigned released;

static void count_release(void *user_data)
{
    assert_ptr_equal(user_data, &released);
    released++;
}

/* Sent, partly sent to a client that disconnects, or not sent: pinned memory is released
 * once. */
static void pinned_content_comes_back_once(void **state)
{
    streamed_t *st = *state;
    static char data[100 * 1024];
    memset(data, 'p', sizeof(data));
    const char *requests[] = { GET_LATER, "HEAD /later HTTP/1.1\r\n" HOST "\r\n" };
    for (unsigned is_head = 0; is_head < 2; is_head++)
        for (unsigned leaves = 0; leaves < 3; leaves++) {
            open_streamed(st, false);
            released = 0;
            conn_feed_text(&st->cb, requests[is_head]);
            assert_int_equal(
                hs_res_body_pinned(response_of(st), data, sizeof(data), count_release, &released),
                0);
            if (leaves == 1) /* before the response is ready */
                conn_peer_resets(&st->cb);
            assert_int_equal(hs_res_send(response_of(st)), 0);
            st->cb.peer.room = 5000;
            hs_conn_collect(&st->cb.peer.env);
            hs_loop_send(&st->cb.peer.env.loop, 0);
            if (leaves == 2) /* while it is sent */
                conn_peer_resets(&st->cb);
            else if (!is_head && leaves == 0)
                assert_int_equal(released, 0);
            st->cb.peer.room = SIZE_MAX;
            conn_pump(&st->cb);
            assert_int_equal(released, 1);
            if (leaves == 0) {
                response_t response = next_response_to(&st->cb, !is_head);
                assert_true(response_has(&response, "Content-Length: 102400"));
                if (!is_head)
                    assert_memory_equal(response.body, data, sizeof(data));
                assert_true(conn_is_idle(&st->cb));
            }
            close_streamed(st);
            assert_int_equal(released, 1);
        }
}

static const char own_protocol[] = GET_LATER "GET no HTTP\r\n\r\n\0\xff more than a small ring";

static void expect_content(const streamed_t *st, const char *data, size_t len)
{
    assert_int_equal(st->content.len, len);
    assert_memory_equal(st->content.data, data, len);
}

/* Bytes that follow the request go to the handler, whatever the segments. */
static void a_handler_takes_the_connection_over(void **state)
{
    streamed_t *st = *state;
    const size_t head = sizeof(GET_LATER) - 1;
    const size_t len = sizeof(own_protocol) - 1;
    st->answers = false;
    st->takes_over = true;
    for (size_t cut = 1; cut <= len; cut++) {
        for (size_t step = 1; step <= len; step += len - 1) {
            st->cb.limits.ring_size = 128;
            open_streamed(st, false);
            assert_int_equal(conn_feed(&st->cb, own_protocol, cut, step), cut);
            assert_int_equal(conn_feed(&st->cb, own_protocol + cut, len - cut, step), len - cut);
            expect_content(st, own_protocol + head, len - head);
            expect_sent(st, "hello");
            const hs_conn_t *conn = &st->cb.peer.conn;
            assert_true(conn->wait == HS_CONN_WAIT_NONE && conn->stream.reads);
            assert_null(conn->stream.buffers);
            write_text(st, "more");
            expect_sent(st, "more");
            conn_peer_shuts(&st->cb);
            conn_pump(&st->cb);
            assert_int_equal(st->lasts, 1);
            write_text(st, "still"); /* it may be reading */
            assert_int_equal(hs_res_send(response_of(st)), 0);
            conn_pump(&st->cb);
            expect_sent(st, "still");
            assert_true(conn_is_closed(&st->cb));
            close_streamed(st);
        }
    }
}

static void a_takeover_of_a_suspended_request_sends_the_101(void **state)
{
    streamed_t *st = *state;
    st->answers = false;
    open_streamed(st, false);
    conn_feed_text(&st->cb, GET_LATER "early");
    assert_int_equal(st->content.len, 0);
    hs_response_t *response = response_of(st);
    assert_int_equal(hs_res_header(response, "Upgrade", "own"), 0);
    assert_int_equal(hs_res_take_over(response, HS_TAKEOVER_UPGRADE), 0);
    write_text(st, "hello");
    const char *got = st->cb.peer.got.data;
    assert_memory_equal(got, "HTTP/1.1 101 Switching Protocols\r\n", 34);
    assert_non_null(strstr(got, "\r\nUpgrade: own\r\nConnection: upgrade\r\n\r\nhello"));
    expect_content(st, "early", 5);
    /* The handler ends it: a client that is still sending still gets the last bytes. */
    assert_int_equal(hs_res_send(response), 0);
    conn_pump(&st->cb);
    assert_int_equal(st->cb.peer.conn.phase, HS_CONN_LINGERING);
    close_streamed(st);
}

static void content_on_its_way_keeps_its_framing(void **state)
{
    streamed_t *st = *state;
    st->answers = false;
    open_streamed(st, false);
    conn_feed_text(&st->cb, GET_LATER);
    hs_response_t *response = response_of(st);
    assert_int_equal(hs_res_write(response, "one", 3), HS_WRITE_CONTINUE);
    assert_int_equal(hs_res_take_over(response, HS_TAKEOVER_SILENT), HS_ERR_STATE);
    conn_pump(&st->cb);
    assert_int_equal(hs_res_take_over(response, HS_TAKEOVER_SILENT), 0);
    write_text(st, "two");
    expect_head(st, "Transfer-Encoding: chunked");
    expect_sent(st, "3\r\none\r\ntwo");
    conn_peer_resets(&st->cb);
    assert_int_equal(st->reason, HS_ABORT_LOST);
    assert_int_equal(hs_res_write(response, "x", 1), HS_ERR_ABORTED);
    close_streamed(st);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(pieces_become_chunks_at_once),
        CASE(a_known_length_needs_no_chunks),
        CASE(to_http_1_0_the_connection_is_the_end),
        CASE(a_failed_response_has_no_last_chunk),
        CASE(a_dropped_response_closes_behind_earlier_ones),
        CASE(a_writer_waits_for_the_client),
        CASE(a_writer_to_a_head_request_goes_on),
        CASE(a_client_that_takes_nothing_is_cut),
        CASE(between_two_pieces_no_deadline_is_armed),
        CASE(a_client_that_shuts_or_leaves_is_told_of_once),
        CASE(a_peer_that_has_shut_gets_its_streamed_response),
        CASE(content_is_passed_on_as_it_comes),
        CASE(paused_content_slows_the_client_down),
        CASE(a_request_without_content_has_a_last_piece),
        CASE(an_early_response_ends_the_connection),
        CASE(content_that_breaks_off_aborts_the_handler),
        CASE(content_that_is_too_slow_aborts_the_handler),
        CASE(only_a_deadline_that_ends_a_request_is_counted),
        CASE(an_idle_client_that_resets_has_aborted_nothing),
        CASE(a_503_is_logged_as_the_request_that_it_answers),
        CASE(pinned_content_comes_back_once),
        CASE(a_handler_takes_the_connection_over),
        CASE(a_takeover_of_a_suspended_request_sends_the_101),
        CASE(content_on_its_way_keeps_its_framing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
