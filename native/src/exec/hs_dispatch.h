/*
 * Where a handler runs: on the I/O thread, or on a worker. Knows no connection and no socket:
 * tested with an exchange and bytes. Thread: the I/O thread's, but for hs_busy_t.
 *
 * `auto` runs inline. While turns of the I/O thread are short it does nothing else; after a long
 * one it takes the time of single requests for a while, and routes that turn out slow go to the
 * workers until they are quick again.
 */
#pragma once

#include "exec/hs_estimate.h"
#include "exec/hs_handler.h"
#include "exec/hs_worker.h"

/*
 * What the I/O thread is doing, for a watchdog. Written by io, `exchange` with release; read by one
 * other thread, with acquire, so that it sees the request of an exchange that it finds here.
 */
typedef struct hs_busy {
    _Atomic(hs_exchange_t *) exchange; /* whose handler runs inline; NULL: none */
    _Atomic uint32_t count;            /* handlers begun */
} hs_busy_t;

/* owner: io */
typedef struct hs_dispatch {
    hs_handler_t handler; /* of the I/O thread */
    hs_dispatch_mode_t mode;
    hs_workers_t *workers; /* NULL: everything runs inline */
    hs_log_t *log;
    hs_busy_t busy;
    uint32_t timed; /* so many inline requests more have their time taken */
    hs_estimate_t estimate;
} hs_dispatch_t;

typedef enum hs_dispatched {
    HS_DISPATCHED_ANSWERED, /* the response is complete */
    HS_DISPATCHED_LENT,     /* a worker has the exchange; it comes back by hs_dispatch_collect */
} hs_dispatched_t;

/* `workers` may be NULL; it is freed by its maker. */
void hs_dispatch_init(hs_dispatch_t *dispatch, hs_handler_t handler, hs_dispatch_mode_t mode,
                      hs_workers_t *workers, hs_log_t *log);

/* Answers, or lends. A full queue is an answer: 503. `lender` is handed back with the exchange. */
HS_NODISCARD hs_dispatched_t hs_dispatch(hs_dispatch_t *dispatch, hs_exchange_t *exchange,
                                         void *lender);

/* Shows the workers what this turn has lent. */
void hs_dispatch_flush(hs_dispatch_t *dispatch);

/* Takes back what workers have finished. `returned` gets each exchange and who waits for it: NULL
 * if nobody does. */
typedef void (*hs_returned_fn)(void *context, hs_exchange_t *exchange, void *lender);
void hs_dispatch_collect(hs_dispatch_t *dispatch, hs_returned_fn returned, void *context);

/* Nobody waits for this exchange any more. */
void hs_dispatch_cancel(hs_dispatch_t *dispatch, hs_exchange_t *exchange);

/* hs_dispatch_cancel because it took longer than `timeout_ms`: logs what took so long. */
void hs_dispatch_give_up(hs_dispatch_t *dispatch, hs_exchange_t *exchange, uint32_t timeout_ms);

/* The handlers of a turn have run; it has taken `turn_ns` so far. */
void hs_dispatch_end_turn(hs_dispatch_t *dispatch, uint64_t turn_ns);
