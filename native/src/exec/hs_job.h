/*
 * A job: one request that is being answered. It holds the parsed request, the response that is
 * being built, and who may touch them.
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
 * whichever thread the program finishes a deferred job on (SUSPENDED). The generation in
 * `view.handle` moves with the owner: when a job is submitted, when it is posted back and when it
 * ends, always on the thread that owns it until then. So a request or response object that was kept
 * in Lua, or a handle in C, never reaches what another owner has. `link`, `timer` and what else is
 * marked "owner: loop" stay the loop's throughout.
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
#include "httpserver.h"
#include "os/hs_log.h"
#include "os/hs_peer.h"

typedef struct hs_job hs_job_t;
typedef struct hs_job_pool hs_job_pool_t;
typedef struct hs_completions hs_completions_t;

#define HS_REQUEST_ID_PREFIX_CAP 16
#define HS_REQUEST_ID_CAP (HS_REQUEST_ID_PREFIX_CAP + 16) /* with '-', a number and a NUL */

typedef enum hs_job_state {
    HS_JOB_FREE,
    HS_JOB_NEW,       /* its request is being received, or is complete and no executor has it */
    HS_JOB_QUEUED,    /* in the work queue */
    HS_JOB_RUNNING,   /* a handler builds the response */
    HS_JOB_SUSPENDED, /* the handler has returned, the response comes later */
    HS_JOB_DONE,      /* the response is complete */
    HS_JOB_CANCELLED, /* taken out of the work queue: comes back without having run */
} hs_job_state_t;

/* How far the response has come. Calls that build are allowed while BUILDING, hs_res_write also
 * while STREAMING. */
typedef enum hs_sending {
    HS_SENDING_NOTHING, /* no handler has this job */
    HS_SENDING_BUILDING,
    HS_SENDING_STREAMING, /* the head has left the handler's hands, content follows */
    HS_SENDING_ENDED,
} hs_sending_t;

struct hs_request {
    hs_msg_t msg;
};

/* Where the content of a response lies. */
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
    bool failed;      /* STREAMING: the content ended before its end */
    hs_err_t failure; /* HS_ERR_NOMEM: what was built is incomplete and must not be sent */
    hs_content_kind_t kind;
    uint64_t content_length; /* STREAMING with has_length: announced */
    uint64_t written;        /* STREAMING: content so far, without framing */
    hs_buf_t fields;         /* "Name: value\r\n" lines */
    hs_buf_t body;
    hs_content_t content; /* kind PINNED or FILE */
};

/*
 * What travels through the completion queue: a piece of content, a wish, or (embedded in the job)
 * the job itself. Owner: the sender until it is posted, then the loop.
 */
typedef enum hs_post_kind {
    HS_POST_DONE,     /* the job itself: its response is complete */
    HS_POST_WRITE,    /* a piece of a streamed response */
    HS_POST_RESUME,   /* request content is wanted again */
    HS_POST_DEFERRED, /* a worker's handler has deferred: what it could not be told is told now */
    HS_POST_CALL,     /* embedded in a call (exec/hs_call.h): a worker has run it */
} hs_post_kind_t;

typedef struct hs_post {
    hs_mpsc_node_t node;
    hs_post_kind_t kind;
    struct hs_job *job; /* HS_POST_WRITE: it cannot be over before the loop has taken this */
    uint64_t handle;    /* HS_POST_RESUME, HS_POST_DEFERRED: of a job that may be over */
    hs_buf_t data;      /* HS_POST_WRITE */
} hs_post_t;

/* Request content that has arrived for a handler that waits. owner: its job */
typedef struct hs_job_inbox {
    hs_buf_t data; /* what was not taken: from `at` on */
    size_t at;
    bool is_whole;    /* all of it is wanted at once */
    bool has_ended;   /* the last piece has arrived */
    bool is_paused;   /* more is to be asked for */
    hs_err_t failure; /* HS_ERR_LIMIT, HS_ERR_NOMEM: is_whole, and there is no room for it */
} hs_job_inbox_t;

/* A job and what it was started with. The first two cache lines are what a handler touches. */
struct hs_job {
    hs_view_t view; /* first: Lua's pointer to a view is a pointer to the job */
    hs_request_t request;
    hs_response_t response;
    uint64_t begun_us;     /* monotonic: when the request began to arrive */
    uint64_t number;       /* of the request in this reactor, from 1; 0: not counted */
    const char *id_prefix; /* the pool's */
    hs_job_pool_t *pool;
    char id[HS_REQUEST_ID_CAP]; /* made when it is asked for */
    hs_log_t *log;
    hs_peer_t peer;
    char peer_text[HS_PEER_TEXT_CAP];
    void *user_data;   /* what the C handler of this thread was given */
    bool wants_worker; /* the handler asked to be run again on a worker */
    bool in_worker;    /* a worker runs the handler */
    bool waited;       /* the handler has waited on a worker */
    bool was_away;     /* it was, or was to be, submitted or deferred since its message began */
    bool *deferred;    /* set by hs_res_defer: in the frame of whoever runs the handler */
    uint64_t deferred_handle; /* what hs_res_defer returned */
    const void *suspended_by; /* hs_res_suspend: whose handler waits */
    hs_buf_t store;           /* head, fields and content that had to leave the ring */
    hs_buf_t content;         /* request content that is not in the ring */
    hs_job_inbox_t inbox;     /* owner: loop. Content that a suspended Lua handler is to take */
    hs_callbacks_t callbacks;
    hs_completions_t *completions; /* the way back to the loop; NULL: jobs of this pool cannot be
                                      deferred */

