/*
 * Executors of jobs: where a handler runs, and how unfinished jobs come back. Knows no connection
 * and no socket: tested with a job and bytes. Thread: the loop's, but for hs_busy_t.
 *
 *   inline      on the loop's thread, at once
 *   worker      on a thread of the pool (exec/hs_worker.h)
 *   suspended   nowhere: the handler has returned and another thread, or a callback, finishes
 *
 * Jobs that are away come back through one completion queue (hs_executor_collect), each exactly
 * once, even if cancelled meanwhile: cancelling only cuts the link to the connection.
 *
 * `auto` runs inline. While turns of the loop are short it does nothing else; after a long one it
 * times single requests for a while, and slow routes go to the workers until they are fast again.
 */
#pragma once

#include "exec/hs_completions.h"
#include "exec/hs_estimate.h"
#include "exec/hs_handler.h"
#include "exec/hs_worker.h"

/* owner: loop */
typedef struct hs_executor {
    hs_handler_t handler; /* of the loop's thread */
    hs_dispatch_mode_t mode;
    hs_workers_t *workers; /* NULL: everything runs inline */
    hs_completions_t completions;
    hs_busy_t busy;
    uint32_t timed;   /* this many more inline requests are timed */
    uint64_t lap_ns;  /* when the last one of them ended; 0: not in this turn */
    uint32_t handled; /* inline requests of this turn */
    uint64_t now_ms;  /* of this turn */
    hs_estimate_t estimate;
} hs_executor_t;

typedef enum hs_started {
    HS_STARTED_DONE, /* the response is complete */
    HS_STARTED_AWAY, /* it comes back through hs_executor_collect */
} hs_started_t;

/* `ev` NULL: in a test without loop. Workers come with hs_executor_set_workers. */
void hs_executor_init(hs_executor_t *executor, hs_handler_t handler, hs_dispatch_mode_t mode,
                      hs_ev_t *ev);

/* Before the first job. The pool is freed by its factory. */
void hs_executor_set_workers(hs_executor_t *executor, hs_workers_t *workers);

/* Runs the job's handler, or sends it to where it will run. A full queue is a response: 503.
 * `is_inline`: on this thread, whatever the mode. */
HS_NODISCARD hs_started_t hs_executor_start(hs_executor_t *executor, hs_job_t *job, bool is_inline);

/* Sends the call to a worker. False: there are no workers, or their queue is full. */
HS_NODISCARD bool hs_executor_call(hs_executor_t *executor, hs_call_t *call);

/* Nothing waits for the call any more; it still returns, after it was skipped or asked to end. */
void hs_executor_give_up_call(hs_executor_t *executor, hs_call_t *call);

/* Makes this turn's submissions visible to the workers, and wakes one if due. */
void hs_executor_flush(hs_executor_t *executor);

/* How the loop handles what comes back. */
typedef struct hs_executor_sink {
    /* The response of the job is complete. `link` is what the job was linked to, NULL if nothing
     * waits for it any more: then it must be released. */
    void (*done)(void *context, hs_job_t *job, void *link);
    /* A piece, possibly empty, of the response of a linked job: report hs_executor_drained when
     * little is unsent. The sink may take the buffer. */
    void (*write)(void *context, hs_job_t *job, hs_buf_t *data, bool flush);
    /* The job's owner wants request content again. */
    void (*resume)(void *context, hs_job_t *job);
    void *context;
} hs_executor_sink_t;

void hs_executor_collect(hs_executor_t *executor, const hs_executor_sink_t *sink);

/* Nothing waits for this job any more, which is away. Its owner is told why. */
void hs_executor_cancel(hs_executor_t *executor, hs_job_t *job, hs_abort_reason_t reason);

/* hs_executor_cancel because the handler took longer than `timeout_ms`: logs what took so long. */
void hs_executor_give_up(hs_executor_t *executor, hs_job_t *job, uint32_t timeout_ms);

/* All jobs have come back. Drops posts about jobs that were over. */
void hs_executor_free(hs_executor_t *executor);

/* Notifies the owner of a suspended job, if it has the callback. */
void hs_executor_drained(hs_job_t *job);
void hs_executor_aborted(hs_job_t *job, hs_abort_reason_t reason);
HS_NODISCARD hs_content_next_t hs_executor_content(hs_job_t *job, hs_span_t content, bool is_last);

/* A turn begins at `now_ms`. */
static inline void hs_executor_begin_turn(hs_executor_t *executor, uint64_t now_ms)
{
    executor->now_ms = now_ms;
    executor->handled = 0;
    executor->lap_ns = 0;
}

/* The handlers of a turn have run; it took `turn_ns` so far. */
void hs_executor_end_turn(hs_executor_t *executor, uint64_t turn_ns);

/* Whether requests are timed: then hs_executor_end_turn is needed. */
static inline bool hs_executor_is_auto(const hs_executor_t *executor)
{
    return executor->mode == HS_DISPATCH_AUTO;
}

/* How long the loop may wait, at most `timeout_ms` (-1: no limit). Workers see its submissions
 * first. */
HS_NODISCARD int hs_executor_begin_sleep(hs_executor_t *executor, int timeout_ms);
void hs_executor_end_sleep(hs_executor_t *executor);
