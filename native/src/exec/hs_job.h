/*
 * A job: one request being handled. It holds the parsed request, the response being built, and who
 * may touch them.
 *
 *   FREE ──begin──► NEW ──start──► RUNNING ──────────────► DONE ──end──► NEW or FREE
 *                    │               │ hs_res_defer           ▲
 *                    │ submit        ▼                        │ completion queue
 *                    ▼            SUSPENDED ──────────────────┤
 *                  QUEUED ──────► RUNNING (worker) ───────────┘
 *                    │ nobody waits any more
 *                    ▼
 *                 CANCELLED ─────────────────────────────────► FREE
 *
 * One thread owns a job at a time: the loop's (NEW, DONE, RUNNING inline), a worker (RUNNING), or
 * the program's thread that finishes a deferred job (SUSPENDED). The generation in `view.handle`
 * moves with the owner: when a job is submitted, when it is posted back and when it ends, always on
 * the thread that owns it until then. So a request or response object kept in Lua, or a handle in
 * C, never reaches another owner's data. `link`, `timer` and what else is marked "owner: loop" stay
 * the loop's throughout.
 *
 * Memory of jobs is freed only with their pool: a handle that outlived its job can be compared.
 */
#pragma once

#include <stdatomic.h>

#include "base/hs_err.h"
#include "base/hs_owner.h"
#include "data/hs_hot.h"
#include "data/hs_mpsc.h"
#include "data/hs_out.h"
#include "data/hs_pool.h"
#include "exec/hs_lua_abi.h"
#include "http/hs_forwarded.h"
#include "http/hs_msg.h"
#include "http/hs_traceparent.h"
#include "httpserver.h"
#include "net/hs_tls_server.h"
#include "os/hs_log.h"
#include "os/hs_peer.h"
#include "shared/hs_shared_set.h"

typedef struct hs_job hs_job_t;
typedef struct hs_job_pool hs_job_pool_t;
typedef struct hs_completions hs_completions_t;

#define HS_REQUEST_ID_PREFIX_CAP 16
#define HS_REQUEST_ID_CAP (HS_REQUEST_ID_PREFIX_CAP + 16) /* with '-', a number and a NUL */

typedef enum hs_job_state {
    HS_JOB_FREE,
    HS_JOB_NEW,       /* its request is being received, or complete and not yet with an executor */
    HS_JOB_QUEUED,    /* in the work queue */
    HS_JOB_RUNNING,   /* a handler builds the response */
    HS_JOB_SUSPENDED, /* the handler has returned, the response comes later */
    HS_JOB_DONE,      /* the response is complete */
    HS_JOB_CANCELLED, /* removed from the work queue: comes back without having run */
} hs_job_state_t;

/* The progress of the response. Building calls are allowed while BUILDING, hs_res_write also while
 * STREAMING. */
typedef enum hs_sending {
    HS_SENDING_NOTHING, /* no handler has this job */
    HS_SENDING_BUILDING,
    HS_SENDING_STREAMING, /* the head can no longer be changed, content follows */
    HS_SENDING_ENDED,
} hs_sending_t;

struct hs_request {
    hs_msg_t msg;
};

/* A handler that speaks its own protocol from here on. */
typedef enum hs_takeover {
    HS_TAKEOVER_NONE,
    HS_TAKEOVER_SILENT,  /* the server writes nothing */
    HS_TAKEOVER_UPGRADE, /* ... but a 101 with the fields that were set */
} hs_takeover_t;

/* Where the content of a response is stored. */
typedef enum hs_content_kind {
    HS_CONTENT_COPIED, /* in `body` */
    HS_CONTENT_PINNED,
    HS_CONTENT_FILE,
} hs_content_kind_t;

/* Content that was not copied. */
typedef struct hs_content {
    const char *data; /* PINNED */
    int file;         /* FILE */
    uint64_t offset;
    int64_t modified_ns; /* FILE: as of hs_out_add_file, as is `resident` */
    uint64_t resident;
    size_t len;
    hs_release_t release;
} hs_content_t;

struct hs_response {
    hs_sending_t sending;
    int status;
    bool built;       /* the handler set a status, a field or content */
    bool close;       /* the handler asked for Connection: close */
    bool own_date;    /* the handler set Date */
    bool has_length;  /* STREAMING: content_length was announced */
    bool replaced;    /* by an error response: the handler failed */
    bool streamed;    /* its head was ended by a write */
    bool failed;      /* STREAMING: the content is incomplete */
    bool dropped;     /* nothing of it is sent: the connection is closed */
    bool flush;       /* STREAMING: hs_res_flush of `body` */
    uint8_t compress; /* HS_COMPRESS_BY_TYPE and so on: exec/hs_compression.h */
    uint8_t takeover; /* hs_takeover_t; STREAMING: output is sent unframed */
    hs_err_t failure; /* HS_ERR_NOMEM: the response is incomplete and must not be sent */
    hs_content_kind_t kind;
    uint64_t content_length; /* STREAMING with has_length: announced */
    uint64_t written;        /* STREAMING: content so far, without framing */
    hs_buf_t fields;         /* "Name: value\r\n" lines */
    hs_buf_t body;
    hs_content_t content; /* kind PINNED or FILE */
};

