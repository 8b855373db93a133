/* An exchange that holds a request, without a connection: for suites of what runs on one. */
#pragma once

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "exec/hs_dispatch.h"

/* Keeps what is logged. Made by one thread and read by it. */
typedef struct log_tape {
    unsigned records;
    hs_log_level_t level; /* of the last record */
    char last[HS_LOG_MESSAGE_CAP + 1];
} log_tape_t;

typedef struct bench {
    hs_limits_t limits;
    hs_log_t log;
    log_tape_t tape;
    hs_exchange_pool_t pool;
    hs_exchange_t *exchange;
} bench_t;

static inline void log_tape_sink(void *ud, hs_log_level_t level, const char *message, size_t len)
{
    log_tape_t *tape = ud;
    tape->records++;
    tape->level = level;
    memcpy(tape->last, message, len);
    tape->last[len] = '\0';
}

static inline void bench_begin(bench_t *bench)
{
    memset(bench, 0, sizeof(*bench));
    bench->limits =
        (hs_limits_t){ .ring_size = 8192, .max_url = 8192, .max_headers = 32, .max_body = 1 << 20 };
    hs_log_init(&bench->log, HS_LOG_DEBUG, log_tape_sink, &bench->tape);
    hs_exchange_pool_init(&bench->pool, &bench->limits, &bench->log);
    bench->exchange = hs_exchange_lease(&bench->pool);
    assert_non_null(bench->exchange);
}

static inline void bench_end(bench_t *bench)
{
    hs_exchange_give_back(&bench->pool, bench->exchange);
    hs_exchange_pool_free(&bench->pool);
}

/* Puts a whole request with its content into the exchange, as a connection does before it
 * dispatches. */
static inline void bench_request(bench_t *bench, const char *text)
{
    hs_exchange_t *exchange = bench->exchange;
    hs_ring_t *ring = &exchange->ring;
    uint32_t len = (uint32_t)strlen(text);
    assert_int_equal(hs_ring_used(ring), 0);
    memcpy(hs_ring_at(ring, ring->head), text, len);
    hs_ring_commit(ring, len);
    hs_exchange_begin_message(exchange, &bench->limits);
    hs_msg_t *msg = &exchange->request.msg;
    size_t taken;
    char *head = hs_ring_at(ring, ring->tail);
    assert_int_equal(hs_parse_head(&exchange->parse, head, len, &taken), HS_PARSE_COMPLETE);
    msg->base = head;
    assert_int_equal(hs_parse_check(&exchange->parse), HS_PARSE_COMPLETE);
    msg->body = hs_span(head + taken, len - taken);
    exchange->parsed += len;
    hs_msg_terminate(msg);
}

/* Runs the handler on this thread. */
static inline void bench_answer(bench_t *bench, hs_handler_t handler)
{
    hs_dispatch_t dispatch;
    hs_dispatch_init(&dispatch, handler, HS_DISPATCH_INLINE, NULL, &bench->log);
    assert_int_equal(hs_dispatch(&dispatch, bench->exchange, NULL), HS_DISPATCHED_ANSWERED);
}

static inline void bench_end_request(bench_t *bench)
{
    hs_exchange_end_message(bench->exchange);
}
