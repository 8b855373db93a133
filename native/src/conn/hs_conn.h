/*
 * One connection as a state machine without I/O. It is told what happened (bytes arrived, bytes
 * left, the peer shut, a deadline passed) and says what it wants next: where to receive, what to
 * send, until when to wait, whether it is over. It makes no system call and reads no clock, so that
 * the whole protocol runs in a test on byte arrays.
 *
 * Thread: the reactor's I/O thread. Recursion: none; pipelined requests are a loop with a budget.
 */
#pragma once

#include <sys/uio.h>

#include "exec/hs_dispatch.h"
#include "http/hs_date.h"
#include "os/hs_peer.h"

typedef enum hs_conn_phase {
    HS_CONN_IDLE,            /* between messages */
    HS_CONN_HEAD,            /* a head has begun */
    HS_CONN_CONTENT_RING,    /* content of known length stays in the ring */
    HS_CONN_CONTENT_BUFFER,  /* content of known length is received into its own buffer */
    HS_CONN_CONTENT_CHUNKED, /* content is decoded from chunks */
    HS_CONN_HANDLING,  /* a worker has the exchange: nothing is read, earlier answers are sent */
    HS_CONN_FLUSHING,  /* no further request: what is unsent goes out, then lingering or closed */
    HS_CONN_LINGERING, /* write side to be shut; what still arrives is dropped, so that the answer
                          is not lost to a reset (RFC 9112 §9.6) */
    HS_CONN_CLOSED,    /* over: the descriptor is to be closed */
} hs_conn_phase_t;

/* Which deadline is armed. Exactly one. */
typedef enum hs_conn_wait {
    HS_CONN_WAIT_NONE,
    HS_CONN_WAIT_REQUEST, /* idle after at least one answer */
    HS_CONN_WAIT_HEAD,    /* from accept or the first byte of a head to its end */
    HS_CONN_WAIT_CONTENT,
    HS_CONN_WAIT_HANDLER, /* a worker has the request */
    HS_CONN_WAIT_WRITE,
    HS_CONN_WAIT_LINGER,
} hs_conn_wait_t;

/* owner: io */
typedef struct hs_conn {
    hs_exchange_t *exchange; /* leased while bytes are pending, NULL while idle */
    uint64_t deadline_ms;    /* 0: none */
    hs_peer_t peer;          /* set by whoever accepted it */
    hs_conn_phase_t phase : 8;
    hs_conn_wait_t wait : 8;
    uint8_t linger_intervals;  /* for which a lingering connection was still sent to */
    bool answered : 1;         /* at least one request */
    bool peer_shut : 1;        /* the peer will send nothing more */
    bool stalled : 1;          /* received bytes wait for hs_conn_resume */
    bool linger : 1;           /* FLUSHING ends in LINGERING */
    bool still_sending : 1;    /* bytes were dropped in this interval of lingering */
    bool restart_deadline : 1; /* progress was made: the armed deadline starts again */
} hs_conn_t;

struct hs_observer;

/* What all connections of a reactor share. owner: io */
typedef struct hs_conn_env {
    const hs_limits_t *limits;
    hs_exchange_pool_t *pool;
    hs_log_t *log;
    hs_date_t date;
    uint64_t now_ms;              /* the time of this turn */
    struct hs_observer *observer; /* counts and logs; NULL: nobody does */
    struct iovec discard;         /* where a lingering connection receives */
    bool draining;                /* every answer closes its connection */
    bool idle_grace;              /* while draining: idle connections may still ask once */
    hs_dispatch_t dispatch;       /* where handlers run */
} hs_conn_env_t;

void hs_conn_init(hs_conn_t *conn, const hs_conn_env_t *env);

/* For a connection beyond the limit: whatever it asks, the answer is 503 and the end. */
void hs_conn_shed(hs_conn_t *conn, hs_conn_env_t *env);

/* Where to receive: the number of pieces, 0 when nothing may be read now. Leases the exchange. */
HS_NODISCARD int hs_conn_recv_vec(hs_conn_t *conn, hs_conn_env_t *env, struct iovec iov[2]);

/* `len` bytes were received into the pieces of hs_conn_recv_vec; 0: there was nothing yet. Parses,
 * runs handlers, builds answers. */
void hs_conn_received(hs_conn_t *conn, hs_conn_env_t *env, size_t len);

/* The peer has shut its side. What it asked for before is still answered. */
void hs_conn_peer_shut(hs_conn_t *conn, hs_conn_env_t *env);

/* What to send: the number of pieces, 0 when there is nothing. */
HS_NODISCARD int hs_conn_send_vec(const hs_conn_t *conn, struct iovec iov[2]);
void hs_conn_sent(hs_conn_t *conn, hs_conn_env_t *env, size_t len);

/* Goes on with received bytes that had to wait (conn->stalled); to be called when nothing is
 * unsent. */
void hs_conn_resume(hs_conn_t *conn, hs_conn_env_t *env);

/* A worker has finished what this connection lent it: the phase is HS_CONN_HANDLING. */
void hs_conn_handled(hs_conn_t *conn, hs_conn_env_t *env);

/* conn->deadline_ms has passed. */
void hs_conn_deadline_passed(hs_conn_t *conn, hs_conn_env_t *env);

/* The server drains and the grace is over: closes an idle connection. The others close after their
 * answer. */
void hs_conn_drain(hs_conn_t *conn, hs_conn_env_t *env);

/* The descriptor is dead, or the server stops: gives everything back. */
void hs_conn_abort(hs_conn_t *conn, hs_conn_env_t *env);
