/*
 * One connection driven by bytes alone: what a client sends, in pieces of any size, and what the
 * kernel takes, in pieces of any size. No descriptor, no clock. Include after cmocka.h.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn/hs_conn.h"

#define WHOLE SIZE_MAX /* a step: all at once */

typedef struct conn_bench {
    hs_limits_t limits; /* set before conn_open */
    hs_log_t log;
    hs_exchange_pool_t pool;
    hs_c_handler_t c_handler;
    hs_conn_env_t env;
    hs_conn_t conn;
    size_t send_step; /* most bytes the kernel takes in one go */
    char *sent;       /* all that has left, NUL-terminated */
    size_t sent_len;
    size_t sent_capacity;
    size_t read_at; /* how far next_answer has come */
    size_t most_unsent;
    bool lends;       /* workers may hold exchanges that the connection has given up */
    unsigned handled; /* counted by the handlers of the suites */
    char discard[4096];
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
    hs_log_init(&cb->log, HS_LOG_OFF, NULL, NULL);
    cb->c_handler = (hs_c_handler_t){ handler, cb };
}

/* A connection that has just been accepted. The pool is made with the limits as they are now. */
static inline void conn_open(conn_bench_t *cb)
{
    hs_exchange_pool_init(&cb->pool, &cb->limits, &cb->log);
    cb->env = (hs_conn_env_t){
        .limits = &cb->limits,
        .pool = &cb->pool,
        .log = &cb->log,
        .now_ms = 1000000,
        .discard = { cb->discard, sizeof(cb->discard) },
    };
    hs_dispatch_init(&cb->env.dispatch, hs_c_handler_as_handler(&cb->c_handler), HS_DISPATCH_INLINE,
                     NULL, &cb->log);
    hs_date_set(&cb->env.date, 784111777);
    hs_conn_init(&cb->conn, &cb->env);
    cb->sent_len = cb->read_at = cb->most_unsent = 0;
    cb->handled = 0;
}

static inline void conn_close(conn_bench_t *cb)
{
    hs_conn_abort(&cb->conn, &cb->env);
    assert_null(cb->conn.exchange);
    assert_int_equal(cb->pool.leased, 0);
    hs_exchange_pool_free(&cb->pool);
    free(cb->sent);
    cb->sent = NULL;
    cb->sent_len = cb->sent_capacity = 0;
}

static inline bool conn_is_closed(const conn_bench_t *cb)
{
    return cb->conn.phase == HS_CONN_CLOSED;
}

/* What holds after every event. */
static inline void conn_check(conn_bench_t *cb)
{
    const hs_conn_t *conn = &cb->conn;
    size_t unsent = conn->exchange != NULL ? hs_exchange_unsent(conn->exchange) : 0;
    if (unsent > cb->most_unsent)
        cb->most_unsent = unsent;
    if (conn->phase == HS_CONN_CLOSED || conn->phase == HS_CONN_LINGERING)
        assert_null(conn->exchange);
    if (conn->phase == HS_CONN_FLUSHING)
        assert_true(unsent > 0);
    if (conn->phase != HS_CONN_CLOSED)
        assert_true(conn->wait != HS_CONN_WAIT_NONE);
    if (!cb->lends)
        assert_int_equal(cb->pool.leased, conn->exchange != NULL);
}

static inline void conn_keep_sent(conn_bench_t *cb, const char *data, size_t len)
{
    if (cb->sent_len + len + 1 > cb->sent_capacity) {
        cb->sent_capacity = (cb->sent_len + len + 1) * 2;
        cb->sent = realloc(cb->sent, cb->sent_capacity);
        assert_non_null(cb->sent);
    }
    memcpy(cb->sent + cb->sent_len, data, len);
    cb->sent_len += len;
    cb->sent[cb->sent_len] = '\0';
}

/* The kernel takes up to send_step bytes. False if there was nothing to send. */
static inline bool conn_send_some(conn_bench_t *cb)
{
    struct iovec iov[2];
    int count = hs_conn_send_vec(&cb->conn, iov);
    size_t left = cb->send_step, taken = 0;
    for (int i = 0; i < count && left > 0; i++) {
        assert_true(iov[i].iov_len > 0);
        size_t len = hs_min(iov[i].iov_len, left);
        conn_keep_sent(cb, iov[i].iov_base, len);
        left -= len;
        taken += len;
    }
    if (count > 0)
        hs_conn_sent(&cb->conn, &cb->env, taken);
    conn_check(cb);
    return count > 0;
}

/* Everything that can happen without the client: sends, goes on with what was held back. */
static inline void conn_pump(conn_bench_t *cb)
{
    for (;;) {
        while (conn_send_some(cb))
            continue;
        if (!cb->conn.stalled)
            return;
        hs_conn_resume(&cb->conn, &cb->env);
        conn_check(cb);
    }
}

/* One read of at most `len` bytes; how many the connection took. */
static inline size_t conn_receive(conn_bench_t *cb, const char *data, size_t len)
{
    struct iovec iov[2];
    int count = hs_conn_recv_vec(&cb->conn, &cb->env, iov);
    size_t done = 0;
    for (int i = 0; i < count && done < len; i++) {
        assert_true(iov[i].iov_len > 0);
        size_t piece = hs_min(iov[i].iov_len, len - done);
        memcpy(iov[i].iov_base, data + done, piece);
        done += piece;
    }
    if (count > 0)
        hs_conn_received(&cb->conn, &cb->env, done);
    conn_check(cb);
    return done;
}

/* The client sends `data`, in reads of at most `step` bytes; ends early when nothing more is read.
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

typedef struct answer {
    int status;
    char head[2048]; /* status line and fields, without the empty line */
    const char *body;
    size_t body_len;
} answer_t;

static inline bool answer_has(const answer_t *answer, const char *line)
{
    char wanted[256];
    snprintf(wanted, sizeof(wanted), "\r\n%s\r\n", line);
    return strstr(answer->head, wanted) != NULL;
}

/* Takes the next answer out of what was sent. `with_content` false: it answers a HEAD. */
static inline answer_t next_answer_to(conn_bench_t *cb, bool with_content)
{
    answer_t answer = { 0 };
    assert_true(cb->read_at < cb->sent_len);
    const char *at = cb->sent + cb->read_at;
    const char *end = strstr(at, "\r\n\r\n");
    assert_non_null(end);
    size_t head_len = (size_t)(end - at) + 2;
    assert_true(head_len < sizeof(answer.head));
    memcpy(answer.head, at, head_len);
    assert_int_equal(sscanf(answer.head, "HTTP/1.1 %d ", &answer.status), 1);
    const char *length = strstr(answer.head, "\r\nContent-Length: ");
    if (length != NULL && with_content)
        answer.body_len = strtoull(length + 18, NULL, 10);
    answer.body = end + 4;
    cb->read_at += head_len + 2 + answer.body_len;
    assert_true(cb->read_at <= cb->sent_len);
    return answer;
}

static inline answer_t next_answer(conn_bench_t *cb)
{
    return next_answer_to(cb, true);
}

static inline void expect_answer(conn_bench_t *cb, int status, const char *body)
{
    answer_t answer = next_answer(cb);
    assert_int_equal(answer.status, status);
    assert_int_equal(answer.body_len, strlen(body));
    assert_memory_equal(answer.body, body, answer.body_len);
}

static inline void expect_no_more(const conn_bench_t *cb)
{
    assert_int_equal(cb->read_at, cb->sent_len);
}
