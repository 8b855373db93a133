/*
 * A pool of threads that run handlers for one loop: jobs go in through a bounded queue and come
 * back through the loop's completion queue. Threads start when first needed, and each creates its
 * own handler.
 *
 * A worker that does not come back can neither be ended nor waited for. The pool then reports it,
 * starts another up to a limit, and at the end abandons it with all memory that it may still touch.
 *
 * Thread: everything here belongs to the I/O thread, except hs_workers_wake_all.
 */
#pragma once

#include "data/hs_workq.h"
#include "exec/hs_completions.h"
#include "exec/hs_compression.h"
#include "exec/hs_handler.h"
#include "exec/hs_stats_page.h"

/* The maximum number of threads: as many again may replace stuck ones. */
#define HS_WORKERS_MAX 256

typedef struct hs_workers hs_workers_t;

typedef struct hs_workers_config {
    hs_handler_factory_t factory;        /* outlives the pool */
    hs_log_t *log;                       /* outlives the pool */
    hs_completions_t *completions;       /* where finished jobs go */
    const hs_compression_t *compression; /* of whole responses; NULL: none. It outlives the pool */
    uint32_t count;                      /* 1 to HS_WORKERS_MAX: threads that are not stuck */
    uint32_t queue_capacity;             /* a power of two */
    uint32_t handler_timeout_ms;         /* of hs_workers_watch; 0: it does nothing */
    hs_stats_page_t *page; /* where workers record what they serve, outlives the pool; NULL:
                              nowhere */
    uint32_t slot;         /* of the page, as is side */
    uint32_t side;
} hs_workers_config_t;

/* No thread runs yet. NULL: out of memory. */
HS_NODISCARD hs_workers_t *hs_workers_new(const hs_workers_config_t *config);

/* Queues a job, which the pool then owns; workers see it after hs_workers_flush. False: the queue
 * is full, the caller keeps the job. */
HS_NODISCARD bool hs_workers_submit(hs_workers_t *workers, hs_job_t *job);

/* The same for a call. */
HS_NODISCARD bool hs_workers_submit_call(hs_workers_t *workers, hs_call_t *call);

/* A call has come back. */
void hs_workers_call_returned(hs_workers_t *workers, const hs_call_t *call);

/* Asks the worker that runs the call, if one does, to end it; until the call has come back that
 * worker counts as stuck, and another may take its place. */
void hs_workers_give_up_call(hs_workers_t *workers, hs_call_t *call);

/*
 * Called once per turn: makes submissions visible to the workers, and starts one if all are busy. A
 * sleeping one is woken when enough has accumulated or after a few turns, so that a wake, and the
 * context switch that follows on the loop's own core, serves many requests; or before the loop
 * sleeps.
 */
void hs_workers_flush(hs_workers_t *workers);

/* True if something is visible but no worker was woken for it: must be done before the loop sleeps.
 */
bool hs_workers_want_wake(const hs_workers_t *workers);
void hs_workers_wake(hs_workers_t *workers);

/* Wakes all sleepers, to check their tasks. Any thread. */
void hs_workers_wake_all(hs_workers_t *workers);

/* Jobs that wait for a worker. */
uint64_t hs_workers_queued(const hs_workers_t *workers);

/* A job that was submitted has come back. */
void hs_workers_returned(hs_workers_t *workers, hs_job_t *job);

/* A job has come back: more may follow soon. */
void hs_workers_collected(hs_workers_t *workers);

/* Nothing waits for this job any more. If it is still queued it will not be run. */
void hs_workers_cancel(hs_workers_t *workers, hs_job_t *job);

/*
 * For a cancelled job that took too long: if a worker is running it, that worker counts as stuck
 * until the job comes back, its handler is asked to give up, and another worker may take its place.
 * True if one is running it.
 */
HS_NODISCARD bool hs_workers_give_up(hs_workers_t *workers, hs_job_t *job);

/*
 * Called once per turn while jobs are away: interrupts handlers that have neither written nor
 * waited for the whole handler timeout, and counts their workers as stuck. The deadline of a
 * request ends with the first byte of its response, or with its connection; this is for what
 * computes after that. Handlers that cannot be interrupted are left alone: they may be waiting in
 * ways of their own.
 */
void hs_workers_watch(hs_workers_t *workers, uint64_t now_ms);

/* All threads are stuck, and there are as many as there may be. */
bool hs_workers_are_lost(const hs_workers_t *workers);

/* How long the loop may wait, at most `timeout_ms` (-1: no limit): workers announce finished jobs
 * only now and then. */
HS_NODISCARD int hs_workers_look_ms(hs_workers_t *workers, int timeout_ms);

/*
 * Ends the threads and waits at most `wait_ms` for those running a handler, not at all for stuck
 * ones; jobs finished by then are in the completion queue. Returns the number of threads still
 * running: then the pool, its factory, its log and the submitted jobs must never be freed.
 */
uint32_t hs_workers_stop(hs_workers_t *workers, uint32_t wait_ms);

/* After hs_workers_stop returned 0. NULL is allowed. */
void hs_workers_free(hs_workers_t *workers);
