/*
 * Moving a connection to another process. Between two messages a connection is its descriptor, a
 * flag and the bytes that were received and not yet answered: the process that gets these goes on
 * where this one stops, and the client sees nothing of it. Pure, as hs_conn.
 *
 * Not everything can move at any time: a message whose head is complete and a response that is not
 * sent are finished here first.
 *
 * Thread: the loop's.
 */
#pragma once

#include "conn/hs_conn.h"

/* More received bytes than this do not move: they are handled first. */
#define HS_CONN_MOVE_BYTES_MAX (64 * 1024)

/* What travels besides the bytes. */
typedef struct hs_conn_moved {
    bool answered;      /* at least one request */
    bool expects_proxy; /* the header of the PROXY protocol has not been read yet */
    uint32_t len;       /* received, not yet handled */
    hs_peer_t peer;
} hs_conn_moved_t;

bool hs_conn_is_movable(const hs_conn_t *conn);

/* What to send to the successor: the bytes in up to two pieces, valid until the connection goes on.
 * Changes nothing; when the successor has it all, hs_conn_abort forgets the connection. */
int hs_conn_export(const hs_conn_t *conn, hs_conn_moved_t *moved, struct iovec iov[2]);

/*
 * Continues a connection that was just opened as hs_conn_export described it; its deadline starts
 * again. False: out of memory, or the bytes do not fit into the ring here; the connection is then
 * closed.
 */
HS_NODISCARD bool hs_conn_import(hs_conn_t *conn, hs_conn_env_t *env, const hs_conn_moved_t *moved,
                                 const char *data);
