#include "conn/hs_conn.h"

#include "conn/hs_conn_message.h"
#include "conn/hs_observer.h"

/* A client that was told the end is listened to, so that a reset does not cost it the answer: as
 * long as something comes in every interval, for this many of them. */
#define LINGER_MS 500
#define LINGER_INTERVALS 20
/* Content may take this long before its rate counts. */
#define RATE_GRACE_MS 10000

void hs_conn_init(hs_conn_t *conn, const hs_conn_env_t *env)
{
    *conn = (hs_conn_t){ .phase = HS_CONN_IDLE, .wait = HS_CONN_WAIT_HEAD };
    uint32_t timeout_ms = env->limits->header_timeout_ms;
    conn->deadline_ms = timeout_ms ? env->now_ms + timeout_ms : 0;
}

static size_t unsent(const hs_conn_t *conn)
{
    return conn->exchange ? hs_exchange_unsent(conn->exchange) : 0;
}

static void give_back(hs_conn_t *conn, hs_conn_env_t *env)
{
    if (conn->exchange == NULL)
        return;
    /* A worker still has it: it goes back to the pool when it comes back. */
    if (conn->exchange->lender != NULL)
        hs_dispatch_cancel(&env->dispatch, conn->exchange);
    else
        hs_exchange_give_back(env->pool, conn->exchange);
    conn->exchange = NULL;
}

static hs_conn_wait_t wait_of(const hs_conn_t *conn)
{
    if (conn->phase == HS_CONN_HANDLING)
        return HS_CONN_WAIT_HANDLER;
    if (unsent(conn) > 0)
        return HS_CONN_WAIT_WRITE;
    switch (conn->phase) {
    case HS_CONN_IDLE:
        return conn->answered ? HS_CONN_WAIT_REQUEST : HS_CONN_WAIT_HEAD;
    case HS_CONN_HEAD:
        return HS_CONN_WAIT_HEAD;
    case HS_CONN_CONTENT_RING:
    case HS_CONN_CONTENT_BUFFER:
    case HS_CONN_CONTENT_CHUNKED:
        return HS_CONN_WAIT_CONTENT;
    case HS_CONN_HANDLING:
        return HS_CONN_WAIT_HANDLER;
    case HS_CONN_LINGERING:
        return HS_CONN_WAIT_LINGER;
    case HS_CONN_FLUSHING:
    case HS_CONN_CLOSED:
        return HS_CONN_WAIT_NONE;
    }
    return HS_CONN_WAIT_NONE;
}

/* Content that has arrived, decoded: the framing of chunks is no progress. */
static uint64_t content_received(const hs_conn_t *conn)
{
    const hs_exchange_t *exchange = conn->exchange;
    return conn->phase == HS_CONN_CONTENT_RING ? exchange->ring.head - exchange->parsed
                                               : exchange->content.len;
}

/* Until when content is waited for: its timeout, and not slower than the minimum rate. Both count
 * from the head's end; what has arrived pushes the second one on. */
static uint64_t content_deadline_ms(const hs_conn_t *conn, const hs_limits_t *limits)
{
    uint64_t since_ms = conn->exchange->content_since_ms;
    uint64_t deadline_ms = limits->body_timeout_ms ? since_ms + limits->body_timeout_ms : 0;
    if (limits->body_min_rate == 0)
        return deadline_ms;
    uint64_t rate_ms =
        since_ms + RATE_GRACE_MS + content_received(conn) * 1000 / limits->body_min_rate;
    return deadline_ms == 0 || rate_ms < deadline_ms ? rate_ms : deadline_ms;
}

static uint32_t timeout_of(hs_conn_wait_t wait, const hs_limits_t *limits)
{
    switch (wait) {
    case HS_CONN_WAIT_NONE:
        return 0;
    case HS_CONN_WAIT_REQUEST:
        return limits->keepalive_timeout_ms;
    case HS_CONN_WAIT_HEAD:
        return limits->header_timeout_ms;
    case HS_CONN_WAIT_CONTENT: /* content_deadline_ms */
        return 0;
    case HS_CONN_WAIT_HANDLER:
        return limits->handler_timeout_ms;
    case HS_CONN_WAIT_WRITE:
        return limits->write_timeout_ms;
    case HS_CONN_WAIT_LINGER:
        return LINGER_MS;
    }
    return 0;
}