/*
 * An item of the completion queue: a piece of content, a request to the loop, or (embedded in the
 * job) the job itself. Owner: the sender until it is posted, then the loop.
 */
typedef enum hs_post_kind {
    HS_POST_DONE,     /* the job itself: its response is complete */
    HS_POST_WRITE,    /* a piece of a streamed response */
    HS_POST_RESUME,   /* request content is wanted again */
    HS_POST_DEFERRED, /* a worker's handler has deferred: pending notifications are delivered now */
    HS_POST_CALL,     /* embedded in a call (exec/hs_call.h): a worker has run it */
} hs_post_kind_t;

typedef struct hs_post {
    hs_mpsc_node_t node;
    hs_post_kind_t kind;
} hs_post_t;

/* One that is not embedded. */
typedef struct hs_piece {
    hs_post_t post;     /* first */
    struct hs_job *job; /* HS_POST_WRITE: it cannot end before the loop has taken this */
    uint64_t handle;    /* HS_POST_RESUME, HS_POST_DEFERRED: for a job that may be over */
    hs_buf_t data;      /* HS_POST_WRITE */
    bool flush;         /* HS_POST_WRITE: make everything written so far readable */
} hs_piece_t;

/* Request content that has arrived for a waiting handler. owner: its job */
typedef struct hs_job_inbox {
    hs_buf_t data; /* unread from `at` on */
    size_t at;
    bool is_whole;    /* all of it is wanted at once */
    bool has_ended;   /* the last piece has arrived */
    bool is_paused;   /* more is to be asked for */
    hs_err_t failure; /* HS_ERR_LIMIT, HS_ERR_NOMEM: collecting it all exceeds memory */
} hs_job_inbox_t;

/* Texts that few handlers ask for. owner: its job, which keeps the memory for the next request */
typedef struct hs_job_texts {
    char id[HS_REQUEST_ID_CAP];
    char peer[HS_PEER_TEXT_CAP];
    char client[HS_PEER_TEXT_CAP];
    /* The traceparent of the span started by the handler; empty: it has not read a trace. */
    char trace[HS_TRACEPARENT_LEN + 1];
} hs_job_texts_t;

/* Writes where the handler of a suspended job waits, for a log record; leaves `text`, an empty
 * string, unchanged if unknown. On the loop's thread, while no handler runs. */
typedef void hs_where_fn(const hs_job_t *job, char *text, size_t size);

/* A job and its context. A handler touches the first two cache lines. */
struct hs_job {
    hs_view_t view; /* first: Lua's pointer to a view is a pointer to the job */
    hs_request_t request;
    hs_response_t response;
    uint64_t begun_us;     /* monotonic: when the request began to arrive */
    uint64_t number;       /* of the request in this reactor, from 1; 0: not counted */
    const char *id_prefix; /* the pool's */
    hs_job_pool_t *pool;
    hs_job_texts_t *texts; /* NULL: none was asked for */
    hs_log_t *log;
    hs_peer_t peer;
    int told;           /* owner: loop. The last hs_abort_reason_t that on_abort was called with */
    hs_tls_info_t *tls; /* of the connection; NULL: plain. Referenced by the loop, then read by any
                           thread */
    void *user_data;    /* the user data of this thread's C handler */
    bool wants_worker;  /* the handler asked to be run again on a worker */
    bool in_worker;     /* a worker runs the handler */
    bool waited;        /* the handler has waited on a worker */
    bool lasts;         /* the response is an event stream; written before its first piece */
    bool was_away;      /* it was, or was about to be, submitted or deferred since its message
                           began */
    hs_owner_t owner;   /* the thread that may touch request and response */
    /* The owner has to wait for on_drain. Set by the owner before it posts, cleared by the loop,
     * which sees it with the post. */
    _Atomic bool waits;
    bool *deferred;           /* set by hs_res_defer: in the stack frame that runs the handler */
    uint64_t deferred_handle; /* what hs_res_defer returned */
    void *suspended_by;       /* hs_res_suspend: whose handler waits */
    hs_where_fn *where;       /* ... and the function that says where; valid while SUSPENDED */
    hs_buf_t store;           /* head, fields and content that had to leave the ring */
    hs_buf_t content;         /* request content that is not in the ring */
    hs_job_inbox_t inbox;     /* owner: loop. Content for a suspended Lua handler */
    hs_callbacks_t callbacks;
    hs_completions_t *completions; /* where it is posted back; NULL: jobs of this pool cannot be
                                      deferred */

