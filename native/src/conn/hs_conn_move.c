#include "conn/hs_conn_move.h"

bool hs_conn_is_movable(const hs_conn_t *conn)
{
    if (conn->phase != HS_CONN_OPEN || conn->away || conn->http1.reading > HS_READING_HEAD ||
        conn->peer_shut)
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
                                .peer = conn->peer };
    if (conn->stream.buffers == NULL)
        return 0;
    /* The tail is where the message begins: nothing of it has been let go. */
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

bool hs_conn_import(hs_conn_t *conn, hs_conn_env_t *env, const hs_conn_moved_t *moved,
                    const char *data)
{
    conn->answered = moved->answered;
    conn->peer = moved->peer;
    if (moved->expects_proxy)
        hs_conn_expect_proxy(conn, env);
    if (moved->len == 0)
        return true;
    if (moved->len > env->http1.limits->ring_size || !hs_stream_lease(&env->loop, &conn->stream)) {
        hs_conn_abort(conn, env);
        return false;
    }
    hs_ring_t *ring = &conn->stream.buffers->ring;
    memcpy(ring->data, data, moved->len); /* a leased ring is rewound */
    hs_ring_commit(ring, moved->len);
    conn->stream.runs_again = true;
    return true;
}
