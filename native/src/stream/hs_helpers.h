/*
 * Threads that do blocking work for a loop. They are started when there is work, end after a while
 * without any, and hold nothing of the loop's: it does not wait for them at its end, and the last
 * one frees what they share.
 *
 * Thread: the loop's, except `run`.
 */
#pragma once

#include "stream/hs_stream.h"

/* One piece of work, the first member of its description. owner: the loop until hs_helpers_begin; a
 * helper while it runs; then the loop */
typedef struct hs_chore {
    hs_list_t link;
} hs_chore_t;

typedef struct hs_helpers hs_helpers_t;

typedef struct hs_helpers_kind {
    const char *thread_name;
    uint32_t threads_max;
    uint32_t queue_max; /* chores that wait for a thread */
    /* On a helper: touches only the chore and what outlives the helpers. */
    void (*run)(hs_chore_t *chore);
    /* On the loop: it has run, and now belongs to the callee. */
    void (*done)(hs_helpers_t *helpers, hs_chore_t *chore);
    /* The loop is gone: frees it. On the loop's thread or a helper. */
    void (*drop)(hs_chore_t *chore);
} hs_helpers_kind_t;

/* owner: the loop's thread */
struct hs_helpers {
    hs_loop_t *loop;
    const hs_helpers_kind_t *kind;
    struct hs_helpers_pool *pool; /* shared with the threads; NULL: there was no work yet */
    hs_ev_io_t watcher;
};

/* `loop` outlives it and has an event loop; `kind` is constant. */
void hs_helpers_init(hs_helpers_t *helpers, hs_loop_t *loop, const hs_helpers_kind_t *kind);

/* Drops chores that have not run. Does not wait for running ones. */
void hs_helpers_free(hs_helpers_t *helpers);

/* Prepares for the first chore. False: no memory or descriptor. */
HS_NODISCARD bool hs_helpers_open(hs_helpers_t *helpers);

/* After hs_helpers_open. False: too many are waiting, or there is no thread; the caller keeps the
 * chore.
 */
HS_NODISCARD bool hs_helpers_begin(hs_helpers_t *helpers, hs_chore_t *chore);
