/*
 * A server connection: joins a stream, the HTTP/1 protocol over it, and the job that handles the
 * current message. It reads the next message when the response to the previous one is written, in
 * order; while a job is away (on a worker, or deferred) nothing more is read.
 *
 *   OPEN ──► FLUSHING ──► LINGERING ──► CLOSED
 *    ▲│
 *    │▼
 *   CODING
 *
 * It makes system calls and reads the clock only through the stream's transport, so tests run the
 * whole server side of the protocol on byte arrays.
 *
 * Thread: the loop's. Recursion: none; pipelined requests are a loop with a budget.
 */
#pragma once

#include "conn/hs_http1.h"
#include "exec/hs_compression.h"
#include "exec/hs_executor.h"
#include "exec/hs_websocket.h"
#include "http/hs_date.h"
#include "net/hs_tls_server.h"
#include "os/hs_peer.h"
#include "os/hs_region.h"
#include "stream/hs_stream.h"
#include "stream/hs_timer.h"

typedef enum hs_conn_phase {
    HS_CONN_OPEN,      /* requests are read and handled */
    HS_CONN_CODING,    /* a long response is compressed and written, one slice per turn */
    HS_CONN_FLUSHING,  /* no further request: unsent output is sent, then lingering or closed */
    HS_CONN_LINGERING, /* our side is shut down; incoming data is dropped, so that the response is
                          not lost to a reset (RFC 9112 §9.6) */
    HS_CONN_CLOSED,    /* over: the descriptor must be closed */
} hs_conn_phase_t;

/* Which deadline is armed. At most one. */
typedef enum hs_conn_wait {
    HS_CONN_WAIT_NONE,
    HS_CONN_WAIT_REQUEST, /* idle after at least one response */
    HS_CONN_WAIT_HEAD,    /* from accept or the first byte of a head to its end */
    HS_CONN_WAIT_CONTENT,
    HS_CONN_WAIT_HANDLER, /* a job is away and has not begun its response */
    HS_CONN_WAIT_WRITE,
    HS_CONN_WAIT_LINGER,
} hs_conn_wait_t;

/* owner: loop. A request touches only the first two cache lines. */
typedef struct hs_conn {
    hs_stream_t stream; /* first */
    union {
        hs_job_t *job;             /* of the message in hand; NULL while idle */
        hs_websocket_t *websocket; /* hs_conn_is_websocket */
    };
    hs_http1_t http1;
    hs_conn_phase_t phase : 8;
    hs_conn_wait_t wait : 8;
    uint8_t linger_intervals : 5; /* in which a lingering connection still received data */
    bool away : 1;                /* the job comes back through the completion queue */
    bool answered : 1;            /* at least one request */
    bool peer_shut : 1;           /* the peer will send nothing more */
    bool shut_told : 1;           /* the job's owner was told that the peer shut its side */
    bool linger : 1;              /* FLUSHING ends in LINGERING */
    bool still_sending : 1;       /* bytes were dropped in this interval of lingering */
    bool content_paused : 1;      /* the job's owner wants no content now */
    bool restart_deadline : 1;    /* progress was made: the armed deadline starts again */
    bool ends : 1;          /* it is closed after the current response, or now if there is none: it
                               cannot be handed over */
    bool replayed : 1;      /* its process died with the current request */
    hs_peer_t peer;         /* set by the acceptor */
    hs_list_t all;          /* in env->connections */
    hs_tls_accepted_t *tls; /* NULL: plain */
} hs_conn_t;

_Static_assert(offsetof(hs_conn_t, stream) == 0, "a connection's stream is the connection");
_Static_assert(sizeof(hs_conn_t) <= 3 * HS_CACHE_LINE, "what an idle connection costs");

struct hs_observer;

/* What all connections of a loop share. owner: loop */
typedef struct hs_conn_env {
    hs_loop_t loop; /* first */
    hs_http1_context_t http1;
    hs_job_pool_t jobs;
    hs_pool_t conn_blocks; /* one region: the memory per connection (hs_conn_env_init) */
    hs_pool_t job_blocks;
    hs_pool_t buffers_blocks;
    hs_region_t region;
    hs_executor_t executor;
    hs_log_t *log;
    hs_date_t date;
    hs_tls_server_t *tls; /* for new connections (conn/hs_conn_tls.h); NULL: no TLS */
    hs_tls_wire_t tls_wire;
    uint16_t redirect_port;       /* where plain-text requests are redirected; 0: they are served */
    uint32_t hsts_s;              /* max-age of Strict-Transport-Security; 0: not sent */
    struct hs_observer *observer; /* counts and logs; NULL: nothing does */
    hs_list_t connections;
    hs_websocket_hub_t websockets;
    struct {
        hs_timer_t timer;
        uint64_t begun_ms;
        uint32_t spread_ms; /* all are closed in so long */
        uint32_t count;     /* when it began */
        uint32_t closed;
    } ws_closing;         /* hs_conn_close_websockets */
    bool draining;        /* every response closes its connection */
    bool idle_grace;      /* idle connections due to be closed may still send one request */
    bool streams_content; /* handlers are called at the end of the head */
    bool proxy_protocol;  /* accepted connections begin with its header */
    /* NULL: responses are not compressed; otherwise `coders` is set too. */
    const hs_compression_t *compression;
    hs_coders_t *coders;
    bool survives; /* loop.ledger is kept, in a region shared with a keeper */
    /* The memory of a closed connection may be reused. */
    void (*on_conn_closed)(struct hs_conn_env *env, hs_conn_t *conn);
} hs_conn_env_t;

