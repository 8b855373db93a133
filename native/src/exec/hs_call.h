/*
 * A call: a computation that a handler on the loop's thread sends to a worker, while other requests
 * are served. It goes through the work queue, beside jobs, and comes back through the completion
 * queue.
 *
 * Owner: its creator; from hs_executor_call on, the worker; from `returned` on, its creator again.
 */
#pragma once

#include "exec/hs_job.h"

typedef struct hs_call hs_call_t;

struct hs_call {
    hs_post_t done;                    /* in the completion queue */
    void (*returned)(hs_call_t *call); /* on the loop's thread */
    void *context;                     /* the maker's */
    uint32_t id;                       /* the maker's */
    hs_buf_t data; /* for the worker's handler; on return its result, like `failed` */
    bool failed;
    /* No one waits for it any more: it is not started. Written by the loop, read by the worker;
     * relaxed, a call that has just started is run. */
    _Atomic bool cancelled;
    /* The worker that runs it, plus 1; 0: none. Written by the worker, read by the loop; release
     * and acquire. */
    _Atomic uint32_t worker;
};

/* In the work queue the lowest bit tells a call from a job. */
static inline void *hs_call_as_item(hs_call_t *call)
{
    return (char *)call + 1;
}

/* The call of an item, NULL if it is a job. */
static inline hs_call_t *hs_call_of_item(void *item)
{
    return ((uintptr_t)item & 1) != 0 ? (hs_call_t *)(void *)((char *)item - 1) : NULL;
}