    hs_owner_t owner; /* the thread that may touch request and response */
    hs_post_t done;   /* in the completion queue */
    uint64_t route;   /* owner: loop. Key of the time that its requests take */
    void *link;       /* owner: loop. The connection that waits for the response; NULL: none */
    uint32_t worker;  /* number of the worker that has it, written before RUNNING */
    uint32_t cost_us; /* how long the handler took */
    int told;         /* owner: loop. The last hs_abort_reason_t that on_abort was called with */
    /*
     * hs_job_state_t. Written by the owner, release; from QUEUED to RUNNING by the worker that
     * takes it or to CANCELLED by the loop, by compare-and-swap. Read by the loop with acquire.
     */
    _Atomic int state;
    /* The client is gone: 0, or an hs_abort_reason_t. Written by the loop, read by the owner;
     * relaxed, nothing else depends on it. */
    _Atomic int aborted;
    /* Content of a streamed response that was posted and is not in the output chain yet. Added to
     * by the owner before it posts, taken from by the loop; relaxed: numbers that say when to wait.
     */
    _Atomic size_t posted;
    /* What the output chain holds. Written by the loop, read by the owner; relaxed. */
    _Atomic size_t chained;
    /* The owner was told to wait for on_drain. Set by the owner before it posts, cleared by the
     * loop, which sees it with the post. */
    _Atomic bool waits;
    hs_job_t *next; /* in the pool */
    char client_text[HS_PEER_TEXT_CAP];
};

_Static_assert(offsetof(hs_job_t, view) == 0, "Lua's pointer to a view is a pointer to the job");

/* owner: the loop's thread */
struct hs_job_pool {
    hs_pool_t *blocks; /* borrowed; what is taken is given back with the pool */
    hs_hot_t hot;      /* free ones that keep their buffers */
    hs_job_t *cold;    /* free ones that keep little */
    uint32_t leased;
    hs_log_t *log;
    hs_completions_t *completions;
    size_t content_bytes; /* request content that leased jobs hold outside of rings */
    uint64_t content_max; /* ... at most; 0: no limit */
    /* Whose word about clients counts; NULL: only that of sockets. Set before the first job, then
     * read by any thread. */
    const hs_forwarding_t *forwarding;
    char id_prefix[HS_REQUEST_ID_PREFIX_CAP]; /* with a request's number: an id that no other has */
};

/* `blocks` of sizeof(hs_job_t), aligned to a cache line; it outlives the pool. */
void hs_job_pool_init(hs_job_pool_t *pool, hs_pool_t *blocks, hs_log_t *log,
                      hs_completions_t *completions);

/* All jobs must have been given back. */
void hs_job_pool_free(hs_job_pool_t *pool);

/* A job in state NEW, NULL when out of memory or at the limit. */
HS_NODISCARD hs_job_t *hs_job_lease(hs_job_pool_t *pool);
void hs_job_give_back(hs_job_pool_t *pool, hs_job_t *job);

/* The owner is about to change: objects that refer to the request and response are over. */
static inline void hs_job_move_generation(hs_job_t *job)
{
    /* Relaxed: others only compare it with a handle of their own. */
    __atomic_store_n(&job->view.handle, hs_handle_next(job->view.handle), __ATOMIC_RELAXED);
}

/* The job of a handle, NULL if it is over. The one place where generations are compared in C. */
static inline hs_job_t *hs_job_of(uint64_t handle)
{
    if (handle == 0)
        return NULL;
    hs_job_t *job = hs_handle_address(handle);
    return __atomic_load_n(&job->view.handle, __ATOMIC_RELAXED) == handle ? job : NULL;
}

/*
 * Makes the request independent of the ring: head, fields and content that lie there are copied
 * into memory of the job. False: out of memory, nothing has changed.
 */
HS_NODISCARD bool hs_job_detach(hs_job_t *job);

/* Memory for `more` bytes of request content, counted against `limit` (0: none) for all jobs of the
 * pool: HS_ERR_LIMIT if that would be exceeded, HS_ERR_NOMEM. `exact`: no more than that will come.
 */
HS_NODISCARD int hs_job_reserve_content(hs_job_pool_t *pool, hs_job_t *job, size_t more,
                                        uint64_t limit, bool exact);

/* The same for the inbox, within the pool's content_max. */
HS_NODISCARD int hs_job_reserve_inbox(hs_job_t *job, size_t more, bool exact);

/* The client of the request: hs_req_trusted_peer. */
hs_peer_t hs_job_client(const hs_job_t *job);

/* The request's id: "prefix-number". The length without NUL. */
size_t hs_job_format_id(const hs_job_t *job, char id[HS_REQUEST_ID_CAP]);

/* A record about the request of the job, with its id, method and target as fields. */
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

/* Content that is not copied is needed no longer. */
static inline void hs_res_release_content(hs_response_t *response)
{
    if (HS_LIKELY(response->kind == HS_CONTENT_COPIED))
        return;
    response->kind = HS_CONTENT_COPIED;
    hs_release(response->content.release);
}

/* What a buffer keeps between two messages on one connection. */
#define HS_JOB_KEEP_BYTES (64 * 1024)

/* Forgets what few messages leave behind. */
void hs_job_clear(hs_job_pool_t *pool, hs_job_t *job);

/* The message is over: forgets request and response; objects that refer to them are over. What was
 * built stays in its buffers until the next hs_res_begin. */
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
