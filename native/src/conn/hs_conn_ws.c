#include "conn/hs_conn_ws.h"

#include <errno.h>

#include "conn/hs_conn_tls.h"
#include "conn/hs_observer.h"
#include "http/hs_wire.h"

/* How long a client may take to answer our Close frame. */
#define CLOSE_TIMEOUT_MS 5000
/* When the reactor ends, sockets are closed in steps of this time; if there are few, at least one
 * per MS_PER_SOCKET. */
#define CLOSING_STEP_MS 50
#define MS_PER_SOCKET 20

static hs_conn_env_t *env_of(hs_loop_t *loop)
{
    return (hs_conn_env_t *)(void *)loop;
}

/* Its line of the access log, if there is one. */
static void observe_end(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_websocket_t *socket = conn->websocket;
    hs_observe_websocket_end(env->observer, socket->kept, conn->stream.given, socket->code);
    socket->kept = NULL;
}

/* The socket is over, its Close frame in the output chain: HTTP/1 sends unsent output, lingers and
 * closes. In the next turn, if called outside the stream's events. */
static void on_over(hs_websocket_hub_t *hub, hs_stream_t *stream)
{
    hs_conn_env_t *env = env_of(hub->loop);
    hs_conn_t *conn = hs_conn_of(stream);
    observe_end(conn, env);
    conn->websocket = NULL;
    hs_stream_set_protocol(&env->loop, stream, &hs_conn_protocol);
    if (conn->phase == HS_CONN_OPEN)
        hs_conn_finish(conn, env, 0, false);
    conn->restart_deadline = true;
    stream->runs_again = true;
    hs_list_remove(&stream->turn);
    hs_list_push_back(&env->loop.again, &stream->turn);
}

static uint32_t count_open(const hs_conn_env_t *env)
{
    uint32_t count = 0;
    for (hs_list_t *node = env->connections.next; node != &env->connections; node = node->next)
        count += hs_conn_is_websocket(HS_CONTAINER_OF(node, hs_conn_t, all));
    return count;
}

/* Closes open sockets, up to the number that is due. */
static void close_due(hs_conn_env_t *env)
{
    uint64_t passed_ms = env->loop.now_ms - env->ws_closing.begun_ms;
    uint32_t spread_ms = env->ws_closing.spread_ms;
    bool is_last = passed_ms >= spread_ms;
    uint64_t due = is_last ? UINT64_MAX : 1 + passed_ms * env->ws_closing.count / spread_ms;
    hs_list_t *node = env->connections.next;
    for (; node != &env->connections && env->ws_closing.closed < due; node = node->next) {
        hs_conn_t *conn = HS_CONTAINER_OF(node, hs_conn_t, all);
        if (!hs_conn_is_websocket(conn) || conn->websocket->state != HS_WEBSOCKET_OPEN)
            continue;
        (void)hs_websocket_close(conn->websocket, env->websockets.closing, hs_span("", 0));
        env->ws_closing.closed++;
    }
    hs_timer_set(&env->loop, &env->ws_closing.timer,
                 is_last ? 0 : env->loop.now_ms + CLOSING_STEP_MS);
}

static void on_closing_step(hs_loop_t *loop, hs_timer_t *timer)
{
    (void)timer;
    close_due(env_of(loop));
}

void hs_conn_close_websockets(hs_conn_env_t *env, int code, uint32_t timeout_ms)
{
    uint32_t count = count_open(env);
    env->websockets.closing = code;
    env->ws_closing.begun_ms = env->loop.now_ms;
    env->ws_closing.count = count;
    env->ws_closing.closed = 0;
    if (count == 0)
        return;
    /* The remaining time is for the closing handshake. */
    env->ws_closing.spread_ms =
        (uint32_t)hs_min((size_t)timeout_ms * 3 / 4, (size_t)(count - 1) * MS_PER_SOCKET);
    close_due(env);
}

static void on_flush(hs_websocket_hub_t *hub)
{
    hs_conn_env_t *env = env_of(hub->loop);
    hs_conn_update_websockets(env);
    hs_loop_send(&env->loop, UINT64_MAX); /* but for what is held */
}