/* Ends every event: moves on from a finished flush, gives an idle exchange back, arms the one
 * deadline. */
static void settle(hs_conn_t *conn, hs_conn_env_t *env)
{
    if (conn->phase == HS_CONN_FLUSHING && unsent(conn) == 0)
        conn->phase = conn->linger && !conn->peer_shut ? HS_CONN_LINGERING : HS_CONN_CLOSED;
    bool idle = conn->phase == HS_CONN_IDLE && unsent(conn) == 0 && !conn->stalled;
    if (idle && env->draining && !env->idle_grace)
        conn->phase = HS_CONN_CLOSED;
    if (idle || conn->phase == HS_CONN_LINGERING || conn->phase == HS_CONN_CLOSED)
        give_back(conn, env);
    hs_conn_wait_t wait = wait_of(conn);
    if (wait == conn->wait && !conn->restart_deadline)
        return;
    conn->wait = wait;
    conn->restart_deadline = false;
    if (wait == HS_CONN_WAIT_CONTENT) {
        conn->deadline_ms = content_deadline_ms(conn, env->limits);
        return;
    }
    uint32_t timeout_ms = timeout_of(wait, env->limits);
    conn->deadline_ms = timeout_ms ? env->now_ms + timeout_ms : 0;
}

int hs_conn_recv_vec(hs_conn_t *conn, hs_conn_env_t *env, struct iovec iov[2])
{
    if (conn->phase == HS_CONN_LINGERING) {
        iov[0] = env->discard;
        return 1;
    }
    if (!hs_conn_reads_requests(conn) || conn->stalled || unsent(conn) > 0)
        return 0;
    if (conn->exchange == NULL) {
        conn->exchange = hs_exchange_lease(env->pool);
        if (conn->exchange == NULL) {
            hs_log_write(env->log, HS_LOG_ERROR, "out of memory for a request: connection closed");
            conn->phase = HS_CONN_CLOSED;
            return 0;
        }
        conn->exchange->peer = conn->peer;
    }
    hs_exchange_t *exchange = conn->exchange;
    if (conn->phase != HS_CONN_CONTENT_BUFFER)
        return hs_ring_write_vec(&exchange->ring, iov);
    /* Straight into the content; what follows it goes to the ring in the same call. */
    size_t rest = (size_t)exchange->request.msg.content_length - exchange->content.len;
    struct iovec behind[2];
    iov[0] = (struct iovec){ exchange->content.data + exchange->content.len, rest };
    if (hs_ring_write_vec(&exchange->ring, behind) == 0)
        return 1;
    iov[1] = behind[0];
    return 2;
}

void hs_conn_received(hs_conn_t *conn, hs_conn_env_t *env, size_t len)
{
    if (conn->phase == HS_CONN_LINGERING) {
        conn->still_sending = conn->still_sending || len > 0;
        return;
    }
    if (len == 0) {
        settle(conn, env);
        return;
    }
    HS_ASSERT(hs_conn_reads_requests(conn) && conn->exchange != NULL);
    hs_exchange_t *exchange = conn->exchange;
    if (conn->phase == HS_CONN_CONTENT_BUFFER) {
        size_t rest = (size_t)exchange->request.msg.content_length - exchange->content.len;
        size_t content = hs_min(len, rest);
        exchange->content.len += content;
        len -= content;
    }
    hs_ring_commit(&exchange->ring, (uint32_t)len);
    hs_conn_advance(conn, env);
    settle(conn, env);
}

void hs_conn_peer_shut(hs_conn_t *conn, hs_conn_env_t *env)
{
    conn->peer_shut = true;
    if (conn->phase == HS_CONN_LINGERING)
        conn->phase = HS_CONN_CLOSED;
    else if (hs_conn_reads_requests(conn) && !conn->stalled)
        hs_conn_stop_reading(conn, false);
    settle(conn, env);
}

int hs_conn_send_vec(const hs_conn_t *conn, struct iovec iov[2])
{
    if (conn->exchange == NULL)
        return 0;
    hs_exchange_t *exchange = conn->exchange;
    int count = 0;
    if (exchange->out_sent < exchange->out.len)
        iov[count++] = (struct iovec){ exchange->out.data + exchange->out_sent,
                                       exchange->out.len - exchange->out_sent };
    if (exchange->out_body_sent < exchange->out_body.len)
        iov[count++] = (struct iovec){ exchange->out_body.data + exchange->out_body_sent,
                                       exchange->out_body.len - exchange->out_body_sent };
    return count;
}

