/*
 * Running a handler and making sure that there is exactly one answer, whatever the handler did.
 * Knows no connection and no socket: tested with an exchange and bytes.
 */
#pragma once

#include "exec/hs_exchange.h"

/* Runs for one exchange whose request is complete; builds into exchange->response. Must not keep
 * pointers. */
typedef void (*hs_handler_run_fn)(void *self, hs_exchange_t *exchange);

typedef struct hs_handler {
    hs_handler_run_fn run;
    void *self;
} hs_handler_t;

/* A C handler of the public API, as a handler. Owner: the server. */
typedef struct hs_c_handler {
    hs_handler_fn function;
    void *user_data;
} hs_c_handler_t;

hs_handler_t hs_c_handler_as_handler(hs_c_handler_t *c_handler);

/* Runs the handler on this thread. Afterwards the response is SENT and complete. */
void hs_dispatch_inline(const hs_handler_t *handler, hs_exchange_t *exchange);