_Static_assert(offsetof(hs_conn_env_t, loop) == 0, "a loop of connections is their environment");

/*
 * Reserves memory for `limits->max_connections` plus `extra` connections, with their buffers and
 * jobs, in one region. `ledger`: connections survive this process (server/hs_keeper.h), if a region
 * can be shared (env->survives); NULL: they do not. It is borrowed. The handler is set by
 * hs_executor_init. HS_ERR_NOMEM, HS_ERR_SYSTEM; the environment must then be freed.
 */
HS_NODISCARD int hs_conn_env_init(hs_conn_env_t *env, const hs_limits_t *limits, uint32_t extra,
                                  hs_ledger_t *ledger, hs_log_t *log, hs_ev_t *ev,
                                  const hs_transport_t *transport, uint64_t now_ms,
                                  hs_errinfo_t *error);

/* Returns unused memory to the system, some at a time. True: there is more. */
bool hs_conn_env_trim(hs_conn_env_t *env);

/* All connections are closed and all jobs have come back. */
void hs_conn_env_free(hs_conn_env_t *env);

/* A connection over a connected descriptor, which it owns unless this fails (-errno). `peer` is
 * copied. It must be updated (hs_stream_update) before the turn ends. */
HS_NODISCARD int hs_conn_open(hs_conn_t *conn, hs_conn_env_t *env, int fd, const hs_peer_t *peer);

/* A connection that begins with a PROXY header, which names the peer. `conn` was just opened. It is
 * closed if the header is malformed or, with trusted proxies (env->jobs.forwarding), if the peer is
 * not one of them. */
void hs_conn_expect_proxy(hs_conn_t *conn, hs_conn_env_t *env);

/* The header has not been read yet. */
bool hs_conn_expects_proxy(const hs_conn_t *conn);

/* It speaks HTTP/1, or is about to: no other protocol has taken over. */
bool hs_conn_is_plain(const hs_conn_t *conn);

/* For a connection with buffers: nothing more is read; unsent output is sent, followed by a refusal
 * unless `status` is 0, then it is closed. */
void hs_conn_finish(hs_conn_t *conn, hs_conn_env_t *env, int status, bool is_head);

/* Nothing is read: whatever the request, the response is `status` and the connection is closed.
 * 503: over the limit. */
void hs_conn_refuse(hs_conn_t *conn, hs_conn_env_t *env, int status);

/* Requests follow from here on: what had to come before them is done. For on_data and update of the
 * earlier protocol; the deadline stays armed. */
void hs_conn_serve(hs_conn_t *conn, hs_loop_t *loop);
extern const hs_protocol_t hs_conn_protocol;

/* Jobs that were away come back: their responses, or pieces of them, are written. */
void hs_conn_collect(hs_conn_env_t *env);

/* The descriptor is dead, or the server stops: releases everything. */
void hs_conn_abort(hs_conn_t *conn, hs_conn_env_t *env);

/* ---- Shared by HTTP/1 and other protocols of a connection. ---- */

/* Their `on_closed`. */
void hs_conn_on_closed(hs_loop_t *loop, hs_stream_t *stream);

/* Records when output began to be unsent: for the minimum rate. */
void hs_conn_note_unsent(hs_conn_t *conn, uint64_t now_ms, size_t unsent_bytes);

/* The deadline for the client to read something. It has buffers, and unsent bytes. */
uint64_t hs_conn_write_deadline_ms(const hs_conn_t *conn, const hs_conn_env_t *env);

/* That deadline has passed. True: the client has read enough since the last check, so its time
 * restarts: stream.deadline_ms is new, or restart_deadline is set. */
HS_NODISCARD bool hs_conn_has_taken_enough(hs_conn_t *conn, hs_conn_env_t *env);

/* Calls `visit` for each connection, then updates it; `visit` may close it. */
void hs_conn_for_each(hs_conn_env_t *env, void (*visit)(hs_conn_t *conn, hs_conn_env_t *env));

extern const hs_protocol_t hs_conn_websocket_protocol; /* conn/hs_conn_ws.h */

static inline bool hs_conn_is_websocket(const hs_conn_t *conn)
{
    return conn->stream.protocol == &hs_conn_websocket_protocol;
}

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