    hs_post_t done;  /* in the completion queue */
    uint64_t route;  /* owner: loop. Key of the estimate of its time */
    void *link;      /* owner: loop. The connection that waits for the response; NULL: none */
    uint32_t worker; /* number of its worker, written before RUNNING */
    /* On a worker: 2 more with each piece written and each wait; odd while the handler waits.
     * Written by the worker, read by the loop; relaxed: only compared. */
    _Atomic uint32_t progress;
    uint32_t cost_us; /* how long the handler took */
    /*
     * hs_job_state_t. Written by the owner, release; from QUEUED to RUNNING by the worker that
     * takes it or to CANCELLED by the loop, by compare-and-swap. Read by the loop with acquire.
     */
    _Atomic int state;
    /* Whether the client is gone: 0, or an hs_abort_reason_t. Written by the loop, read by the
     * owner; relaxed, nothing else depends on it. */
    _Atomic int aborted;
    /* Content of a streamed response that was posted and is not in the output chain yet. Increased
     * by the owner before it posts, decreased by the loop; relaxed: it only decides when to wait.
     */
    _Atomic size_t posted;
    /* What the output chain holds. Written by the loop, read by the owner; relaxed. */
    _Atomic size_t chained;
    hs_job_t *next; /* in the pool */
    /* owner: loop. The WebSocket of a 101, until that is written; NULL: none */
    struct hs_websocket *websocket;
    struct hs_coder *coder; /* owner: loop. Of a response that is compressed in pieces */
    uint64_t coded;         /* owner: loop. Bytes that it has made */
};

_Static_assert(offsetof(hs_job_t, view) == 0, "Lua's pointer to a view is a pointer to the job");
#ifndef HS_DEBUG
_Static_assert(sizeof(hs_job_t) <= 10 * HS_CACHE_LINE, "what a request costs that waits");
#endif

/* The job's worker: see `progress`. */
static inline void hs_job_progress(hs_job_t *job, uint32_t steps)
{
    uint32_t now = atomic_load_explicit(&job->progress, memory_order_relaxed);
    atomic_store_explicit(&job->progress, now + steps, memory_order_relaxed);
}

/* owner: the loop's thread */
struct hs_job_pool {
    hs_pool_t *blocks; /* borrowed; blocks are returned with the pool */
    hs_hot_t hot;      /* free ones that keep their buffers */
    hs_job_t *cold;    /* free ones that keep little */
    uint32_t leased;
    hs_log_t *log;
    hs_completions_t *completions;
    size_t content_bytes; /* request content held by leased jobs outside rings */
    uint64_t content_max; /* ... at most; 0: no limit */
    /* Which proxies are trusted about clients; NULL: none. Set before the first job, then read by
     * any thread. */
    const hs_forwarding_t *forwarding;
    const hs_shared_set_t *shared;            /* likewise; NULL: none */
    struct hs_topics *topics;                 /* likewise */
    struct hs_span_log *spans;                /* likewise; NULL: spans are off */
    struct hs_websocket_hub *websockets;      /* of the loop; NULL: there are none. Borrowed */
    char id_prefix[HS_REQUEST_ID_PREFIX_CAP]; /* together with a request's number: a unique id */
};

/* `blocks` of sizeof(hs_job_t), aligned to a cache line; it outlives the pool. */
void hs_job_pool_init(hs_job_pool_t *pool, hs_pool_t *blocks, hs_log_t *log,
                      hs_completions_t *completions);

/* All jobs must have been given back. */
void hs_job_pool_free(hs_job_pool_t *pool);

/* Leases a job in state NEW, NULL when out of memory or at the limit. */
HS_NODISCARD hs_job_t *hs_job_lease(hs_job_pool_t *pool);
void hs_job_give_back(hs_job_pool_t *pool, hs_job_t *job);

/* The owner is about to change: objects that refer to request and response become invalid. */
static inline void hs_job_move_generation(hs_job_t *job)
{
    /* Relaxed: others only compare it with their own handle. */
    __atomic_store_n(&job->view.handle, hs_handle_next(job->view.handle), __ATOMIC_RELAXED);
}

/* The job of a handle, NULL if it is over. The only place where C compares generations. */
static inline hs_job_t *hs_job_of(uint64_t handle)
{
    if (handle == 0)
        return NULL;
    hs_job_t *job = hs_handle_address(handle);
    return __atomic_load_n(&job->view.handle, __ATOMIC_RELAXED) == handle ? job : NULL;
}

/*
 * Makes the request independent of the ring: head, fields and content in it are copied to the job's
 * memory. False: out of memory, nothing changed.
 */
