#include "conn/hs_conn_message.h"

#include "conn/hs_observer.h"
#include "http/hs_status.h"
#include "http/hs_wire.h"

/* Pipelined requests handled before other connections get their turn. */
#define MESSAGES_PER_TURN 64
/* Beyond this many unsent bytes no further request of the connection is handled. */
#define UNSENT_MAX (64 * 1024)
/* Content up to this size is copied behind its head, so that a batch of answers is one piece. */
#define COPY_MAX (16 * 1024)

typedef enum step {
    STEP_AGAIN,
    STEP_WAIT
} step_t;

void hs_conn_stop_reading(hs_conn_t *conn, bool linger)
{
    conn->phase = HS_CONN_FLUSHING;
    conn->linger = linger;
    conn->stalled = false;
}

void hs_conn_refuse(hs_conn_t *conn, hs_conn_env_t *env, int status)
{
    hs_exchange_t *exchange = conn->exchange;
    bool with_content = !hs_parse_is_head(&exchange->parse);
    if (hs_log_enabled(env->log, HS_LOG_DEBUG))
        hs_log_write(env->log, HS_LOG_DEBUG, "request refused: %d %s", status,
                     hs_status_reason(status));
    hs_conn_stop_reading(conn, true);
    hs_observe_refusal(env->observer, conn, status);
    if (!hs_wire_put_refusal(&exchange->out, status, with_content, &env->date))
        conn->linger = false;
}

static step_t refuse(hs_conn_t *conn, hs_conn_env_t *env, int status)
{
    hs_conn_refuse(conn, env, status);
    return STEP_WAIT;
}

static void put_answer(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_exchange_t *exchange = conn->exchange;
    const hs_msg_t *msg = &exchange->request.msg;
    hs_response_t *response = &exchange->response;
    bool keep_alive = msg->keep_alive && !response->close && !env->draining;
    /* RFC 9110 §15.3.6: 205 tells the client to reset its view, and has no content. */
    if (response->status == 205)
        response->body.len = 0;
    hs_wire_head_t head = {
        .status = response->status,
        .connection = !keep_alive               ? HS_WIRE_CONNECTION_CLOSE
                      : msg->minor_version == 0 ? HS_WIRE_CONNECTION_KEEP_ALIVE
                                                : HS_WIRE_CONNECTION_DEFAULT,
        .fields = hs_span(response->fields.data, response->fields.len),
        .own_date = response->own_date,
        .content_length = response->body.len,
    };
    bool with_content = msg->method != HTTP_HEAD && hs_status_has_content(response->status);
    size_t content_len = with_content ? response->body.len : 0;
    size_t mark = exchange->out.len;
    bool put = hs_wire_put_head(&exchange->out, &head, &env->date);
    if (put && content_len > COPY_MAX) {
        hs_buf_t spare = exchange->out_body;
        exchange->out_body = response->body;
        response->body = spare;
    } else if (put && content_len > 0) {
        put = hs_buf_append(&exchange->out, response->body.data, content_len);
    }
    if (!put) {
        /* Not even an error answer fits: the client sees a closed connection after the answers
         * before. */
        exchange->out.len = mark;
        hs_log_write(env->log, HS_LOG_ERROR, "out of memory for an answer: connection closed");
        keep_alive = false;
    }
    hs_observe_answer(env->observer, conn, content_len);
    conn->answered = true;
    conn->restart_deadline = true;
    conn->phase = HS_CONN_IDLE;
    /* A client that did not ask for the end may be sending its next request: if that met a closed
     * socket, the reset could cost it this answer. */
    if (!keep_alive)
        hs_conn_stop_reading(conn, msg->keep_alive || exchange->ring.head != exchange->parsed);
}

/* The response is complete, whichever thread has built it: goes on behind the message. */
static step_t complete(hs_conn_t *conn, hs_conn_env_t *env)
{
    put_answer(conn, env);
    hs_exchange_end_message(conn->exchange);
    return hs_conn_reads_requests(conn) ? STEP_AGAIN : STEP_WAIT;
}