void hs_conn_init_websockets(hs_conn_env_t *env)
{
    env->websockets = (hs_websocket_hub_t){ .loop = &env->loop,
                                            .limits = env->http1.limits,
                                            .jobs = &env->jobs,
                                            .log = env->log,
                                            .over = on_over,
                                            .flush = on_flush };
    env->jobs.websockets = &env->websockets;
    hs_timer_init(&env->ws_closing.timer, on_closing_step);
}

static void on_data(hs_loop_t *loop, hs_stream_t *stream)
{
    if (stream->kept)
        hs_ledger_touch(loop->ledger, stream);
    hs_websocket_advance(hs_conn_of(stream)->websocket);
}

static void on_drained(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_websocket_drained(hs_conn_of(stream)->websocket);
}

/* The connection ends without a closing handshake. */
static void on_end(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_conn_of(stream)->phase = HS_CONN_CLOSED;
}

/* Data that may have arrived before is received first. */
static void on_peer_shut(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    (void)stream;
}

static void on_error(hs_loop_t *loop, hs_stream_t *stream, int error)
{
    if (error == ENOMEM)
        hs_log_write(env_of(loop)->log, HS_LOG_ERROR,
                     "out of memory for a message: WebSocket closed");
    hs_conn_of(stream)->phase = HS_CONN_CLOSED;
}

/* Nothing has arrived for a while. */
static void check_silence(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_websocket_t *socket = conn->websocket;
    uint32_t interval_ms = env->http1.limits->ws_ping_interval_ms;
    uint32_t silent_ms = (uint32_t)env->loop.now_ms - socket->active_ms;
    /* A socket that is not read cannot answer. */
    if (!hs_websocket_reads(socket) || silent_ms < interval_ms) {
        uint32_t left_ms = silent_ms < interval_ms ? interval_ms - silent_ms : interval_ms;
        conn->stream.deadline_ms = env->loop.now_ms + left_ms;
        return;
    }
    if (socket->pinged) {
        hs_observe_timeout(env->observer, HS_CONN_WAIT_REQUEST);
        conn->phase = HS_CONN_CLOSED;
        return;
    }
    conn->restart_deadline = true;
    socket->pinged = hs_websocket_ping(socket, hs_span("", 0)) == HS_OK;
}

static void on_deadline(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_conn_env_t *env = env_of(loop);
    hs_conn_t *conn = hs_conn_of(stream);
    switch (conn->wait) {
    case HS_CONN_WAIT_WRITE:
        if (hs_conn_has_taken_enough(conn, env))
            return;
        hs_observe_timeout(env->observer, HS_CONN_WAIT_WRITE);
        conn->websocket->is_slow = true;
        conn->phase = HS_CONN_CLOSED;
        return;
    case HS_CONN_WAIT_REQUEST:
        check_silence(conn, env);
        return;
    case HS_CONN_WAIT_HEAD:
    case HS_CONN_WAIT_CONTENT:
    case HS_CONN_WAIT_HANDLER:
    case HS_CONN_WAIT_LINGER:
    case HS_CONN_WAIT_NONE:
        conn->phase = HS_CONN_CLOSED; /* no Close has come */
        return;
    }
}

/* REQUEST: a message; LINGER: the client's Close frame. */
static hs_conn_wait_t wait_of(const hs_conn_t *conn, const hs_conn_env_t *env, size_t unsent)
{
    if (unsent > 0)
        return HS_CONN_WAIT_WRITE;
    if (conn->websocket->state == HS_WEBSOCKET_CLOSING)
        return HS_CONN_WAIT_LINGER;
    return env->http1.limits->ws_ping_interval_ms > 0 ? HS_CONN_WAIT_REQUEST : HS_CONN_WAIT_NONE;
}

static uint64_t deadline_of(const hs_conn_t *conn, const hs_conn_env_t *env)
{
    uint64_t now_ms = env->loop.now_ms;
    if (conn->wait == HS_CONN_WAIT_WRITE)
        return hs_conn_write_deadline_ms(conn, env);
    if (conn->wait == HS_CONN_WAIT_LINGER)
        return now_ms + CLOSE_TIMEOUT_MS;
    return conn->wait == HS_CONN_WAIT_REQUEST ? now_ms + env->http1.limits->ws_ping_interval_ms : 0;
}

