/*
 * The completion queue of a loop: jobs finished away from the loop's thread, and additions to their
 * responses, arrive here. Workers post the jobs they finished; threads of the program post pieces
 * of a deferred response and its end.
 *
 * Posting costs one compare-and-swap. Waking the loop's thread costs a system call and often a
 * context switch, so it is a separate call (announce) that does nothing unless that thread sleeps;
 * a worker with more work announces several at once.
 */
#pragma once

#include "data/hs_mpsc.h"
#include "exec/hs_job.h"
#include "os/hs_ev.h"

struct hs_completions {
    hs_mpsc_t posted;
    /* True while the loop's thread sleeps or is about to. Written by it; exchanged for false by the
     * thread that wakes it. Sequentially consistent with hs_mpsc_push and hs_mpsc_empty: either the
     * poster sees the sleeper or the sleeper sees the post. */
    _Atomic bool sleeping;
    /* The reactor drains: long-lived responses must end. Written by the loop, once; read by workers
     * occupied by handlers. Relaxed: nothing else is read because of it. */
    _Atomic bool draining;
    hs_ev_t *ev;   /* read-only; hs_ev_wake is for any thread */
    uint32_t away; /* owner: loop. Jobs that another thread may post */
};

static inline void hs_completions_init(hs_completions_t *completions, hs_ev_t *ev)
{
    hs_mpsc_init(&completions->posted);
    atomic_init(&completions->sleeping, false);
    atomic_init(&completions->draining, false);
    completions->ev = ev;
    completions->away = 0;
}

/* Any thread: hands `post` to the loop. */
static inline void hs_completions_push(hs_completions_t *completions, hs_post_t *post)
{
    (void)hs_mpsc_push(&completions->posted, &post->node);
}

/* The owner of a finished job returns it: it must not be touched afterwards. */
static inline void hs_completions_finish(hs_job_t *job)
{
    hs_completions_t *completions = job->completions;
    hs_job_move_generation(job);
    hs_job_set_state(job, HS_JOB_DONE);
    HS_OWNER_RELEASE(job->owner);
    job->done.kind = HS_POST_DONE;
    hs_completions_push(completions, &job->done);
}

/* Any thread: ensures that its posts are collected. */
static inline void hs_completions_announce(hs_completions_t *completions)
{
    if (atomic_load_explicit(&completions->sleeping, memory_order_seq_cst) &&
        atomic_exchange_explicit(&completions->sleeping, false, memory_order_seq_cst))
        hs_ev_wake(completions->ev);
}

/* The loop's thread, before it waits. False: something was posted, do not wait. */
HS_NODISCARD static inline bool hs_completions_begin_sleep(hs_completions_t *completions)
{
    atomic_store_explicit(&completions->sleeping, true, memory_order_seq_cst);
    if (hs_mpsc_empty(&completions->posted))
        return true;
    atomic_store_explicit(&completions->sleeping, false, memory_order_relaxed);
    return false;
}

static inline void hs_completions_end_sleep(hs_completions_t *completions)
{
    atomic_store_explicit(&completions->sleeping, false, memory_order_relaxed);
}

/* The loop's thread: takes the posts, linked by node.next, in each thread's order. */
HS_NODISCARD static inline hs_mpsc_node_t *hs_completions_collect(hs_completions_t *completions)
{
    return hs_mpsc_take_all(&completions->posted);
}

static inline hs_post_t *hs_post_of_node(hs_mpsc_node_t *node)
{
    return HS_CONTAINER_OF(node, hs_post_t, node);
}

static inline hs_job_t *hs_job_of_done(hs_post_t *post)
{
    return HS_CONTAINER_OF(post, hs_job_t, done);
}
