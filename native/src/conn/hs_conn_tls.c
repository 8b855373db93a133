#include "conn/hs_conn_tls.h"

#include <errno.h>
#include <stdio.h>

#include "conn/hs_observer.h"
#include "exec/hs_res.h"

/* --- the transport --- */

static hs_tls_t *tls_of(hs_stream_t *stream)
{
    return &hs_conn_of(stream)->tls->tls;
}

static ptrdiff_t tls_recv(hs_stream_t *stream, struct iovec *iov, int count)
{
    return hs_tls_recv(tls_of(stream), stream->watcher.fd, iov, count);
}

static ptrdiff_t tls_send(hs_stream_t *stream, struct iovec *iov, int count, bool more)
{
    (void)more; /* records are whole */
    return hs_tls_send(tls_of(stream), stream->watcher.fd, iov, count);
}

static ptrdiff_t tls_sendfile(hs_stream_t *stream, int file, uint64_t offset, size_t len)
{
    return hs_tls_sendfile(tls_of(stream), stream->watcher.fd, file, offset, len);
}

static void tls_shutdown_write(hs_stream_t *stream)
{
    hs_tls_end(tls_of(stream), stream->watcher.fd);
    hs_transport_plain.shutdown_write(stream);
}

/* Counts bytes of records instead of content: precise enough to detect slow clients. */
static size_t tls_unacknowledged(hs_stream_t *stream)
{
    return hs_transport_plain.unacknowledged(stream);
}

static const hs_transport_t transport = {
    .recv = tls_recv,
    .send = tls_send,
    .sendfile = tls_sendfile,
    .shutdown_write = tls_shutdown_write,
    .unacknowledged = tls_unacknowledged,
};

/* --- the handshake --- */

static hs_conn_env_t *env_of(hs_loop_t *loop)
{
    return (hs_conn_env_t *)(void *)loop;
}

static void count(hs_conn_env_t *env, unsigned counter)
{
    if (env->observer != NULL)
        hs_stats_add(env->observer->stats, counter, 1);
}

/* The first request may have arrived with the end of the handshake. */
static void finish_handshake(hs_conn_env_t *env, hs_conn_t *conn)
{
    if (!hs_tls_accepted_ready(conn->tls)) {
        hs_conn_abort(conn, env);
        return;
    }
    count(env, HS_STATS_TLS_HANDSHAKES);
    if (conn->tls->info->peer.is_resumed)
        count(env, HS_STATS_TLS_RESUMED);
    hs_conn_serve(conn, &env->loop);
}

static void fail_handshake(hs_conn_env_t *env, hs_conn_t *conn)
{
    const hs_tls_t *tls = &conn->tls->tls;
    char peer[HS_PEER_TEXT_CAP];
    char failure[HS_FAILURE_TEXT_CAP];
    count(env, HS_STATS_TLS_FAILED);
    if (hs_log_enabled(env->log, HS_LOG_DEBUG)) {
        (void)hs_failure_text(&tls->failure, failure, sizeof(failure));
        hs_log_write(env->log, HS_LOG_DEBUG, "TLS handshake with %s failed: %s",
                     hs_peer_name(&conn->peer, peer), failure);
    }
    if (!tls->is_plain) {
        hs_conn_abort(conn, env);
        return;
    }
    /* A plain-text request gets a plain-text response. */
    conn->stream.transport = env->loop.transport;
    hs_tls_accepted_free(conn->tls);
    conn->tls = NULL;
    hs_conn_serve(conn, &env->loop);
    hs_conn_refuse(conn, env, 400);
}

static void on_data(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_conn_t *conn = hs_conn_of(stream);
    if (conn->phase != HS_CONN_OPEN)
        return;
    if (conn->tls->tls.ready)
        finish_handshake(env_of(loop), conn);
    else
        hs_stream_receive(loop, stream); /* records received before TLS was started */
}

static void on_end(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_conn_abort(hs_conn_of(stream), env_of(loop));
}

static void on_error(hs_loop_t *loop, hs_stream_t *stream, int error)
{
    if (error == EPROTO)
        fail_handshake(env_of(loop), hs_conn_of(stream));
    else
        hs_conn_protocol.on_error(loop, stream, error);
}

static void on_drained(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    (void)stream;
}

static void on_deadline(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_conn_protocol.on_deadline(loop, stream);
}

static void update(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_conn_t *conn = hs_conn_of(stream);
    if (conn->phase == HS_CONN_OPEN && conn->tls->tls.ready)
        finish_handshake(env_of(loop), conn);
    hs_conn_protocol.update(loop, stream);
}

static const hs_protocol_t handshake = {
    .on_data = on_data,
    .on_drained = on_drained,
    .on_end = on_end,
    .on_peer_shut = on_drained,
    .on_error = on_error,
    .on_deadline = on_deadline,
    .update = update,
    .on_closed = hs_conn_on_closed,
};

/* --- a connection --- */

bool hs_conn_expect_tls(hs_conn_t *conn, hs_conn_env_t *env)
{
    conn->tls = env->tls != NULL ? hs_tls_accept(env->tls, &env->tls_wire) : NULL;
    return conn->tls != NULL;
}

