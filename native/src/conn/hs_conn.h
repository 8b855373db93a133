/*
 * A connection of the server: joins a stream, the HTTP/1 protocol over it, and the job that answers
 * the message in hand. It reads the next message when the response of the one before is written, in
 * order; while a job is away (with a worker, or deferred) nothing further is read.
 *
 *   OPEN ──► FLUSHING ──► LINGERING ──► CLOSED
 *
 * It makes no system call and reads no clock but through the stream's transport, so that the whole
 * server side of the protocol runs in a test on byte arrays.
 *
 * Thread: the loop's. Recursion: none; pipelined requests are a loop with a budget.
 */
#pragma once

#include "conn/hs_http1.h"
#include "exec/hs_executor.h"
#include "http/hs_date.h"
#include "os/hs_peer.h"
#include "os/hs_region.h"
#include "stream/hs_stream.h"

typedef enum hs_conn_phase {
    HS_CONN_OPEN,      /* requests are read and answered */
    HS_CONN_FLUSHING,  /* no further request: what is unsent goes out, then lingering or closed */
    HS_CONN_LINGERING, /* our side is shut; what still arrives is dropped, so that the response is
                          not lost to a reset (RFC 9112 §9.6) */
    HS_CONN_CLOSED,    /* over: the descriptor is to be closed */
} hs_conn_phase_t;

/* Which deadline is armed. At most one. */
typedef enum hs_conn_wait {
    HS_CONN_WAIT_NONE,
    HS_CONN_WAIT_REQUEST, /* idle after at least one response */
    HS_CONN_WAIT_HEAD,    /* from accept or the first byte of a head to its end */
    HS_CONN_WAIT_CONTENT,
    HS_CONN_WAIT_HANDLER, /* a job is away that has not begun its response */
    HS_CONN_WAIT_WRITE,
    HS_CONN_WAIT_LINGER,
} hs_conn_wait_t;

/* owner: loop. The first two cache lines are what a request touches. */
typedef struct hs_conn {
    hs_stream_t stream; /* first */
    hs_job_t *job;      /* of the message in hand; NULL while idle */
    hs_http1_t http1;
    hs_conn_phase_t phase : 8;
    hs_conn_wait_t wait : 8;
    uint8_t linger_intervals;  /* for which a lingering connection was still sent to */
    bool away : 1;             /* the job comes back by the completion queue */
    bool answered : 1;         /* at least one request */
    bool peer_shut : 1;        /* the peer will send nothing more */
    bool shut_told : 1;        /* the job's owner knows that the peer has shut its side */
    bool linger : 1;           /* FLUSHING ends in LINGERING */
    bool still_sending : 1;    /* bytes were dropped in this interval of lingering */
    bool content_paused : 1;   /* the job's owner wants no content now */
    bool restart_deadline : 1; /* progress was made: the armed deadline starts again */
    uint32_t acknowledged;     /* by the peer, when WAIT_WRITE was looked at last */
    hs_peer_t peer;            /* set by whoever accepted it */
    hs_list_t all;             /* in env->connections */
} hs_conn_t;

_Static_assert(offsetof(hs_conn_t, stream) == 0, "a connection's stream is the connection");
_Static_assert(sizeof(hs_conn_t) <= 3 * HS_CACHE_LINE, "what an idle connection costs");

struct hs_observer;

/* What all connections of a loop share. owner: loop */
typedef struct hs_conn_env {
    hs_loop_t loop; /* first */
    hs_http1_context_t http1;
    hs_job_pool_t jobs;
    hs_pool_t conn_blocks; /* one region: what is kept per connection (hs_conn_env_init) */
    hs_pool_t job_blocks;
    hs_pool_t buffers_blocks;
    hs_region_t region;
    hs_executor_t executor;
    hs_log_t *log;
    hs_date_t date;
    struct hs_observer *observer; /* counts and logs; NULL: nothing does */
    hs_list_t connections;
    bool draining;        /* every response closes its connection */
    bool idle_grace;      /* while draining: idle connections may still ask once */
    bool streams_content; /* handlers are called at the end of the head */
    bool proxy_protocol;  /* accepted connections begin with its header */
    /* The memory of a closed connection may be reused. */
    void (*on_conn_closed)(struct hs_conn_env *env, hs_conn_t *conn);
} hs_conn_env_t;

_Static_assert(offsetof(hs_conn_env_t, loop) == 0, "a loop of connections is their environment");

/*
 * Reserves the memory of `limits->max_connections` and `extra` connections, with their buffers and
 * jobs, in one region. The handler comes with hs_executor_init. HS_ERR_NOMEM, HS_ERR_SYSTEM; the
 * environment is then to be freed.
 */
HS_NODISCARD int hs_conn_env_init(hs_conn_env_t *env, const hs_limits_t *limits, uint32_t extra,
                                  hs_log_t *log, hs_ev_t *ev, const hs_transport_t *transport,
                                  uint64_t now_ms, hs_errinfo_t *error);

/* Gives memory back that was needed once and is free: some at a time. True: there is more. */
bool hs_conn_env_trim(hs_conn_env_t *env);

/* All connections are closed and all jobs have come back. */
void hs_conn_env_free(hs_conn_env_t *env);

/* A connection over a connected descriptor, which it owns unless this fails (-errno). `peer` is
 * copied. It is to be updated (hs_stream_update) before the turn ends. */
HS_NODISCARD int hs_conn_open(hs_conn_t *conn, hs_conn_env_t *env, int fd, const hs_peer_t *peer);

/* A connection that begins with a header of the PROXY protocol: it says who the peer is. `conn` was
 * just opened. It is closed if the header is malformed or, where some proxies are trusted
 * (env->jobs.forwarding), the peer is none of them. */
void hs_conn_expect_proxy(hs_conn_t *conn, hs_conn_env_t *env);

/* The header has not been read yet. */
bool hs_conn_expects_proxy(const hs_conn_t *conn);

/* For a connection beyond the limit: whatever it asks, the response is 503 and the end. */
void hs_conn_shed(hs_conn_t *conn, hs_conn_env_t *env);

/* Jobs that were away come back: their responses, or pieces of them, are written. */
void hs_conn_collect(hs_conn_env_t *env);

/* The descriptor is dead, or the server stops: gives everything back. */
void hs_conn_abort(hs_conn_t *conn, hs_conn_env_t *env);

/* Calls `visit` for each connection, then updates it; `visit` may close it. */
void hs_conn_for_each(hs_conn_env_t *env, void (*visit)(hs_conn_t *conn, hs_conn_env_t *env));

static inline hs_conn_t *hs_conn_of(hs_stream_t *stream)
{
    return (hs_conn_t *)(void *)stream;
}

/* Between two messages, with nothing unsent and nothing received. */
static inline bool hs_conn_is_idle(const hs_conn_t *conn)
{
    return conn->phase == HS_CONN_OPEN && conn->http1.reading == HS_READING_IDLE && !conn->away &&
           (conn->stream.buffers == NULL || (hs_out_unsent(&conn->stream.buffers->out) == 0 &&
                                             !hs_buffers_has_unparsed(conn->stream.buffers)));
}
