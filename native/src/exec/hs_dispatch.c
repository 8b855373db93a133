#include "exec/hs_dispatch.h"

#include "exec/hs_res.h"
#include "os/hs_clock.h"

/* A turn that takes longer holds something slow. */
#define LONG_TURN_NS (HS_ESTIMATE_SLOW_US * 1000)
/* After a long turn so many requests have their time taken. */
#define TIMED_REQUESTS 4096

void hs_dispatch_init(hs_dispatch_t *dispatch, hs_handler_t handler, hs_dispatch_mode_t mode,
                      hs_workers_t *workers, hs_log_t *log)
{
    memset(dispatch, 0, sizeof(*dispatch));
    dispatch->handler = handler;
    dispatch->mode = workers == NULL ? HS_DISPATCH_INLINE : mode;
    dispatch->workers = workers;
    dispatch->log = log;
    dispatch->timed = TIMED_REQUESTS;
}

/* There is nobody to run it again. */
static void refuse_worker(hs_exchange_t *exchange)
{
    const hs_msg_t *msg = &exchange->request.msg;
    hs_log_write(exchange->log, HS_LOG_ERROR,
                 "the handler asked for a worker and the server has none: %s %.128s",
                 hs_parse_method_name(msg->method), hs_msg_url(msg).data);
    exchange->wants_worker = false;
    hs_res_replace(&exchange->response, 500);
}

static hs_dispatched_t lend(hs_dispatch_t *dispatch, hs_exchange_t *exchange, void *lender)
{
    exchange->lender = lender;
    if (hs_workers_lend(dispatch->workers, exchange))
        return HS_DISPATCHED_LENT;
    exchange->lender = NULL;
    hs_res_begin(&exchange->response);
    hs_res_replace(&exchange->response, 503);
    return HS_DISPATCHED_ANSWERED;
}

static void run_inline(hs_dispatch_t *dispatch, hs_exchange_t *exchange)
{
    hs_busy_t *busy = &dispatch->busy;
    uint32_t count = atomic_load_explicit(&busy->count, memory_order_relaxed);
    atomic_store_explicit(&busy->count, count + 1, memory_order_relaxed);
    atomic_store_explicit(&busy->exchange, exchange, memory_order_release);
    exchange->in_worker = false;
    exchange->view.in_worker = 0;
    hs_handler_answer(&dispatch->handler, exchange);
    atomic_store_explicit(&busy->exchange, NULL, memory_order_relaxed);
}

static void run_timed(hs_dispatch_t *dispatch, hs_exchange_t *exchange)
{
    uint64_t begin_ns = hs_clock_monotonic_ns();
    run_inline(dispatch, exchange);
    uint64_t cost_us = (hs_clock_monotonic_ns() - begin_ns) / 1000;
    dispatch->timed--;
    hs_estimate_learn(&dispatch->estimate, exchange->route,
                      cost_us < UINT32_MAX ? (uint32_t)cost_us : UINT32_MAX);
}

hs_dispatched_t hs_dispatch(hs_dispatch_t *dispatch, hs_exchange_t *exchange, void *lender)
{
    exchange->route = 0;
    if (dispatch->mode == HS_DISPATCH_WORKER)
        return lend(dispatch, exchange, lender);
    bool watched = dispatch->mode == HS_DISPATCH_AUTO &&
                   (dispatch->timed > 0 || dispatch->estimate.slow_count > 0);
    if (!watched) {
        run_inline(dispatch, exchange);
    } else {
        const hs_msg_t *msg = &exchange->request.msg;
        exchange->route = hs_estimate_route(msg->method, hs_msg_url(msg));
        if (hs_estimate_is_slow(&dispatch->estimate, exchange->route))
            return lend(dispatch, exchange, lender);
        if (dispatch->timed > 0)
            run_timed(dispatch, exchange);
        else
            run_inline(dispatch, exchange);
    }
    if (HS_LIKELY(!exchange->wants_worker))
        return HS_DISPATCHED_ANSWERED;
    if (dispatch->workers != NULL)
        return lend(dispatch, exchange, lender);
    refuse_worker(exchange);
    return HS_DISPATCHED_ANSWERED;
}

void hs_dispatch_flush(hs_dispatch_t *dispatch)
{
    if (dispatch->workers != NULL)
        hs_workers_flush(dispatch->workers);
}

typedef struct collecting {
    hs_dispatch_t *dispatch;
    hs_returned_fn returned;
    void *context;
} collecting_t;

static void take_back(void *context, hs_exchange_t *exchange)
{
    const collecting_t *collecting = context;
    void *lender = exchange->lender;
    exchange->lender = NULL;
    if (exchange->route != 0)
        hs_estimate_learn(&collecting->dispatch->estimate, exchange->route, exchange->cost_us);
    collecting->returned(collecting->context, exchange, lender);
}

void hs_dispatch_collect(hs_dispatch_t *dispatch, hs_returned_fn returned, void *context)
{
    if (dispatch->workers == NULL || hs_workers_outstanding(dispatch->workers) == 0)
        return;
    collecting_t collecting = { dispatch, returned, context };
    hs_workers_collect(dispatch->workers, take_back, &collecting);
}

void hs_dispatch_cancel(hs_dispatch_t *dispatch, hs_exchange_t *exchange)
{
    exchange->lender = NULL;
    hs_workers_cancel(dispatch->workers, exchange);
}

void hs_dispatch_give_up(hs_dispatch_t *dispatch, hs_exchange_t *exchange, uint32_t timeout_ms)
{
    const hs_msg_t *msg = &exchange->request.msg;
    exchange->lender = NULL;
    const char *method = hs_parse_method_name(msg->method);
    const char *url = hs_msg_url(msg).data;
    if (hs_workers_give_up(dispatch->workers, exchange))
        hs_log_write(dispatch->log, HS_LOG_ERROR,
                     "the handler of %s %.128s has not answered for %u ms: worker %u is stuck. It "
                     "is asked to stop; if no traceback follows, it runs compiled code or waits "
                     "in a call",
                     method, url, timeout_ms, exchange->worker);
    else
        hs_log_write(dispatch->log, HS_LOG_ERROR,
                     "%s %.128s has waited %u ms for a worker: all are busy", method, url,
                     timeout_ms);
}

void hs_dispatch_end_turn(hs_dispatch_t *dispatch, uint64_t turn_ns)
{
    if (turn_ns > LONG_TURN_NS && dispatch->mode == HS_DISPATCH_AUTO)
        dispatch->timed = TIMED_REQUESTS;
}
