/*
 * A handler of requests, in any language: one per thread, made by a factory on the thread that will
 * use it. Knows no connection and no socket: tested with a job and bytes.
 */
#pragma once

#include "exec/hs_busy.h"
#include "exec/hs_call.h"
#include "exec/hs_res.h"
#include "exec/hs_topic_hub.h"
#include "net/hs_net.h"

/* What a loop's thread provides to its handler. Outlives it. */
typedef struct hs_handler_host {
    struct hs_executor *executor;        /* for hs_executor_call */
    hs_net_t *net;                       /* for outbound sockets */
    hs_topic_hub_t *topics;              /* for subscriptions; NULL: there are no topics */
    struct hs_websocket_hub *websockets; /* for outbound connections; NULL: none can be opened */
    hs_busy_t *busy;                     /* where it records what it runs in run_tasks */
    int reactor_index;                   /* -1: it has none */
    uint16_t port;                       /* of the first listener, 0: there is none */
} hs_handler_host_t;

/* When run_tasks is wanted: never. */
#define HS_NEVER UINT64_MAX

/* Runs for one job, whose request is complete unless it streams content; builds into
 * job->response. Must not keep pointers. */
typedef void (*hs_handler_run_fn)(void *self, hs_job_t *job);

/* owner: its thread; `interrupt` is the one call that another thread may make */
typedef struct hs_handler {
    hs_handler_run_fn run;
    void *self;

    /* Makes the handler abandon its current request, if it is still running it; with NULL, the task
     * without a request. `count`: hs_busy_t's when it was seen, on a loop's thread. May be
     * repeated. NULL: not supported. */
    void (*interrupt)(void *self, hs_job_t *job, uint32_t count);

    /* It will run on this thread: called before its first run. `host` NULL: on a worker, which its
     * waits occupy. NULL: not needed. */
    void (*attach)(void *self, const hs_handler_host_t *host);

    /* Resumes what no longer waits. NULL: nothing ever waits, and due_ms is NULL too. */
    void (*run_tasks)(void *self);
    /* Monotonic milliseconds from which on run_tasks is wanted: 0 at once, or HS_NEVER. `awake`:
     * the thread is awake anyway, so work that could be delayed is due at once. On its thread.
     */
    uint64_t (*due_ms)(void *self, bool awake);

    /* On a worker: runs a call, whose data it understands. NULL: there are none. */
    void (*call)(void *self, hs_call_t *call);

    /* What keeps it alive: the context of the releases (hs_release_t) of content being sent from
     * its memory, or the suspended_by of its suspended jobs; NULL: nothing. Called on its thread.
     * NULL: nothing ever does. */
    const void *(*held_by)(void *self);

    /* The same for an older handler that was kept for too long and must be released now. NULL:
     * there are never any. */
    const void *(*overdue)(void *self);

    /* These are called on its thread and may be NULL. It gets no further requests: periodic tasks
     * run once more, and end. */
    void (*retire)(void *self);
    /* The same because the thread drains; and whether those last runs are still in progress.
     */
    void (*drain)(void *self);
    bool (*is_ending)(void *self);
    /* Ends everything, waiting requests fail: of the one that is held_by `context`, or with NULL of
     * all. */
    void (*stop)(void *self, const void *context);
    /* Another thread will end it: releases what belongs to this one. */
    void (*leave)(void *self);

    /* Whether it runs before a request's content has arrived, and takes it from job->inbox. NULL:
     * it does not. */
    bool (*streams_content)(void *self);
} hs_handler_t;

static inline uint64_t hs_handler_due_ms(const hs_handler_t *handler, bool awake)
{
    return handler->due_ms != NULL ? handler->due_ms(handler->self, awake) : HS_NEVER;
}

/* Makes the handlers of several threads. Read-only while they run. */
typedef struct hs_handler_factory {
    /* 0, or a negative hs_err_t with `error` set. */
    int (*make)(void *context, hs_handler_t *handler, hs_errinfo_t *error);
    void (*end)(void *context, hs_handler_t *handler);
    void *context;
} hs_handler_factory_t;

/* A C handler of the public API, as a handler. Owner: the server. */
typedef struct hs_c_handler {
    hs_handler_fn function;
    void *user_data;
} hs_c_handler_t;

hs_handler_t hs_c_handler_as_handler(hs_c_handler_t *c_handler);

/* A factory of it: every thread gets the same function and user data. */
hs_handler_factory_t hs_c_handler_factory(hs_c_handler_t *c_handler);

typedef enum hs_ran {
    HS_RAN_DONE,         /* the response is ENDED and complete */
    HS_RAN_DEFERRED,     /* the job has another owner by now: it must not be touched */
    HS_RAN_WANTS_WORKER, /* the handler asked to run on a worker, and has built nothing */
} hs_ran_t;

/* Runs the handler on this thread, which owns the job: RUNNING. */
HS_NODISCARD static inline hs_ran_t hs_handler_start(const hs_handler_t *handler, hs_job_t *job)
{
    const hs_msg_t *msg = &job->request.msg;
    bool deferred = false;
    job->view.method = msg->method;
    job->view.url = hs_msg_url(msg).data;
    job->view.url_len = msg->url_len;
    job->wants_worker = false;
    job->deferred = &deferred;
    hs_res_begin(&job->response);
    handler->run(handler->self, job);
    if (HS_UNLIKELY(deferred))
        return HS_RAN_DEFERRED;
    job->deferred = NULL;
    if (HS_UNLIKELY(job->wants_worker))
        return HS_RAN_WANTS_WORKER;
    /* The common case first: sent, nothing failed. */
    if (HS_UNLIKELY(job->response.sending != HS_SENDING_ENDED ||
                    job->response.failure == HS_ERR_NOMEM))
        hs_res_complete(job);
    return HS_RAN_DONE;
}