void hs_conn_begin_tls(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_stream_t *stream = &conn->stream;
    hs_buffers_t *buffers = stream->buffers;
    uint64_t deadline_ms = stream->deadline_ms;
    bool has_records = buffers != NULL && hs_buffers_has_unparsed(buffers);
    if (has_records) {
        const hs_ring_t *ring = &buffers->ring;
        uint32_t len = ring->head - buffers->parsed;
        uint32_t first = (uint32_t)hs_min(len, hs_ring_readable(ring, buffers->parsed));
        if (!hs_tls_feed(&conn->tls->tls, hs_ring_at(ring, buffers->parsed), first) ||
            !hs_tls_feed(&conn->tls->tls, ring->data, len - first)) {
            hs_conn_abort(conn, env);
            return;
        }
        buffers->parsed = ring->head;
        hs_buffers_release_parsed(buffers);
    }
    stream->transport = &transport;
    hs_stream_set_protocol(&env->loop, stream, &handshake);
    stream->runs_again = has_records;
    stream->deadline_ms = deadline_ms;
}

void hs_conn_update_tls(hs_conn_t *conn)
{
    hs_stream_t *stream = &conn->stream;
    hs_tls_t *tls = &conn->tls->tls;
    if (stream->transport != &transport)
        return;
    if (stream->closed)
        hs_tls_end(tls, stream->watcher.fd);
    else if (stream->writable && hs_tls_unsent(tls) > 0)
        stream->writable = hs_tls_flush(tls, stream->watcher.fd) != -EAGAIN;
}

void hs_conn_set_tls(hs_conn_env_t *env, hs_tls_server_t *server)
{
    hs_tls_server_leave(env->tls);
    env->tls = server;
}

/* --- redirect and HSTS --- */

/* Certificate authorities fetch, in plain text, the token that an ACME client has placed here. */
static const char ACME[] = "/.well-known/acme-challenge/";

/* The host of a Host field: without its port. */
static hs_span_t host_of(hs_span_t authority)
{
    size_t at = authority.len;
    while (at > 0 && authority.data[at - 1] >= '0' && authority.data[at - 1] <= '9')
        at--;
    bool has_port = at > 0 && authority.data[at - 1] == ':';
    return hs_span(authority.data, has_port ? at - 1 : authority.len);
}

static void build_redirect(hs_response_t *response, hs_span_t host, uint16_t port, hs_span_t target)
{
    static const char scheme[] = "https://";
    char number[8] = "";
    if (port != 443)
        (void)snprintf(number, sizeof(number), ":%u", (unsigned)port);
    hs_buf_t location = { 0 };
    bool is_built =
        hs_buf_reserve_exact(&location, sizeof(scheme) + host.len + sizeof(number) + target.len);
    if (is_built) {
        hs_buf_put(&location, scheme, sizeof(scheme) - 1);
        hs_buf_put(&location, host.data, host.len);
        hs_buf_put(&location, number, strlen(number));
        hs_buf_put(&location, target.data, target.len);
    }
    is_built = is_built && hs_res_add_field(response, HS_SPAN_LITERAL("Location"),
                                            hs_span(location.data, location.len)) == HS_OK;
    response->status = 308;
    response->sending = HS_SENDING_ENDED;
    if (!is_built)
        hs_res_replace(response, 500);
    hs_buf_free(&location);
}

bool hs_conn_redirect(hs_conn_t *conn, const hs_conn_env_t *env)
{
    hs_job_t *job = conn->job;
    const hs_msg_t *msg = &job->request.msg;
    hs_span_t target = hs_msg_url(msg);
    const hs_field_t *field = hs_msg_find(msg, HS_SPAN_LITERAL("host"));
    hs_span_t host = field != NULL ? host_of(hs_msg_field_value(msg, field)) : hs_span(NULL, 0);
    if (conn->peer.family == HS_PEER_UNIX || hs_job_is_https(job) ||
        (target.len >= sizeof(ACME) - 1 && memcmp(target.data, ACME, sizeof(ACME) - 1) == 0))
        return false;
    /* RFC 9112 §3.2: in the other forms of a target only the path names the resource. */
    if (target.len == 0 || target.data[0] != '/')
        target = HS_SPAN_LITERAL("/");
    hs_res_begin(&job->response);
    if (host.len > 0)
        build_redirect(&job->response, host, env->redirect_port, target);
    else
        hs_res_replace(&job->response, 400);
    hs_job_set_state(job, HS_JOB_DONE);
    return true;
}

void hs_conn_add_hsts(const hs_conn_env_t *env, hs_job_t *job)
{
    hs_response_t *response = &job->response;
    char value[32];
    if (env->hsts_s == 0 ||
        hs_res_find_field(response, HS_SPAN_LITERAL("Strict-Transport-Security"),
                          &(hs_span_t){ 0 }))
        return;
    int len = snprintf(value, sizeof(value), "max-age=%u", env->hsts_s);
    static const char name[] = "Strict-Transport-Security: ";
    hs_buf_t *fields = &response->fields;
    size_t mark = fields->len;
    if (!hs_buf_append(fields, name, sizeof(name) - 1) ||
        !hs_buf_append(fields, value, (size_t)len) || !hs_buf_append(fields, "\r\n", 2))
        fields->len = mark; /* useless without memory for a response */
}
