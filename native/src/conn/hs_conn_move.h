/*
 * Moving a connection to another process. Between two messages a connection is its descriptor, a
 * flag and the received but unhandled bytes: the process that gets these continues where this one
 * stopped, and the client notices nothing. Pure, like hs_conn.
 *
 * Not everything can move at any time: a message with a complete head and an unsent response are
 * finished here first.
 *
 * Thread: the loop's.
 */
#pragma once

#include "conn/hs_conn.h"

/* More received bytes than this are not moved: they are handled first. */
#define HS_CONN_MOVE_BYTES_MAX (64 * 1024)

/* ... and more bytes of responses than this not at all: a content of 64 KiB, its head, and small
 * responses before it. */
#define HS_CONN_MOVE_UNSENT_MAX (96 * 1024)

/* The data sent besides the bytes. */
typedef struct hs_conn_moved {
    bool answered;      /* at least one request */
    bool expects_proxy; /* the header of the PROXY protocol has not been read yet */
    uint32_t len;       /* received, not yet handled */
    uint32_t taken;     /* hs_stream_t.taken and given */
    uint32_t given;
    hs_peer_t peer;

    /* For a connection whose process died (conn/hs_rescue.h). */
    bool replayed;   /* a request of it was being handled */
    bool refuses;    /* its request gets 503, then the connection is closed */
    bool closes;     /* it is closed after the unsent bytes */
    bool is_head;    /* the refused request was a HEAD */
    uint32_t unsent; /* bytes of responses, which follow the received ones */
} hs_conn_moved_t;

bool hs_conn_is_movable(const hs_conn_t *conn);

/* The data to send to the successor: the bytes in up to two pieces, valid until the connection is
 * used again. Changes nothing; once the successor has everything, hs_conn_abort drops the
 * connection. */
int hs_conn_export(const hs_conn_t *conn, hs_conn_moved_t *moved, struct iovec iov[2]);

/*
 * Continues a connection that was just opened, as described by hs_conn_export or hs_rescue_decide;
 * its deadline restarts. `data`: moved->len bytes, then moved->unsent. False: out of memory, or the
 * bytes do not fit into the ring here; the connection is then closed.
 */
HS_NODISCARD bool hs_conn_import(hs_conn_t *conn, hs_conn_env_t *env, const hs_conn_moved_t *moved,
                                 const char *data);