HS_NODISCARD bool hs_job_detach(hs_job_t *job);

/* Memory for `more` bytes of request content, counted against `limit` (0: none) for all jobs of the
 * pool: HS_ERR_LIMIT if that would be exceeded, HS_ERR_NOMEM. `exact`: no more will follow.
 */
HS_NODISCARD int hs_job_reserve_content(hs_job_pool_t *pool, hs_job_t *job, size_t more,
                                        uint64_t limit, bool exact);

/* The same for the inbox, within the pool's content_max. */
HS_NODISCARD int hs_job_reserve_inbox(hs_job_t *job, size_t more, bool exact);

/* Memory for the job's texts; NULL: out of memory. */
HS_NODISCARD hs_job_texts_t *hs_job_texts(hs_job_t *job);

/* The traceparent of the span started by the handler; NULL: it has not read a trace. */
static inline const char *hs_job_own_trace(const hs_job_t *job)
{
    return job->texts != NULL && job->texts->trace[0] != '\0' ? job->texts->trace : NULL;
}

/* The client of the request: hs_req_trusted_peer. */
hs_peer_t hs_job_client(const hs_job_t *job);

/* Whether it came over TLS, to us or to a trusted proxy before us. */
bool hs_job_is_https(const hs_job_t *job);

/* The request's id: "prefix-number". The length without NUL. */
size_t hs_job_format_id(const hs_job_t *job, char id[HS_REQUEST_ID_CAP]);

/* The ids of the request's trace and of the span started by the handler. Before that: the trace of
 * the request's traceparent field, and no span. Empty if there is none; the job owns the memory. */
typedef struct hs_job_trace {
    hs_span_t trace_id;
    hs_span_t parent_id; /* the span of the client */
    bool is_sampled;     /* the trace's flag says that it is recorded */
    hs_span_t span_id;
} hs_job_trace_t;
hs_job_trace_t hs_job_trace(const hs_job_t *job);

/* Whether the request has a span: decided by its trace or, without one, by its number. */
bool hs_job_is_sampled(const hs_job_t *job, uint32_t sample_every);

/* The handler has started a span: `traceparent` has HS_TRACEPARENT_LEN bytes and is valid. */
void hs_job_take_trace(hs_job_t *job, const char *traceparent);

/* Logs a record about the job's request, with its id, method and target as fields. */
HS_PRINTF(3, 4)
void hs_job_log(const hs_job_t *job, hs_log_level_t level, const char *format, ...);

/* The message is `prefix` and all `len` bytes of `text`, NULs included. */
void hs_job_log_text(const hs_job_t *job, hs_log_level_t level, const char *prefix,
                     const char *text, size_t len);

/* The same with further fields: hs_log_write_fields. */
void hs_job_log_fields(const hs_job_t *job, hs_log_level_t level, hs_span_t fields, hs_span_t text);

static inline hs_job_state_t hs_job_state(const hs_job_t *job)
{
    return (hs_job_state_t)atomic_load_explicit(&job->state, memory_order_acquire);
}

static inline void hs_job_set_state(hs_job_t *job, hs_job_state_t state)
{
    atomic_store_explicit(&job->state, state, memory_order_release);
}

static inline hs_job_t *hs_job_of_view(hs_view_t *view)
{
    return (hs_job_t *)(void *)view;
}

/* Releases content that was not copied. */
static inline void hs_res_release_content(hs_response_t *response)
{
    if (HS_LIKELY(response->kind == HS_CONTENT_COPIED))
        return;
    response->kind = HS_CONTENT_COPIED;
    hs_release(response->content.release);
}

/* How much a buffer keeps between two messages on a connection. */
#define HS_JOB_KEEP_BYTES (64 * 1024)

/* Resets what few messages set. */
void hs_job_clear(hs_job_pool_t *pool, hs_job_t *job);

/* The message is over: drops request and response; objects that refer to them become invalid. Built
 * data stays in the buffers until the next hs_res_begin. */
static inline void hs_job_end(hs_job_pool_t *pool, hs_job_t *job)
{
    HS_ASSERT_OWNER(job->owner);
    hs_job_move_generation(job);
    hs_response_t *response = &job->response;
    hs_res_release_content(response);
    response->sending = HS_SENDING_NOTHING;
    if (HS_UNLIKELY(job->was_away || job->store.len > 0 || job->content.capacity > 0 ||
                    response->fields.capacity > HS_JOB_KEEP_BYTES ||
                    response->body.capacity > HS_JOB_KEEP_BYTES))
        hs_job_clear(pool, job);
    hs_job_set_state(job, HS_JOB_NEW);
}

static inline hs_job_t *hs_job_of_response(hs_response_t *response)
{
    return HS_CONTAINER_OF(response, hs_job_t, response);
}
