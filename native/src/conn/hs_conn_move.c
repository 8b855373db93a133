#include "conn/hs_conn_move.h"

bool hs_conn_is_movable(const hs_conn_t *conn)
{
    if (conn->phase != HS_CONN_OPEN || conn->away || conn->http1.reading > HS_READING_HEAD ||
        conn->peer_shut || conn->tls != NULL)
        return false;
    const hs_buffers_t *buffers = conn->stream.buffers;
    return buffers == NULL || (hs_out_unsent(&buffers->out) == 0 &&
                               hs_ring_used(&buffers->ring) <= HS_CONN_MOVE_BYTES_MAX);
}

int hs_conn_export(const hs_conn_t *conn, hs_conn_moved_t *moved, struct iovec iov[2])
{
    HS_ASSERT(hs_conn_is_movable(conn));
    *moved = (hs_conn_moved_t){ .answered = conn->answered,
                                .expects_proxy = hs_conn_expects_proxy(conn),
                                .taken = conn->stream.taken,
                                .given = conn->stream.given,
                                .replayed = conn->replayed,
                                .peer = conn->peer };
    if (conn->stream.buffers == NULL)
        return 0;
    /* The tail is at the start of the message: all of it is still in the ring. */
    const hs_ring_t *ring = &conn->stream.buffers->ring;
    moved->len = hs_ring_used(ring);
    if (moved->len == 0)
        return 0;
    uint32_t first = hs_ring_readable(ring, ring->tail);
    iov[0] = (struct iovec){ hs_ring_at(ring, ring->tail), first };
    if (first == moved->len)
        return 1;
    iov[1] = (struct iovec){ ring->data, moved->len - first };
    return 2;
}

/* Copies as much as fits to where it would be received. Returns the number of bytes. */
static size_t receive_copy(hs_stream_t *stream, const char *data, size_t len)
{
    struct iovec iov[3];
    size_t into = 0;
    int count = 0;
    char *at = stream->protocol->recv_into(stream, &into);
    if (into > 0)
        iov[count++] = (struct iovec){ at, into };
    count += hs_ring_write_vec(&stream->buffers->ring, iov + count);
    size_t copied = 0;
    for (int i = 0; i < count; i++) {
        size_t part = hs_min(iov[i].iov_len, len - copied);
        memcpy(iov[i].iov_base, data + copied, part);
        copied += part;
    }
    into = hs_min(into, copied);
    if (into > 0)
        stream->protocol->received_into(stream, into);
    hs_ring_commit(&stream->buffers->ring, (uint32_t)(copied - into));
    return copied;
}

/* More than fits the ring: a head and part of its content, handled as if received now. A handler
 * may run: if this process dies in it, the response is 503. */
static bool feed(hs_conn_t *conn, hs_conn_env_t *env, const char *data, size_t len)
{
    hs_stream_t *stream = &conn->stream;
    bool kept = stream->kept;
    if (kept)
        hs_stream_note(&env->loop, stream, 0, HS_STAGE_ANSWERING);
    stream->kept = false;
    while (len > 0 && conn->phase == HS_CONN_OPEN) {
        size_t copied = receive_copy(stream, data, len);
        if (copied == 0)
            break;
        data += copied;
        len -= copied;
        stream->protocol->on_data(&env->loop, stream);
    }
    stream->kept = kept;
    if (len == 0 || conn->phase != HS_CONN_OPEN)
        return true;
    hs_conn_abort(conn, env);
    return false;
}

bool hs_conn_import(hs_conn_t *conn, hs_conn_env_t *env, const hs_conn_moved_t *moved,
                    const char *data)
{
    conn->answered = moved->answered;
    conn->replayed = moved->replayed;
    conn->peer = moved->peer;
    conn->stream.taken = moved->taken;
    conn->stream.given = moved->given;
    if (moved->expects_proxy)
        hs_conn_expect_proxy(conn, env);
    bool ends = moved->refuses || moved->closes;
    if (moved->len == 0 && moved->unsent == 0 && !ends)
        return true;
    bool fits = moved->len <= env->http1.limits->ring_size || !moved->expects_proxy;
    if (!fits || !hs_stream_lease(&env->loop, &conn->stream) ||
        !hs_out_append(&conn->stream.buffers->out, data + moved->len, moved->unsent)) {
        hs_conn_abort(conn, env);
        return false;
    }
    if (ends) {
        hs_conn_finish(conn, env, moved->refuses ? 503 : 0, moved->is_head);
        return true;
    }
    if (moved->len > env->http1.limits->ring_size)
        return feed(conn, env, data, moved->len);
    if (moved->len == 0)
        return true;
    hs_ring_t *ring = &conn->stream.buffers->ring;
    memcpy(ring->data, data, moved->len); /* a leased ring is rewound */
    hs_ring_commit(ring, moved->len);
    conn->stream.runs_again = true;
    return true;
}