void hs_conn_sent(hs_conn_t *conn, hs_conn_env_t *env, size_t len)
{
    hs_exchange_t *exchange = conn->exchange;
    size_t head = hs_min(len, exchange->out.len - exchange->out_sent);
    exchange->out_sent += head;
    exchange->out_body_sent += len - head;
    HS_ASSERT(exchange->out_body_sent <= exchange->out_body.len);
    /* Progress for the write deadline only: a handler wins no time by earlier answers. */
    if (conn->phase != HS_CONN_HANDLING)
        conn->restart_deadline = true;
    if (hs_exchange_unsent(exchange) == 0)
        hs_exchange_forget_sent(exchange);
    settle(conn, env);
}

void hs_conn_resume(hs_conn_t *conn, hs_conn_env_t *env)
{
    if (!conn->stalled || unsent(conn) > 0)
        return;
    hs_conn_advance(conn, env);
    settle(conn, env);
}

void hs_conn_shed(hs_conn_t *conn, hs_conn_env_t *env)
{
    conn->exchange = hs_exchange_lease(env->pool);
    if (conn->exchange == NULL) {
        conn->phase = HS_CONN_CLOSED;
        return;
    }
    hs_exchange_begin_message(conn->exchange, env->limits);
    hs_observe_begin(env->observer, conn->exchange);
    hs_conn_refuse(conn, env, 503);
    settle(conn, env);
}

void hs_conn_handled(hs_conn_t *conn, hs_conn_env_t *env)
{
    HS_ASSERT(conn->phase == HS_CONN_HANDLING && conn->exchange->lender == NULL);
    hs_conn_complete(conn, env);
    settle(conn, env);
}

/* The worker keeps the exchange; the connection goes on with another one, to say 503. */
static void answer_for_worker(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_exchange_t *lent = conn->exchange;
    hs_exchange_t *fresh = hs_exchange_lease(env->pool);
    conn->exchange = fresh;
    if (fresh != NULL) {
        hs_exchange_move_unsent(fresh, lent);
        hs_exchange_begin_message(fresh, env->limits);
        fresh->parse.llhttp.method = lent->request.msg.method;
        hs_conn_refuse(conn, env, 503);
    } else {
        conn->phase = HS_CONN_CLOSED;
    }
    hs_dispatch_give_up(&env->dispatch, lent, env->limits->handler_timeout_ms);
}

void hs_conn_deadline_passed(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_observe_timeout(env->observer, conn);
    switch (conn->wait) {
    case HS_CONN_WAIT_CONTENT:
        conn->deadline_ms = content_deadline_ms(conn, env->limits);
        if (conn->deadline_ms > env->now_ms)
            return; /* enough has arrived meanwhile */
        hs_conn_refuse(conn, env, 408);
        break;
    case HS_CONN_WAIT_HEAD:
        /* Nothing was asked: nothing is answered. */
        if (conn->phase == HS_CONN_IDLE)
            conn->phase = HS_CONN_CLOSED;
        else
            hs_conn_refuse(conn, env, 408);
        break;
    case HS_CONN_WAIT_LINGER:
        if (conn->still_sending && ++conn->linger_intervals < LINGER_INTERVALS) {
            conn->still_sending = false;
            conn->restart_deadline = true;
        } else {
            conn->phase = HS_CONN_CLOSED;
        }
        break;
    case HS_CONN_WAIT_HANDLER:
        answer_for_worker(conn, env);
        break;
    case HS_CONN_WAIT_NONE:
    case HS_CONN_WAIT_REQUEST:
    case HS_CONN_WAIT_WRITE:
        conn->phase = HS_CONN_CLOSED;
        break;
    }
    settle(conn, env);
}

void hs_conn_drain(hs_conn_t *conn, hs_conn_env_t *env)
{
    HS_ASSERT(env->draining);
    settle(conn, env);
}

void hs_conn_abort(hs_conn_t *conn, hs_conn_env_t *env)
{
    conn->phase = HS_CONN_CLOSED;
    settle(conn, env);
}
