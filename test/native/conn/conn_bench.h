/*
 * A connection on byte arrays (byte_peer.h) for the suites of hs_conn: the client's reads and
 * writes in steps, invariants checked after every event, and the responses one by one. Include
 * after cmocka.h.
 */
#pragma once

#include "byte_peer.h"

#define WHOLE SIZE_MAX /* a step: all at once */

typedef struct conn_bench {
    byte_peer_t peer;
    hs_limits_t limits; /* set before conn_open */
    hs_handler_fn handler;
    void *user_data;  /* of the handler */
    size_t send_step; /* most bytes that the kernel accepts at once */
    size_t read_at;   /* how far next_response has read */
    size_t most_unsent;
    bool jobs_away;   /* jobs may outlive their connection */
    unsigned handled; /* counted by the handlers of the suites */
} conn_bench_t;

static inline void conn_bench_init(conn_bench_t *cb, hs_handler_fn handler)
{
    memset(cb, 0, sizeof(*cb));
    cb->limits = (hs_limits_t){
        .ring_size = 8192,
        .max_url = 8192,
        .max_headers = 32,
        .max_body = 1 << 20,
        .header_timeout_ms = 1000,
        .body_timeout_ms = 2000,
        .keepalive_timeout_ms = 4000,
        .write_timeout_ms = 8000,
    };
    cb->send_step = WHOLE;
    cb->handler = handler;
    cb->user_data = cb;
}

/* Invariants after every event. */
static inline bool conn_check(hs_loop_t *loop, hs_stream_t *stream)
{
    conn_bench_t *cb = HS_CONTAINER_OF(byte_peer_of(stream), conn_bench_t, peer);
    const hs_conn_t *conn = &cb->peer.conn;
    size_t unsent = hs_stream_unsent(stream);
    if (unsent > cb->most_unsent)
        cb->most_unsent = unsent;
    bool is_over = conn->phase == HS_CONN_CLOSED || conn->phase == HS_CONN_LINGERING;
    if (is_over || hs_conn_is_idle(conn)) {
        assert_null(stream->buffers);
        assert_null(conn->job);
    }
    if (conn->phase == HS_CONN_FLUSHING)
        assert_true(unsent > 0);
    if (conn->away)
        assert_true(conn->phase == HS_CONN_OPEN && conn->job->link == conn);
    else if (conn->phase != HS_CONN_CLOSED)
        assert_true(conn->wait != HS_CONN_WAIT_NONE);
    assert_int_equal(stream->closed, conn->phase == HS_CONN_CLOSED);
    assert_int_equal(loop->buffers.leased, stream->buffers != NULL);
    if (!cb->jobs_away)
        assert_int_equal(cb->peer.env.jobs.leased, conn->job != NULL);
    return false;
}

/* Nothing is forgotten: a connection with work to do is in a list, one that waits has a deadline.
 */
static inline void conn_check_armed(const conn_bench_t *cb)
{
    const hs_stream_t *stream = &cb->peer.conn.stream;
    bool is_listed = !hs_list_empty(&stream->turn);
    if (cb->peer.is_closed) {
        assert_false(is_listed);
        assert_int_equal(stream->timer.look_tick, 0);
        return;
    }
    if (hs_stream_unsent(stream) > 0)
        assert_true(is_listed || !stream->writable);
    if (stream->runs_again || (stream->readable && stream->reads))
        assert_true(is_listed);
    if (stream->deadline_ms != 0)
        assert_true(stream->timer.look_tick != 0);
}

/* A connection that has just been accepted, with the current limits. */
static inline void conn_open(conn_bench_t *cb)
{
    hs_buf_t got = cb->peer.got;
    byte_peer_init(&cb->peer, &cb->limits, cb->handler, cb->user_data);
    cb->peer.got = got;
    cb->peer.env.loop.on_event_done = conn_check;
    byte_peer_open(&cb->peer);
    cb->read_at = cb->most_unsent = 0;
    cb->handled = 0;
}

static inline void conn_close(conn_bench_t *cb)
{
    byte_peer_abort(&cb->peer);
    assert_null(cb->peer.conn.job);
    assert_null(cb->peer.conn.stream.buffers);
    assert_int_equal(cb->peer.env.loop.buffers.leased, 0);
    assert_int_equal(cb->peer.env.jobs.leased, 0);
    assert_int_equal(cb->peer.env.loop.wheel.armed, 0);
    byte_peer_free(&cb->peer);
}

static inline bool conn_is_closed(const conn_bench_t *cb)
{
    return cb->peer.is_closed;
}

static inline bool conn_is_idle(const conn_bench_t *cb)
{
    return !cb->peer.is_closed && hs_conn_is_idle(&cb->peer.conn);
}

static inline uint64_t *conn_now_ms(conn_bench_t *cb)
{
    return &cb->peer.env.loop.now_ms;
}

/* The kernel accepts up to send_step bytes. False if there was nothing to send. */
static inline bool conn_send_some(conn_bench_t *cb)
{
    byte_peer_t *peer = &cb->peer;
    if (peer->is_closed || hs_stream_unsent(&peer->conn.stream) == 0)
        return false;
    peer->room = cb->send_step;
    if (!peer->conn.stream.writable)
        hs_stream_on_event(&peer->env.loop, &peer->conn.stream, HS_EV_WRITE);
    hs_loop_send(&peer->env.loop, 0);
    peer->room = SIZE_MAX;
    conn_check_armed(cb);
    return true;
}