/* The stream ends now: notifies the socket's owner. */
static void close_now(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_websocket_t *socket = conn->websocket;
    socket->code = HS_WS_ABNORMAL;
    observe_end(conn, env);
    conn->websocket = NULL;
    conn->stream.closed = true;
    conn->stream.protocol = &hs_conn_protocol;
    hs_list_remove(&conn->all);
    if (conn->tls != NULL)
        hs_conn_update_tls(conn);
    hs_websocket_lost(socket);
}

static void give_back_idle(hs_conn_t *conn, hs_conn_env_t *env, size_t unsent)
{
    hs_buffers_t *buffers = conn->stream.buffers;
    hs_websocket_rest(conn->websocket);
    if (buffers != NULL && unsent == 0 && !conn->websocket->in_hand &&
        hs_ring_used(&buffers->ring) == 0)
        hs_stream_give_back(&env->loop, &conn->stream);
}

static void update(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_conn_env_t *env = env_of(loop);
    hs_conn_t *conn = hs_conn_of(stream);
    hs_websocket_t *socket = conn->websocket;
    size_t unsent = hs_stream_unsent(stream);
    if (conn->phase == HS_CONN_CLOSED || socket->state == HS_WEBSOCKET_OVER) {
        close_now(conn, env);
        return;
    }
    if (stream->buffers != NULL)
        hs_conn_note_unsent(conn, loop->now_ms, unsent);
    give_back_idle(conn, env, unsent);
    if (conn->tls != NULL)
        hs_conn_update_tls(conn);
    stream->reads = hs_websocket_reads(socket) && !stream->waits_for_drain && !stream->runs_again &&
                    unsent < HS_STREAM_UNSENT_MAX;
    hs_conn_wait_t wait = wait_of(conn, env, unsent);
    if (wait == conn->wait && !conn->restart_deadline)
        return;
    conn->wait = wait;
    conn->restart_deadline = false;
    stream->deadline_ms = deadline_of(conn, env);
}

const hs_protocol_t hs_conn_websocket_protocol = {
    .on_data = on_data,
    .on_drained = on_drained,
    .on_end = on_end,
    .on_peer_shut = on_peer_shut,
    .on_error = on_error,
    .on_deadline = on_deadline,
    .update = update,
    .on_closed = hs_conn_on_closed,
};

bool hs_conn_put_upgrade(hs_conn_t *conn, const hs_conn_env_t *env)
{
    const hs_response_t *response = &conn->job->response;
    hs_wire_head_t head = { .status = 101,
                            .fields = hs_span(response->fields.data, response->fields.len),
                            .own_date = response->own_date };
    return hs_wire_put_head(&conn->stream.buffers->out.bytes, &head, &env->date, hs_span("", 0));
}

void hs_conn_begin_websocket(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_job_t *job = conn->job;
    hs_stream_t *stream = &conn->stream;
    hs_websocket_t *socket = job->websocket;
    if (stream->kept)
        hs_ledger_touch(env->loop.ledger, stream);
    bool put = hs_conn_put_upgrade(conn, env);
    socket->kept = hs_observe_upgrade(env->observer, job, stream->given);
    job->websocket = NULL;
    hs_http1_end_message(&conn->http1, stream->buffers);
    conn->http1.reading = HS_READING_STOPPED;
    hs_job_give_back(&env->jobs, job);
    conn->answered = conn->restart_deadline = true;
    conn->websocket = socket;
    hs_stream_set_protocol(&env->loop, stream, &hs_conn_websocket_protocol);
    if (!put || !hs_websocket_open(socket, stream))
        conn->phase = HS_CONN_CLOSED; /* out of memory */
}

void hs_conn_update_websockets(hs_conn_env_t *env)
{
    hs_loop_t *loop = &env->loop;
    hs_websocket_t *socket;
    while ((socket = hs_websocket_next_dirty(&env->websockets)) != NULL) {
        hs_stream_t *stream = socket->stream;
        if (stream->kept)
            hs_ledger_touch(loop->ledger, stream);
        hs_stream_update(loop, stream);
    }
}