/* The message is complete: runs the handler, or lends the exchange to a worker that will. */
static step_t answer(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_exchange_t *exchange = conn->exchange;
    /* Before NULs are put behind the target: its bytes are read in words, and a word of which a
     * byte was written just now is slow to read. */
    hs_observe_serve(env->observer, exchange);
    hs_msg_terminate(&exchange->request.msg);
    hs_dispatched_t dispatched = hs_dispatch(&env->dispatch, exchange, conn);
    hs_observe_served(env->observer);
    if (dispatched == HS_DISPATCHED_LENT) {
        conn->phase = HS_CONN_HANDLING;
        conn->restart_deadline = true;
        return STEP_WAIT;
    }
    return complete(conn, env);
}

/* Copies the head out of the ring, so that the ring can be used for what follows. */
static void move_head_to_arena(hs_exchange_t *exchange)
{
    hs_msg_t *msg = &exchange->request.msg;
    if (msg->base == exchange->arena)
        return;
    hs_ring_copy(&exchange->ring, exchange->ring.tail, exchange->arena, msg->head_len);
    msg->base = exchange->arena;
}

static void release_parsed(hs_exchange_t *exchange)
{
    hs_ring_release(&exchange->ring, exchange->parsed);
    if (hs_ring_used(&exchange->ring) > 0)
        return;
    hs_ring_rewind(&exchange->ring);
    exchange->parsed = 0;
}

/* Decides where content of known length will lie: in the ring if it fits there in one piece, else
 * in a buffer of exactly its size. */
static step_t begin_sized_content(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_exchange_t *exchange = conn->exchange;
    hs_ring_t *ring = &exchange->ring;
    uint64_t content_length = exchange->request.msg.content_length;
    if (content_length <= hs_ring_room(ring, exchange->parsed) &&
        content_length <= ring->capacity - (exchange->parsed - ring->tail)) {
        conn->phase = HS_CONN_CONTENT_RING;
        return STEP_AGAIN;
    }
    hs_buf_t *content = &exchange->content;
    if (!hs_buf_reserve_exact(content, content_length))
        return refuse(conn, env, 500);
    uint32_t here = (uint32_t)hs_min(ring->head - exchange->parsed, content_length);
    hs_ring_copy(ring, exchange->parsed, content->data, here);
    content->len = here;
    exchange->parsed += here;
    conn->phase = HS_CONN_CONTENT_BUFFER;
    return STEP_AGAIN;
}

static step_t begin_content(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_exchange_t *exchange = conn->exchange;
    hs_ring_t *ring = &exchange->ring;
    hs_msg_t *msg = &exchange->request.msg;
    msg->base = hs_ring_at(ring, ring->tail);
    if (msg->head_len > hs_ring_room(ring, ring->tail))
        move_head_to_arena(exchange);

    hs_parse_outcome_t outcome = hs_parse_check(&exchange->parse);
    if (outcome != HS_PARSE_COMPLETE)
        return refuse(conn, env, hs_parse_status(outcome));
    if (!msg->chunked && msg->content_length == 0)
        return answer(conn, env);

    conn->restart_deadline = true;
    exchange->content_since_ms = env->now_ms;
    if (msg->expect_continue && ring->head == exchange->parsed &&
        !hs_wire_put_continue(&exchange->out))
        return refuse(conn, env, 500);
    if (!msg->chunked)
        return begin_sized_content(conn, env);
    move_head_to_arena(exchange);
    release_parsed(exchange);
    conn->phase = HS_CONN_CONTENT_CHUNKED;
    return STEP_AGAIN;
}

static step_t step_head(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_exchange_t *exchange = conn->exchange;
    hs_ring_t *ring = &exchange->ring;
    uint32_t readable;
    while ((readable = hs_ring_readable(ring, exchange->parsed)) > 0) {
        size_t taken;
        hs_parse_outcome_t outcome =
            hs_parse_head(&exchange->parse, hs_ring_at(ring, exchange->parsed), readable, &taken);
        exchange->parsed += (uint32_t)taken;
        if (outcome == HS_PARSE_COMPLETE)
            return begin_content(conn, env);
        if (outcome != HS_PARSE_NEED_MORE)
            return refuse(conn, env, hs_parse_status(outcome));
    }
    if (hs_ring_free(ring) > 0)
        return STEP_WAIT;
    bool in_request_line = exchange->request.msg.field_count == 0;
    return refuse(
        conn, env,
        hs_parse_status(in_request_line ? HS_PARSE_URI_TOO_LONG : HS_PARSE_FIELDS_TOO_LARGE));
}