/* Everything that can happen without the client: sends, and resumes what was held back. */
static inline void conn_pump(conn_bench_t *cb)
{
    cb->peer.send_max = cb->send_step == WHOLE ? 0 : cb->send_step;
    byte_peer_pump(&cb->peer);
    conn_check_armed(cb);
}

/* One read of at most `len` bytes and its consequences, except sending; returns how many bytes the
 * connection took. */
static inline size_t conn_receive(conn_bench_t *cb, const char *data, size_t len)
{
    byte_peer_t *peer = &cb->peer;
    if (peer->is_closed)
        return 0;
    peer->in = data;
    peer->in_len = len;
    hs_stream_on_event(&peer->env.loop, &peer->conn.stream, HS_EV_READ);
    size_t done = len - peer->in_len;
    peer->in_len = 0;
    conn_check_armed(cb);
    return done;
}

/* The client sends `data`, in reads of at most `step` bytes; stops early when nothing more is read.
 */
static inline size_t conn_feed(conn_bench_t *cb, const char *data, size_t len, size_t step)
{
    size_t done = 0;
    while (done < len && !conn_is_closed(cb)) {
        size_t taken = conn_receive(cb, data + done, hs_min(step, len - done));
        done += taken;
        conn_pump(cb);
        if (taken == 0)
            break;
    }
    return done;
}

static inline void conn_feed_text(conn_bench_t *cb, const char *text)
{
    conn_feed(cb, text, strlen(text), WHOLE);
}

/* The client shuts down its side; nothing is sent yet. */
static inline void conn_peer_shuts(conn_bench_t *cb)
{
    byte_peer_t *peer = &cb->peer;
    peer->has_end = true;
    if (!peer->is_closed)
        hs_stream_on_event(&peer->env.loop, &peer->conn.stream, HS_EV_READ | HS_EV_PEER_SHUT);
    conn_check_armed(cb);
}

/* The connection is reset. */
static inline void conn_peer_resets(conn_bench_t *cb)
{
    byte_peer_t *peer = &cb->peer;
    peer->recv_error = peer->send_error = ECONNRESET;
    if (!peer->is_closed)
        hs_stream_on_event(&peer->env.loop, &peer->conn.stream,
                           HS_EV_READ | HS_EV_PEER_SHUT | HS_EV_HANGUP);
    conn_check_armed(cb);
}

/* The clock advances to the armed deadline. */
static inline void conn_pass_deadline(conn_bench_t *cb)
{
    uint64_t deadline_ms = cb->peer.conn.stream.deadline_ms;
    assert_true(deadline_ms > *conn_now_ms(cb));
    byte_peer_expire(&cb->peer, deadline_ms);
    conn_check_armed(cb);
}

static inline void conn_drain(conn_bench_t *cb)
{
    cb->peer.env.draining = true;
    hs_stream_update(&cb->peer.env.loop, &cb->peer.conn.stream);
    conn_check_armed(cb);
}

/* The connection exceeds the limit. */
static inline void conn_shed(conn_bench_t *cb)
{
    hs_conn_refuse(&cb->peer.conn, &cb->peer.env, 503);
    hs_stream_update(&cb->peer.env.loop, &cb->peer.conn.stream);
    conn_check_armed(cb);
}

typedef struct response {
    int status;
    char head[2048]; /* status line and fields, without the empty line */
    const char *body;
    size_t body_len;
} response_t;

static inline bool response_has(const response_t *response, const char *line)
{
    char wanted[256];
    snprintf(wanted, sizeof(wanted), "\r\n%s\r\n", line);
    return strstr(response->head, wanted) != NULL;
}

/* Takes the next response out of what was sent. `with_content` false: the request was a HEAD. */
static inline response_t next_response_to(conn_bench_t *cb, bool with_content)
{
    response_t response = { 0 };
    assert_true(cb->read_at < cb->peer.got.len);
    const char *at = cb->peer.got.data + cb->read_at;
    const char *end = strstr(at, "\r\n\r\n");
    assert_non_null(end);
    size_t head_len = (size_t)(end - at) + 2;
    assert_true(head_len < sizeof(response.head));
    memcpy(response.head, at, head_len);
    assert_int_equal(sscanf(response.head, "HTTP/1.1 %d ", &response.status), 1);
    const char *length = strstr(response.head, "\r\nContent-Length: ");
    if (length != NULL && with_content)
        response.body_len = strtoull(length + 18, NULL, 10);
    response.body = end + 4;
    cb->read_at += head_len + 2 + response.body_len;
    assert_true(cb->read_at <= cb->peer.got.len);
    return response;
}

static inline response_t next_response(conn_bench_t *cb)
{
    return next_response_to(cb, true);
}

static inline void expect_response(conn_bench_t *cb, int status, const char *body)
{
    response_t response = next_response(cb);
    assert_int_equal(response.status, status);
    assert_int_equal(response.body_len, strlen(body));
    assert_memory_equal(response.body, body, response.body_len);
}

static inline void expect_no_more(const conn_bench_t *cb)
{
    assert_int_equal(cb->read_at, cb->peer.got.len);
}
