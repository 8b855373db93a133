/*
 * What a loop's thread is doing, for a watchdog. Written by the loop's thread, `job` and `in_task`
 * with release; read by one other thread with acquire, so that it sees the request of a job found
 * here.
 */
#pragma once

#include "exec/hs_job.h"

typedef struct hs_busy {
    _Atomic(hs_job_t *) job; /* whose handler runs on this thread; NULL: none */
    _Atomic bool in_task;    /* a task without a request is running */
    _Atomic uint32_t count;  /* handlers and tasks begun; only the loop's thread adds */
    _Atomic bool no_workers; /* all of its workers are stuck, and no further one can be started */
} hs_busy_t;

static inline void hs_busy_count(hs_busy_t *busy)
{
    uint32_t count = atomic_load_explicit(&busy->count, memory_order_relaxed);
    atomic_store_explicit(&busy->count, count + 1, memory_order_relaxed);
}

static inline void hs_busy_begin(hs_busy_t *busy, hs_job_t *job)
{
    hs_busy_count(busy);
    atomic_store_explicit(&busy->job, job, memory_order_release);
}

static inline void hs_busy_end(hs_busy_t *busy)
{
    atomic_store_explicit(&busy->job, NULL, memory_order_relaxed);
}

/* A task resumes: of the request of `job`, or of none. */
static inline void hs_busy_begin_task(hs_busy_t *busy, hs_job_t *job)
{
    hs_busy_count(busy);
    atomic_store_explicit(&busy->in_task, job == NULL, memory_order_release);
    atomic_store_explicit(&busy->job, job, memory_order_release);
}

static inline void hs_busy_end_tasks(hs_busy_t *busy)
{
    atomic_store_explicit(&busy->in_task, false, memory_order_relaxed);
    atomic_store_explicit(&busy->job, NULL, memory_order_relaxed);
}
