/*
 * What answers requests, whatever it is written in: one per thread, made by a maker on the thread
 * that will use it. Knows no connection and no socket: tested with an exchange and bytes.
 */
#pragma once

#include "exec/hs_exchange.h"

/* Runs for one exchange whose request is complete; builds into exchange->response. Must not keep
 * pointers. */
typedef void (*hs_handler_run_fn)(void *self, hs_exchange_t *exchange);

/* owner: its thread; `interrupt` is the one call that another thread may make */
typedef struct hs_handler {
    hs_handler_run_fn run;
    void *self;

    /* Asks the handler to give up the request that it is working on, if it still is. NULL: it
     * cannot be asked. */
    void (*interrupt)(void *self, hs_exchange_t *exchange);

    /* Resumes background tasks, each at most once. NULL: there are none, ever. */
    void (*run_tasks)(void *self);
    const uint32_t *task_count; /* how many wait; read on the handler's thread */
} hs_handler_t;

static inline bool hs_handler_has_tasks(const hs_handler_t *handler)
{
    return handler->task_count != NULL && *handler->task_count > 0;
}

/* Makes the handlers of several threads. Read-only while they run. */
typedef struct hs_handler_maker {
    /* 0, or a negative hs_err_t with `error` set. */
    int (*make)(void *context, hs_handler_t *handler, hs_errinfo_t *error);
    void (*end)(void *context, hs_handler_t *handler);
    void *context;
} hs_handler_maker_t;

/* A C handler of the public API, as a handler. Owner: the server. */
typedef struct hs_c_handler {
    hs_handler_fn function;
    void *user_data;
} hs_c_handler_t;

hs_handler_t hs_c_handler_as_handler(hs_c_handler_t *c_handler);

/* A maker of it: every thread gets the same function and user data. */
hs_handler_maker_t hs_c_handler_maker(hs_c_handler_t *c_handler);

/*
 * Runs the handler on this thread. Afterwards the response is SENT and complete, unless the handler
 * asked for a worker and built nothing: then exchange->wants_worker is true.
 */
void hs_handler_answer(const hs_handler_t *handler, hs_exchange_t *exchange);
