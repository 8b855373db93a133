#include "conn/hs_conn_move.h"

bool hs_conn_is_movable(const hs_conn_t *conn)
{
    if ((conn->phase != HS_CONN_IDLE && conn->phase != HS_CONN_HEAD) || conn->peer_shut)
        return false;
    const hs_exchange_t *exchange = conn->exchange;
    return exchange == NULL || (hs_exchange_unsent(exchange) == 0 &&
                                hs_ring_used(&exchange->ring) <= HS_CONN_MOVE_BYTES_MAX);
}

int hs_conn_export(const hs_conn_t *conn, hs_conn_moved_t *moved, struct iovec iov[2])
{
    HS_ASSERT(hs_conn_is_movable(conn));
    *moved = (hs_conn_moved_t){ .answered = conn->answered };
    if (conn->exchange == NULL)
        return 0;
    /* The tail is where the message begins: nothing of it has been let go. */
    const hs_ring_t *ring = &conn->exchange->ring;
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
    hs_conn_init(conn, env);
    conn->answered = moved->answered;
    if (moved->len == 0) {
        uint32_t idle_ms = env->limits->keepalive_timeout_ms;
        if (moved->answered) {
            conn->wait = HS_CONN_WAIT_REQUEST;
            conn->deadline_ms = idle_ms ? env->now_ms + idle_ms : 0;
        }
        return true;
    }
    conn->exchange = moved->len <= env->limits->ring_size ? hs_exchange_lease(env->pool) : NULL;
    if (conn->exchange == NULL) {
        hs_conn_abort(conn, env);
        return false;
    }
    hs_ring_t *ring = &conn->exchange->ring;
    memcpy(ring->data, data, moved->len); /* a leased ring is rewound */
    hs_ring_commit(ring, moved->len);
    conn->stalled = true;
    return true;
}
