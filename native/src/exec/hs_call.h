/*
 * A call: something that a handler of the loop's thread wants computed on a worker, while other
 * requests go on. It goes there through the work queue, beside jobs, and comes back through the
 * completion queue.
 *
 * Owner: whoever makes it; from hs_executor_call on the worker; from `returned` on the maker again.
 */
#pragma once

#include "exec/hs_job.h"

typedef struct hs_call hs_call_t;

struct hs_call {
    hs_post_t done;                    /* in the completion queue */
    void (*returned)(hs_call_t *call); /* on the loop's thread */
    void *context;                     /* the maker's */
    uint32_t id;                       /* the maker's */
    hs_buf_t data; /* for the worker's handler; on the way back from it, as is `failed` */
    bool failed;
    /* Nobody waits for it any more: it is not begun. Written by the loop, read by the worker;
     * relaxed, a call that has begun just then is run. */
    _Atomic bool cancelled;
    /* Which worker runs it, plus 1; 0: none. Written by the worker, read by the loop; release and
     * acquire. */
    _Atomic uint32_t worker;
};

/* In the work queue a call is told from a job by its lowest bit. */
static inline void *hs_call_as_item(hs_call_t *call)
{
    return (char *)call + 1;
}

/* The call of an item, NULL if it is a job. */
static inline hs_call_t *hs_call_of_item(void *item)
{
    return ((uintptr_t)item & 1) != 0 ? (hs_call_t *)(void *)((char *)item - 1) : NULL;
}