static step_t step_content_ring(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_exchange_t *exchange = conn->exchange;
    hs_msg_t *msg = &exchange->request.msg;
    uint32_t content_length = (uint32_t)msg->content_length;
    if (exchange->ring.head - exchange->parsed < content_length)
        return STEP_WAIT;
    msg->body = hs_span(hs_ring_at(&exchange->ring, exchange->parsed), content_length);
    exchange->parsed += content_length;
    return answer(conn, env);
}

static step_t step_content_buffer(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_exchange_t *exchange = conn->exchange;
    hs_msg_t *msg = &exchange->request.msg;
    if (exchange->content.len < msg->content_length)
        return STEP_WAIT;
    msg->body = hs_span(exchange->content.data, exchange->content.len);
    return answer(conn, env);
}

static step_t step_content_chunked(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_exchange_t *exchange = conn->exchange;
    hs_ring_t *ring = &exchange->ring;
    uint32_t readable;
    while ((readable = hs_ring_readable(ring, exchange->parsed)) > 0) {
        size_t taken;
        hs_parse_outcome_t outcome =
            hs_parse_chunked(&exchange->parse, &exchange->content,
                             hs_ring_at(ring, exchange->parsed), readable, &taken);
        exchange->parsed += (uint32_t)taken;
        release_parsed(exchange);
        if (outcome == HS_PARSE_COMPLETE) {
            if (exchange->content.len > 0)
                exchange->request.msg.body = hs_span(exchange->content.data, exchange->content.len);
            return answer(conn, env);
        }
        if (outcome != HS_PARSE_NEED_MORE)
            return refuse(conn, env, hs_parse_status(outcome));
    }
    return STEP_WAIT;
}

static step_t step(hs_conn_t *conn, hs_conn_env_t *env)
{
    switch (conn->phase) {
    case HS_CONN_IDLE:
        if (conn->exchange->ring.head == conn->exchange->parsed)
            return STEP_WAIT;
        hs_exchange_begin_message(conn->exchange, env->limits);
        hs_observe_begin(env->observer, conn->exchange);
        conn->phase = HS_CONN_HEAD;
        conn->restart_deadline = true;
        return STEP_AGAIN;
    case HS_CONN_HEAD:
        return step_head(conn, env);
    case HS_CONN_CONTENT_RING:
        return step_content_ring(conn, env);
    case HS_CONN_CONTENT_BUFFER:
        return step_content_buffer(conn, env);
    case HS_CONN_CONTENT_CHUNKED:
        return step_content_chunked(conn, env);
    case HS_CONN_HANDLING:
    case HS_CONN_FLUSHING:
    case HS_CONN_LINGERING:
    case HS_CONN_CLOSED:
        return STEP_WAIT;
    }
    return STEP_WAIT;
}

/* Received bytes that have to wait until what is unsent has left. */
static bool must_stall(const hs_exchange_t *exchange)
{
    return exchange->ring.head != exchange->parsed &&
           (hs_exchange_unsent(exchange) >= UNSENT_MAX || exchange->out_body.len > 0);
}

void hs_conn_advance(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_exchange_t *exchange = conn->exchange;
    unsigned messages = 0;
    conn->stalled = false;
    while (step(conn, env) == STEP_AGAIN) {
        if (conn->phase != HS_CONN_IDLE)
            continue;
        bool more = exchange->ring.head != exchange->parsed;
        if ((more && ++messages == MESSAGES_PER_TURN) || must_stall(exchange)) {
            conn->stalled = true;
            break;
        }
    }
    /* A peer that will send nothing more leaves an incomplete message behind, or none. */
    if (conn->peer_shut && !conn->stalled && hs_conn_reads_requests(conn))
        hs_conn_stop_reading(conn, false);
}

void hs_conn_complete(hs_conn_t *conn, hs_conn_env_t *env)
{
    if (complete(conn, env) == STEP_WAIT)
        return;
    if (must_stall(conn->exchange))
        conn->stalled = true;
    else
        hs_conn_advance(conn, env);
}
